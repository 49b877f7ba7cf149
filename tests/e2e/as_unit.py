"""Runs a daemon with the restrictions of its systemd unit, on a machine without systemd: as_unit.py
UNIT [--rw DIRECTORY]... PROGRAM ARGUMENT...

Applies the keys of the unit's [Service] section that restrict the process: LimitX=, CapabilityBoundingSet=, NoNewPrivileges=,
ProtectSystem=, ProtectHome=, ProtectKernelTunables=, ProtectControlGroups=, and the seccomp filters of
SystemCallFilter= (SystemCallErrorNumber=), SystemCallArchitectures=, RestrictAddressFamilies=, RestrictNamespaces=, LockPersonality=,
RestrictRealtime=, RestrictSUIDSGID=, ProtectClock=, ProtectHostname=, ProtectKernelModules= and ProtectKernelLogs=.
systemd.exec(5) says what each key does. systemd-analyze lists the system calls of a group such as @system-service.
--rw names a directory that must stay writable: the test uses it in place of the unit's StateDirectory= and the like.
PrivateTmp= is ignored, because tests use /tmp. The keys in IGNORED are ignored because they do not restrict the process.
Any other key is an error.
"""
import ctypes
import os
import resource
import socket
import subprocess
import sys

IGNORED = """Type ExecStart ExecStartPre ExecReload NotifyAccess Restart RestartSec KillMode TimeoutStopSec
RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve StateDirectory StateDirectoryMode OOMScoreAdjust PrivateTmp ReadWritePaths UMask""".split()

CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()

# Maps a key of the unit to the system calls that the key makes fail with EPERM.
REFUSED = {
    "ProtectClock": "adjtimex clock_adjtime clock_settime settimeofday stime",
    "ProtectHostname": "sethostname setdomainname",
    "ProtectKernelModules": "init_module finit_module delete_module",
    "ProtectKernelLogs": "syslog",
    "RestrictRealtime": "sched_setscheduler",  # refused for real-time policies only
    "LockPersonality": "personality",
    "RestrictNamespaces": "unshare setns",
}
READ_ONLY = {
    "ProtectKernelTunables": ["/proc/sys", "/sys"],
    "ProtectControlGroups": ["/sys/fs/cgroup"],
}
PROTECTED = {"yes": ["/usr", "/boot"], "full": ["/usr", "/boot", "/etc"], "strict": ["/"]}

KILL, ALLOW, EPERM, EAFNOSUPPORT = 0x80000000, 0x7FFF0000, 1, 97
SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ = 4, 7
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 0x20000, 1, 32, 4096, 16384, 1 << 19

libc = ctypes.CDLL(None, use_errno=True)


def must(ok, what):
    if not ok:
        sys.exit("as_unit.py: %s: %s" % (what, os.strerror(ctypes.get_errno())))


def read_unit(path):
    section, found = "", {}
    for line in open(path):
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found[key] = (found[key] + " " + value) if key in found and value else value
    return found


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    def __init__(self, default):
        self.lib = ctypes.CDLL("libseccomp.so.2")
        self.lib.seccomp_init.restype = ctypes.c_void_p
        for name in ("seccomp_load", "seccomp_rule_add_array", "seccomp_attr_set"):
            getattr(self.lib, name).restype = ctypes.c_int
        self.ctx = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, call, *compares):
        number = self.lib.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # this machine's architecture lacks the system call
            return
        array = (Compare * max(1, len(compares)))(*compares)
        r = self.lib.seccomp_rule_add_array(self.ctx, ctypes.c_uint32(action), number, len(compares), array)
        if r != 0:
            sys.exit("as_unit.py: no rule for %s: %s" % (call, os.strerror(-r)))

    def load(self):
        r = self.lib.seccomp_load(self.ctx)
        if r != 0:
            sys.exit("as_unit.py: seccomp_load: %s" % os.strerror(-r))


def calls_of(group):
    if not group.startswith("@"):
        return [group]
    text = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True).stdout
    calls = []
    for word in text.split("\n")[1:]:
        word = word.strip()
        if word and not word.startswith("#"):
            calls += calls_of(word)
    return calls


def errno(number):
    return 0x00050000 | number


