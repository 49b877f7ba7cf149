"""hold_lib.py - shared code of the hold's netns tests: namespaces, a bridge, taps with a scripted
guest, captures.

    client netns [c0] ==veth== [p0] bridge br0 [tap0, tap1, ...]   host netns
                               [m0] ==veth== [m1] marker sender    (host netns)

Names in [ ] are network devices. This process plays the guest: it writes and reads whole frames on
the tap's descriptor, so a test knows exactly which frames were sent. A test can check without waiting
that no frame has arrived: it sends a marker frame into the bridge, through a port without a hold, and
reads all frames up to the marker.
"""
import atexit
import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

BUILD = os.environ.get("BUILD") or sys.exit("BUILD is not set")
TOOL = os.environ.get("HOLD_TOOL") or os.path.join(BUILD, "tests", "netns", "hold_tool")
CLIENT_MAC = "02:00:00:00:00:c1"
GUEST_MAC = "52:54:00:00:00:01"
GUEST2_MAC = "52:54:00:00:00:02"
MARKER_TYPE = 0x88b6
ETH_P_ALL = 3
LIMIT_S = 10 # how long a test waits for an event that must come

# Both kinds of hold pass the same tests. Each test runs itself once for each kind: see both_kinds().
OFFLOAD = os.environ.get("HOLD_KIND") == "offload"
NO_HEAD = bytes(10)  # a virtio_net_hdr that leaves nothing to the host

libc = ctypes.CDLL(None, use_errno=True)
cleanups = []


def skip(why):
    print("SKIP: " + why)
    sys.exit(77)


def fail(why):
    print("FAIL: " + why)
    sys.exit(1)


def check(condition, what):
    if not condition:
        fail(what)
    print("ok: " + what)


def run(*argv, ok=True, stdin=None):
    r = subprocess.run(argv, capture_output=True, text=True, input=stdin)
    if ok and r.returncode != 0:
        fail("%s: %s" % (" ".join(argv), r.stderr.strip()))
    return r.stdout


def both_kinds():
    """Run the calling test in two further processes, once for a guest without offloads and once for a
    guest with them. Return in these processes; the first process ends with their result."""
    if "HOLD_KIND" in os.environ:
        print("== hold of kind %s" % os.environ["HOLD_KIND"])
        sys.stdout.flush()
        return
    for kind in "whole", "offload":
        r = subprocess.run([sys.executable, sys.argv[0]], env=dict(os.environ, HOLD_KIND=kind))
        if r.returncode != 0:
            sys.exit(r.returncode)
    sys.exit(0)


def clean_up():
    while cleanups:
        with contextlib.suppress(Exception):
            cleanups.pop()()


def setns(fd):
    if libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def mac_bytes(mac):
    return bytes(int(x, 16) for x in mac.split(":"))


