"""gateway_lib.py - sets up a gateway with its PKI, configuration and network, for test_gateway_*.
Not a test itself.

The script enters a new network namespace. If the gateway has a DPDK port, this namespace has a veth:
the agents use its end ag0, the gateway its end bk0. Everything is removed at exit, even after an
interrupt.
"""
import atexit
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hfagent  # noqa: E402

BUILD = os.environ.get("BUILD") or os.path.join(os.path.dirname(__file__), "../../build")
SRC = os.environ.get("SRC") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
GATEWAY = os.path.join(BUILD, "gateway/holdfast-gateway")
CTL = os.path.join(BUILD, "gateway/ctl/holdfastctl")
PKI = os.path.join(SRC, "certs/holdfast-pki")
NET_AGENTS, NET_GATEWAY = "198.18.51.1", "198.18.51.2"


def skip(why):
    print(f"skip: {why}")
    sys.exit(77)


def sh(*args, **kwargs):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kwargs)


def use_fault_points():
    """Build the gateway that has fault points. Labs made from now on run it."""
    global GATEWAY
    sh("ninja", "-C", BUILD, "gateway/holdfast-gateway-fault")
    GATEWAY = os.path.join(BUILD, "gateway/holdfast-gateway-fault")


class Adopted:
    """A process that a child of ours has started and left to us. Has what a Lab uses of Popen."""

    def __init__(self, pid):
        self.pid, self.status = pid, None

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, timeout=15):
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, f"pid {self.pid} does not end"
            time.sleep(0.01)  # poll
        return self.status

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Lab:
    def __init__(self, port="packet", hosts=("alpha", "beta"), vm=None, **settings):
        if os.geteuid() != 0:
            skip("needs root for network namespaces")
        for path in (GATEWAY, CTL):
            if not os.path.exists(path):
                skip(f"{path} is not built")
        self.kind, self.settings, self.vm_settings = port, settings, vm or {}
        self.ns = f"hf-gwlogic-{os.getpid()}"
        self.dir = os.environ.get("TEST_TMP") or tempfile.mkdtemp(prefix="hf-gw-")
        self.gateway, self.n_logs, self.n_out = None, 0, 0
        atexit.register(self.cleanup)
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, lambda *_: sys.exit(1))
        self.make_net()
        self.make_pki(hosts)
        self.write_config()

    # Make the namespace that the script and the gateway share. The agents reach a DPDK port over a
    # veth, and a kernel port over loopback.
    def make_net(self):
        sh("ip", "netns", "add", self.ns)
        self.enter(self.ns)
        sh("ip", "link", "set", "lo", "up")
        self.management = "127.0.0.1"
        if self.kind == "kernel":
            self.address = "127.0.0.1"
            return
        sh("ip", "link", "add", "ag0", "type", "veth", "peer", "name", "bk0")
        for dev in ("ag0", "bk0"):
            with open(f"/proc/sys/net/ipv6/conf/{dev}/disable_ipv6", "w") as f:
                f.write("1")
            # Compute checksums in the sender: a veth has no hardware that does it later.
            subprocess.run(["ethtool", "-K", dev, "tx", "off"], capture_output=True)
            sh("ip", "link", "set", dev, "up")
        sh("ip", "addr", "add", NET_AGENTS + "/24", "dev", "ag0")
        self.address = NET_GATEWAY

    def enter(self, ns):
        fd = os.open(f"/run/netns/{ns}", os.O_RDONLY | os.O_CLOEXEC)
        libc = hfagent.ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, 0x40000000) != 0:
            raise OSError(hfagent.ctypes.get_errno(), "setns")
        os.close(fd)

    def make_pki(self, hosts):
        """Copy the certificates that many tests share. They are made anew when they are a day old."""
        kept = os.path.join(BUILD, "test-pki-%08x" % zlib.crc32(" ".join(hosts).encode()))
        complete = kept + "/complete"
        with open(kept + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            oldest = max(os.path.getmtime(PKI), time.time() - 86400)
            if not os.path.exists(complete) or os.path.getmtime(complete) < oldest:
                shutil.rmtree(kept, ignore_errors=True)
                sh(PKI, "init", kept)
                for role, name in ([("gateway", "gw1"), ("operator", "op"), ("viewer", "eye")] +
                                   [("host", h) for h in hosts]):
                    sh(PKI, "issue", kept, role, name)
                with open(complete, "w"):
                    pass
            self.pki = shutil.copytree(kept, os.path.join(self.dir, "pki"))

    def cert(self, role, name):
        return os.path.join(self.pki, role, name)

    def write_config(self):
        vms = os.path.join(self.dir, "vms")
        os.makedirs(vms, exist_ok=True)
        with open(os.path.join(vms, "web1.ini"), "w") as f:
            f.write("[vm]\nname = web1\nprimary = alpha\nstandby = beta\n")
            f.writelines(f"{k} = {v}\n" for k, v in self.vm_settings.items())
        port = {"kernel": "kernel", "packet": "net_af_packet0,iface=bk0"}[self.kind]
        settings = dict(
            port=port, listen=f"{self.address}:7400", management=f"{self.management}:7500",
            ca=f"{self.pki}/ca.crt", crl=f"{self.pki}/ca.crl", cert=self.cert("gateway", "gw1") + ".crt",
            key=self.cert("gateway", "gw1") + ".key", state_dir=f"{self.dir}/state", vm_dir=vms,
            hugepages="no", handshake_timeout_ms="1000",
            beat_timeout_ms="1000",  # scripted agents send their beats late on a busy machine
            patience_ms="60000")  # high: scripted agents send an epoch only when the test says so
        if self.kind != "kernel":
            settings["address"] = NET_GATEWAY + "/24"
        settings.update(self.settings)
        self.config = os.path.join(self.dir, "gateway.ini")
        with open(self.config, "w") as f:
            f.write("[gateway]\n")
            f.writelines(f"{k} = {v}\n" for k, v in settings.items())
        with open(os.path.join(self.dir, "ctl.ini"), "w") as f:
            f.write(f"[holdfastctl]\ngateway = {self.management}:7500\nca = {self.pki}/ca.crt\n"
                    f"cert = {self.cert('operator', 'op')}.crt\n"
                    f"key = {self.cert('operator', 'op')}.key\n")

    def start(self, env=None):
        self.n_logs += 1
        self.log_path = os.path.join(self.dir, f"gateway{self.n_logs}.log")
        self.log = open(self.log_path, "w")
        # Not even if the test runs in a unit of systemd: nobody is to be told of our main process.
        environment = {k: v for k, v in os.environ.items() if k not in ("INVOCATION_ID", "NOTIFY_SOCKET")}
        self.gateway = subprocess.Popen([GATEWAY, "--config", self.config], stdout=self.log,
                                        stderr=subprocess.STDOUT,
                                        env={**environment, **(env or {})})
        end = time.monotonic() + 20
        while " ready" not in self.read_log():
            if self.gateway.poll() is not None or time.monotonic() > end:
                raise AssertionError("the gateway did not start:\n" + self.read_log())
            time.sleep(0.02)  # poll the log
        return self.world()

    def start_unread(self):
        """Start the gateway as start() does, but send its log to a pipe of one page. The pipe is read
        only until the gateway is ready."""
        read_fd, write_fd = os.pipe()
        fcntl.fcntl(write_fd, 1031, 4096)  # F_SETPIPE_SZ
        self.gateway = subprocess.Popen([GATEWAY, "--config", self.config], stdout=write_fd,
                                        stderr=write_fd)
        os.close(write_fd)
        said = b""
        while b" ready" not in said:
            more = os.read(read_fd, 4096)
            said += more
            assert more, "the gateway did not start: " + said.decode()
        self.unread = read_fd
        return self.world()

    def replace(self, world, timeout=30.0):
        """Let the gateway replace its program. Returns the world of the next program, or None if the
        running one goes on: the log says why then."""
        libc = hfagent.ctypes.CDLL(None)
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: the next program becomes our child
        said = len(self.read_log())
        self.gateway.send_signal(signal.SIGUSR2)
        world.run(lambda: any(x in self.read_log()[said:] for x in ("main: gateway=", "this program goes on")),
                  "the next program, or why there is none", timeout)
        log = self.read_log()[said:]
        if "this program goes on" in log:
            assert self.gateway.poll() is None, "neither the next program nor the running one goes on"
            return None
        assert self.gateway.wait(timeout=15) == 0
        self.gateway = Adopted(int(log.split(" starts as pid ")[1].split(",")[0]))
        return self.world()

    def world(self):
        self.current = hfagent.World((self.address, 7400), f"{self.pki}/ca.crt")
        return self.current

    def hosts(self, world):
        return [hfagent.Host(world, n, self.cert("host", n)).connect() for n in ("alpha", "beta")]

    def read_log(self):
        with open(self.log_path) as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM):
        self.gateway.send_signal(sig)
        status = self.gateway.wait(timeout=15)
        self.gateway = None
        return status

    def ctl(self, *args, check=True, config="ctl.ini"):
        """Run holdfastctl to its end, while the agents keep sending beats."""
        p = self.ctl_begin(*args, config=config)
        self.current.run(lambda: p.poll() is not None, f"holdfastctl {args}", timeout=60)
        r = subprocess.CompletedProcess(args, p.returncode, *p.communicate())
        if check and r.returncode != 0:
            raise AssertionError(f"holdfastctl {args}: {r.returncode} {r.stdout} {r.stderr}")
        return r

    def ctl_begin(self, *args, config="ctl.ini"):
        self.n_out += 1
        out = open(os.path.join(self.dir, f"out{self.n_out}"), "w+")
        err = open(os.path.join(self.dir, f"err{self.n_out}"), "w+")
        p = subprocess.Popen([CTL, "--config", os.path.join(self.dir, config), *args],
                             stdout=out, stderr=err, text=True)
        # The output goes to files: a full pipe would block holdfastctl.
        p.communicate = lambda: tuple(self.slurp(f) for f in (out, err))
        return p

    @staticmethod
    def slurp(f):
        f.seek(0)
        return f.read()

    def vm(self):
        return json.loads(self.ctl("vm", "show", "web1", "--json").stdout)["vm"]

    def counters(self):
        return json.loads(self.ctl("stats", "--json").stdout)["counters"]

    def events(self):
        return [json.loads(x) for x in self.ctl("events", "--json").stdout.splitlines()[1:]]

    def cleanup(self):
        if self.gateway and self.gateway.poll() is None:
            self.gateway.kill()
            self.gateway.wait()
        subprocess.run(["ip", "netns", "del", self.ns], capture_output=True)
        if not os.environ.get("TEST_TMP"):
            shutil.rmtree(self.dir, ignore_errors=True)