def filters(unit):
    """Yield one seccomp filter per key, as systemd builds them. A filter refuses the calls that its
    key names and allows all others. SystemCallFilter= is the exception: its filter allows the calls
    that the key names and refuses all others."""
    for key, calls in REFUSED.items():
        if unit.get(key) == "yes":
            f = Filter(ALLOW)
            for call in calls.split():
                if key == "RestrictRealtime":
                    for policy in (1, 2, 6):
                        f.add(errno(EPERM), call, Compare(1, SCMP_CMP_EQ, policy, 0))
                else:
                    f.add(errno(EPERM), call)
            yield f
    if unit.get("RestrictSUIDSGID") == "yes":
        f = Filter(ALLOW)
        for call, arg in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1)):
            for bit in (0o4000, 0o2000):
                f.add(errno(EPERM), call, Compare(arg, SCMP_CMP_MASKED_EQ, bit, bit))
        yield f
    if "RestrictAddressFamilies" in unit:
        allowed = {int(getattr(socket, name, {"AF_XDP": 44}.get(name, -1)))
                   for name in unit["RestrictAddressFamilies"].split()}
        if -1 in allowed:
            sys.exit("as_unit.py: RestrictAddressFamilies=%s is not understood" % unit["RestrictAddressFamilies"])
        f = Filter(ALLOW)
        for family in set(range(46)) - allowed:
            f.add(errno(EAFNOSUPPORT), "socket", Compare(0, SCMP_CMP_EQ, family, 0))
        yield f
    if "SystemCallArchitectures" in unit:
        # this filter knows only the native architecture: it kills a caller that uses any other
        yield Filter(ALLOW)
    if "SystemCallFilter" in unit:
        f = Filter({"EPERM": errno(EPERM), "": KILL}[unit.get("SystemCallErrorNumber", "")])
        for call in {c for word in unit["SystemCallFilter"].split() for c in calls_of(word)}:
            f.add(ALLOW, call)
        f.add(ALLOW, "execve")
        yield f


def mounts(unit, writable):
    read_only = PROTECTED.get(unit.get("ProtectSystem", "no"), [])[:]
    for key, paths in READ_ONLY.items():
        if unit.get(key) == "yes":
            read_only += paths
    if not read_only and unit.get("ProtectHome", "no") == "no":
        return
    must(libc.unshare(CLONE_NEWNS) == 0, "unshare")
    must(libc.mount(None, b"/", None, MS_REC | MS_SLAVE, None) == 0, "mount --make-rslave")

    def bind(path, flags):
        p = path.encode()
        must(libc.mount(p, p, None, MS_BIND | MS_REC, None) == 0, "bind " + path)
        must(libc.mount(None, p, None, MS_BIND | MS_REMOUNT | flags, None) == 0, "remount " + path)

    for path in writable + (["/dev", "/proc"] if "/" in read_only else []):
        bind(path, 0)
    if "/" in read_only:  # each mount must be remounted read-only, except the writable ones bound above
        keep = tuple(os.path.realpath(path) + "/" for path in writable + ["/dev", "/proc", "/sys"])
        for line in open("/proc/self/mounts").read().splitlines():
            path = line.split()[1].encode().decode("unicode_escape")
            if not (path + "/").startswith(keep):
                libc.mount(None, path.encode(), None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)
        read_only.remove("/")
    for path in read_only:
        if os.path.exists(path):
            bind(path, MS_RDONLY)
    if unit.get("ProtectHome") == "yes":
        for path in ("/home", "/root"):
            must(libc.mount(b"tmpfs", path.encode(), b"tmpfs", MS_RDONLY, b"mode=000") == 0, "hide " + path)


def limits(unit):
    for key, value in unit.items():
        if key.startswith("Limit"):
            which = getattr(resource, "RLIMIT_" + key[len("Limit"):])
            n = resource.RLIM_INFINITY if value == "infinity" else int(value)
            try:
                resource.setrlimit(which, (n, n))
            except ValueError:  # cannot raise the limit without CAP_SYS_RESOURCE, as in a container
                hard = resource.getrlimit(which)[1]
                resource.setrlimit(which, (hard, hard))


def capabilities(unit):
    if "CapabilityBoundingSet" not in unit:
        return
    kept = {CAPABILITIES.index(name[len("CAP_"):]) for name in unit["CapabilityBoundingSet"].split()}
    for number in range(len(CAPABILITIES)):
        if number not in kept:
            must(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0, "drop " + CAPABILITIES[number])


def main():
    unit, args, writable = read_unit(sys.argv[1]), sys.argv[2:], []
    while args[0] == "--rw":
        writable.append(args[1])
        args = args[2:]
    known = IGNORED + list(REFUSED) + list(READ_ONLY) + """CapabilityBoundingSet NoNewPrivileges ProtectSystem ProtectHome
        SystemCallFilter SystemCallErrorNumber SystemCallArchitectures RestrictAddressFamilies RestrictSUIDSGID""".split()
    unknown = [key for key in unit if key not in known and not key.startswith("Limit")]
    if unknown:
        sys.exit("as_unit.py: what does %s mean for a process?" % " ".join(unknown))
    ready = list(filters(unit))  # built first, because systemd-analyze could not run under the restrictions
    if "UMask" in unit:
        os.umask(int(unit["UMask"], 8))
    mounts(unit, writable)
    limits(unit)
    capabilities(unit)
    if unit.get("NoNewPrivileges") == "yes" or ready:
        must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges")
    for f in ready:
        f.load()
    os.execv(args[0], args)


main()