def frame(dst, src, ethertype, payload):
    return mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", ethertype) + payload


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def ipv4(dst, src, n_bytes, to="198.18.0.2"):
    """Return a frame with a UDP packet. The packet is valid, because br_netfilter may be enabled and
    drops malformed packets."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + n_bytes, 0, 0, 64, 17, 0,
                       bytes([198, 18, 0, 1]), socket.inet_aton(to))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return frame(dst, src, 0x0800, head + struct.pack("!HHHH", 9, 9, 8 + n_bytes, 0) + bytes(n_bytes))


def ipv6_solicitation(src):
    """Return the neighbour solicitation with which a guest begins duplicate address detection for
    fe80::1."""
    target = bytes.fromhex("fe80" + "00" * 13 + "01")
    group = bytes.fromhex("ff02" + "00" * 9 + "01ff000001")
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target
    pseudo = bytes(16) + group + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + bytes(16) + group
    return frame("33:33:ff:00:00:01", src, 0x86dd, head + body)


def igmp_join(group, src):
    """Return an IGMPv2 membership report."""
    address = socket.inet_aton(group)
    body = struct.pack("!BBH", 0x16, 0, 0) + address
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    head = struct.pack("!BBHHHBBH4s4s4s", 0x46, 0xc0, 24 + len(body), 0, 0, 1, 2, 0,
                       bytes([198, 18, 0, 1]), address, b"\x94\x04\0\0")
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return frame("01:00:5e:%02x:%02x:%02x" % (address[1] & 0x7f, address[2], address[3]), src, 0x0800,
                 head + body)


def mld_join(group, src):
    """Return an MLDv1 report, which a guest sends for its solicited-node group."""
    address = socket.inet_pton(socket.AF_INET6, group)
    source = socket.inet_pton(socket.AF_INET6, "fe80::1")
    body = struct.pack("!BBHHH", 131, 0, 0, 0, 0) + address
    pseudo = source + address + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    hop = b"\x3a\0\x05\x02\0\0\x01\0"  # router alert
    head = struct.pack("!IHBB", 0x60000000, len(hop + body), 0, 1) + source + address
    return frame("33:33:%s" % ":".join("%02x" % x for x in address[12:]), src, 0x86dd, head + hop + body)


def is_chatter(data):
    """Return True if the frame is a marker or comes from the bridge itself (BPDU, group query or
    report)."""
    kind = data[12:14]
    if kind == struct.pack("!H", MARKER_TYPE) or data[:6] == mac_bytes("01:80:c2:00:00:00"):
        return True
    is_ours = data[6:8] in (b"\x52\x54", b"\x02\0")  # the source address is one that a test has assigned
    is_group = (kind == b"\x08\0" and data[23] == 2) or (kind == b"\x86\xdd" and data[0] == 0x33)
    return is_group and not is_ours


def numbered(n, dst=CLIENT_MAC, src=GUEST_MAC, ethertype=0x88b5, size=60):
    return frame(dst, src, ethertype, struct.pack("!I", n)).ljust(size, b"\xa5")


def number_of(data):
    return struct.unpack("!I", data[14:18])[0]


class Netns:
    def __init__(self, name, ipv6=False):
        self.name = "hf-hold-%s-%d" % (name, os.getpid())
        run("ip", "netns", "add", self.name)
        cleanups.append(lambda: run("ip", "netns", "del", self.name, ok=False))
        self.fd = os.open("/run/netns/" + self.name, os.O_RDONLY | os.O_CLOEXEC)
        if not ipv6:
            with self.entered():
                for where in "all", "default":
                    path = "/proc/sys/net/ipv6/conf/%s/disable_ipv6" % where
                    if os.path.exists(path):
                        with open(path, "w") as f:
                            f.write("1")

    @contextlib.contextmanager
    def entered(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        setns(self.fd)
        try:
            yield
        finally:
            setns(home)
            os.close(home)

    def ip(self, line, ok=True):
        return run("ip", "-n", self.name, *line.split(), ok=ok)

    def exec(self, line, ok=True):
        return run("ip", "netns", "exec", self.name, *line.split(), ok=ok)


def n_tcx(ns, ifindex):
    """Return how many programs a device has at its tc ingress (tcx). Debian 12's bpftool does not show
    them."""
    # BPF_PROG_QUERY of BPF_TCX_INGRESS; the kernel writes the count
    attr = ctypes.create_string_buffer(struct.pack("=IIIIQII", ifindex, 46, 0, 0, 0, 0, 0).ljust(128, b"\0"))
    with ns.entered():
        if libc.syscall(321, 16, attr, 64) != 0 and ctypes.get_errno() not in (2, 28):
            raise OSError(ctypes.get_errno(), "BPF_PROG_QUERY")
    return struct.unpack_from("=I", attr, 24)[0]


class Capture:
    """Captures all frames that arrive on one device, with AF_PACKET."""

    def __init__(self, ns, dev):
        with ns.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # until bind(), no frames of other devices
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self.sock.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: deliver the VLAN tags that the kernel has removed
            self.sock.bind((dev, ETH_P_ALL))
        self.dev = dev

    def next(self, timeout=LIMIT_S):
        while True:
            if not select.select([self.sock], [], [], timeout)[0]:
                return None
            data, extra, _, where = self.sock.recvmsg(65535, 64)
            for _, _, aux in extra:
                status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", aux[:20])
                if status & 0x10:  # TP_STATUS_VLAN_VALID
                    data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            if where[2] != socket.PACKET_OUTGOING:
                return data

    def take(self, n):
        got = []
        while len(got) < n:
            data = self.next()
            if data is None:
                fail("%s: only %d of %d frames came" % (self.dev, len(got), n))
            got.append(data)
        return got


class Tap:
    """One guest's network card. With is_offload, each frame has a virtio_net_hdr in front, as QEMU's
    frames have: `send` takes it as `head`."""

    def __init__(self, ns, name, bridge="br0", flags=0, mtu=1500, mac=None, is_offload=None):
        self.name = name
        self.has_head = OFFLOAD if is_offload is None else is_offload
        if self.has_head:
            flags |= 0x4000  # IFF_VNET_HDR
        with ns.entered():
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, 0x400454ca,  # TUNSETIFF: IFF_TAP | IFF_NO_PI
                        struct.pack("16sH22x", name.encode(), 0x1002 | flags))
        ns.ip("link set %s mtu %d" % (name, mtu))
        if mac:
            ns.ip("link set %s address %s" % (name, mac))
        if bridge:
            ns.ip("link set %s master %s" % (name, bridge))
        ns.ip("link set %s up" % name)

    def send(self, data, head=NO_HEAD):
        # This write never fails with EAGAIN: if a tap has no room for a frame, it drops the frame.
        os.write(self.fd, head + data if self.has_head else data)

    def next(self, timeout=LIMIT_S):
        if not select.select([self.fd], [], [], timeout)[0]:
            return None
        return os.read(self.fd, 70000)[len(NO_HEAD) if self.has_head else 0:]

    def take_until(self, wanted):
        got = []
        while True:
            data = self.next()
            if data is None:
                fail("%s: the marker did not reach the guest" % self.name)
            if data == wanted:
                return got
            if not is_chatter(data):
                got.append(data)


class Commands:
    """Runs a tool that reads commands from stdin and answers each with one line."""

    def start(self, net, *argv):
        """Start the tool; return the first line that it prints."""
        self.name = os.path.basename(argv[0])
        self.proc = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            bufsize=1, preexec_fn=lambda: setns(net.host.fd))
        cleanups.append(self.kill)
        return self.proc.stdout.readline().strip()

    def ask(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        text = self.proc.stdout.readline().strip()
        if not text:
            fail("%s died at '%s': %s" % (self.name, line, self.proc.stderr.read()))
        return text

    def stats(self):
        return {k: int(v) for k, v in (w.split("=") for w in self.ask("stats").split())}

    def kill(self):
        """Kill the tool with SIGKILL and wait until it is gone."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()

    def finish(self, how):
        text = self.ask(how)
        if self.proc.wait(LIMIT_S) != 0:
            fail("%s failed: %s" % (self.name, self.proc.stderr.read()))
        return text