def protect(lab, world, alpha, beta):
    """Protect the VM: let the scripted primary send one FULL epoch, and wait for the end of `protect`."""
    before = len(alpha.commits)
    world.run(lambda: alpha.control.last(hfagent.BEAT_ACK) and beta.control.last(hfagent.BEAT_ACK), "both agents' beats")
    p = lab.ctl_begin("protect", "web1")
    world.run(lambda: alpha.resume_epoch is not None and alpha.state == hfagent.SYNCING
              and alpha.stream and alpha.stream.last(hfagent.RESUME), "RESUME at the primary")
    assert alpha.resume_epoch == 0, alpha.resume_epoch
    alpha.send_epoch(1, full=True, frames=3, previous=0)
    world.run(lambda: len(alpha.commits) > before, "COMMIT of epoch 1")
    world.run(lambda: p.poll() is not None, "the end of holdfastctl protect")
    assert p.returncode == 0, p.communicate()
    return p.communicate()[0]


def reconnect(world, host, role):
    """Let @host reconnect as an agent does when its connections are broken: first control, then the
    stream."""
    for c in (host.control, host.stream):
        if c:
            c.close()
    host.world = world
    host.connect()
    world.hosts.append(host)
    world.run(lambda: host.control.last(hfagent.BEAT_ACK), f"{host.name} is back")
    host.resume_epoch = None
    host.open_stream(role)


def cpu_ms(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def main(test, lab):
    try:
        test(lab)
    except Exception:
        traceback.print_exc()
        if getattr(lab, "log_path", None):
            print("---- gateway's log\n" + lab.read_log()[-6000:])
        sys.exit(1)
    print("ok")