class Tool(Commands):
    """A running hold_tool."""

    def __init__(self, net, tap, vm="vm1", frames=4096, size=64 << 20, must_open=True, is_offload=None,
                 offloads=None):
        """@is_offload: all cards have offloads. @offloads: bit i says that of tap i."""
        if offloads is None:
            offloads = 255 if (OFFLOAD if is_offload is None else is_offload) else 0
        words = [str(offloads)]
        self.hello = self.start(net, TOOL, vm, tap, os.path.join(net.bpffs, vm), str(frames),
                                str(size), *words)
        if must_open and not self.hello.startswith("ok open"):
            fail("hold_tool: %s %s" % (self.hello, self.proc.stderr.read()))

    def do(self, line):
        """Run a command and return its number; fail the test if the command fails."""
        text = self.ask(line)
        if not text.startswith("ok"):
            fail("%s: %s" % (line, text))
        self.last = dict(w.split("=") for w in text.split() if "=" in w)
        words = text.split()
        return int(words[1]) if words[1].lstrip("-").isdigit() else None

    def held(self, n):
        self.do("wait %d %d" % (n, LIMIT_S * 1000))
        return int(self.last["count"])

    def hold(self, epoch):
        self.do("epoch %d" % epoch)
        self.do("mode hold")

    def seal_and_release(self):
        """End the current epoch and release it, as if it were committed. Return the number of released
        frames."""
        epoch = self.stats()["epoch"]
        self.do("epoch %d" % (epoch + 1))
        return self.do("release %d" % epoch)


class Net:
    def __init__(self, ipv6_on_host=False, snooping=1):
        if os.geteuid() != 0:
            skip("needs root")
        for tool in "ip", "bridge", "tc", "bpftool", "nft":
            if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
                skip("needs " + tool)
        if not os.path.exists("/dev/net/tun"):
            skip("needs /dev/net/tun")
        if not os.path.exists(TOOL):
            fail("not built: " + TOOL)
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        atexit.register(clean_up)
        for s in signal.SIGINT, signal.SIGTERM:
            signal.signal(s, lambda *_: sys.exit(1))
        self.bpffs = tempfile.mkdtemp(prefix="hf-hold-bpf-")
        cleanups.append(lambda: os.rmdir(self.bpffs))
        run("mount", "-t", "bpf", "bpf", self.bpffs)
        cleanups.append(lambda: run("umount", self.bpffs, ok=False))
        self.host = Netns("h", ipv6_on_host)
        self.client = Netns("c")
        h = self.host
        # Use the usual settings of distributions, but with the shortest times that the kernel
        # accepts. When a bridge becomes the querier, it floods unknown groups for one response
        # interval. The default interval of 10 s equals LIMIT_S, which is too long. Set the interval
        # first: the bridge reads it when it becomes the querier.
        h.ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping %d "
             "mcast_query_response_interval 100" % snooping)
        h.ip("link set br0 type bridge mcast_querier %d" % snooping)
        h.ip("link add p0 type veth peer name c0 netns %s" % self.client.name)
        h.ip("link add m0 type veth peer name m1")
        self.client.ip("link set c0 address " + CLIENT_MAC)
        for dev in "p0", "m0":
            h.ip("link set %s master br0" % dev)
        for dev in "p0", "m0", "m1", "br0", "lo":
            h.ip("link set %s up" % dev)
        self.client.ip("link set c0 up")
        self.capture = Capture(self.client, "c0")
        with h.entered():
            self.marker_sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.marker_sock.bind(("m1", 0))
        self.n_markers = 0

    def nft(self, line):
        run("ip", "netns", "exec", self.host.name, "nft", line)

    def marker(self, dst="ff:ff:ff:ff:ff:ff"):
        """Send one marker into the bridge, through the port without a hold. Return the marker's bytes."""
        self.n_markers += 1
        data = frame(dst, "02:00:00:00:00:ee", MARKER_TYPE,
                     struct.pack("!I", self.n_markers)).ljust(60, b"\0")
        self.marker_sock.send(data)
        return data

    def seen(self):
        """Return every frame that has reached the client so far."""
        data, got = self.marker(), []
        while True:
            x = self.capture.next()
            if x is None:
                fail("the marker did not reach the client")
            if x == data:
                return got
            if not is_chatter(x):
                got.append(x)

    def leftovers(self, tap, mac=GUEST_MAC):
        """Return a list of texts that name what a hold has left on the host; [] if there is nothing."""
        left = []
        links = self.host.ip("-d link show")
        for word in "hfo", "hfb", "hfw", "hfv", "holdfast", "prog/xdp", "xdpgeneric":
            if word in links:
                left.append("ip link: " + word)
        for line in self.host.ip("-o link show").splitlines():
            if n_tcx(self.host, int(line.split(":")[0])) > 0:
                left.append("tcx: " + line.split()[1])
        if "clsact" in self.host.exec("tc qdisc show"):
            left.append("tc: clsact")
        for line in self.host.exec("bridge fdb show br br0").splitlines():
            if mac in line and "static" in line:
                left.append("fdb: " + line)
        left += ["bpffs: " + x for x in os.listdir(self.bpffs)
                 if not x.endswith(".debug")]  # the kernel makes the .debug files
        return left
