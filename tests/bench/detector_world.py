"""detector_world - lets bench_detector watch and disturb the four hosts. Its classes:

Switch     the ports of the two switches: pulls cables, loses frames between two ports
Capture    the guest's frames at one port of a switch
Processes  the processes on a host
Client     hf-client on its one connection
Clock      the wall clock of a host
Monitor    a second monitor of a guest's QEMU, besides the agent's
World      all of these, the gateway's events, and the loop that waits for any of them

Everything that takes time (looking up names, opening sockets and descriptors) is done before a
disturbance begins. Needs root and a topology of deploy/lib/topology.sh.
"""
import contextlib
import ctypes
import errno
import json
import mmap
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, NR_BPF, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_ELEM, BPF_OBJ_GET = \
    0x40000000, 321, 2, 3, 1, 7
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, IFF_UP = 16, 1, 4, 1
ETH_P_ALL, SO_TIMESTAMPNS, SO_ATTACH_FILTER, SO_RCVBUFFORCE = 3, 35, 26, 33
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23


@contextlib.contextmanager
def in_namespace(path):
    """A `with` block in the network namespace at @path. Sockets opened in the block stay in that
    namespace."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if LIBC.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), path)
        yield
    finally:
        LIBC.setns(here, CLONE_NEWNET)
        os.close(here)
        os.close(there)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    r = LIBC.syscall(NR_BPF, command, buffer, 128)
    if r < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return r


class Switch:
    """The switches of both networks. A port's name is NETWORK-HOST: c-primary is the primary's port on
    the client network, b-primary its port on the backup network."""

    def __init__(self, net_path, pin_dir, bpf_object):
        with in_namespace(net_path):
            self.ports = {name: index for index, name in socket.if_nameindex()
                          if re.fullmatch("[bc]-[a-z]+", name)}
            self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        os.makedirs(pin_dir, exist_ok=True)
        program = pin_dir + "/link_cut"
        subprocess.run(["bpftool", "prog", "load", bpf_object, program, "pinmaps", pin_dir], check=True)
        for port in self.ports:
            for tc in (["qdisc", "add", "dev", port, "clsact"],
                       ["filter", "add", "dev", port, "egress", "bpf", "da", "object-pinned", program]):
                subprocess.run(["nsenter", "--net=" + net_path, "tc", *tc], check=True)
        path = ctypes.create_string_buffer((pin_dir + "/link_losses").encode())
        self.map = bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
        self.cuts = {}
        self.n_lost = 0

    def _element(self, command, network, source, to, share=0.0):
        key = ctypes.create_string_buffer(struct.pack(
            "=II", self.ports[f"{network}-{source}"], self.ports[f"{network}-{to}"]), 8)
        value = ctypes.create_string_buffer(struct.pack("=QQ", int(share * (1 << 32)), 0), 16)
        bpf(command, struct.pack("=IIQQQ", self.map, 0, ctypes.addressof(key),
                                 0 if command == BPF_MAP_DELETE_ELEM else ctypes.addressof(value), 0))
        return struct.unpack("=QQ", value.raw)[1]

    def lose(self, network, source, to, share=1.0):
        """Lose a random @share of the frames from host @source to host @to on @network. 1 loses all,
        and 0 ends the loss."""
        key = (network, source, to)
        if key in self.cuts:
            self.n_lost += self._element(BPF_MAP_LOOKUP_ELEM, *key)
        if share:
            self._element(BPF_MAP_UPDATE_ELEM, *key, share)
            self.cuts[key] = share
        elif key in self.cuts:
            self._element(BPF_MAP_DELETE_ELEM, *key)
            del self.cuts[key]

    def heal(self):
        for key in list(self.cuts):
            self.lose(*key, 0)

    def take_lost(self):
        """Returns how many frames the switches have lost since the last call."""
        for key, share in list(self.cuts.items()):
            self.lose(*key, share)
        n, self.n_lost = self.n_lost, 0
        return n

    def cable(self, port, is_up):
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, self.ports[port], IFF_UP * is_up, IFF_UP)
        self.netlink.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK,
                                      NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        error = struct.unpack_from("=i", self.netlink.recv(4096), 16)[0]
        if error:
            raise OSError(-error, port)


class Capture:
    """Captures the frames with the guest's source address that enter a switch at one port. Each frame
    has the time at which it left its host: the kernel's CLOCK_REALTIME, taken before any queue."""

    def __init__(self, net_path, port, mac):
        mac = bytes.fromhex(mac.replace(":", ""))
        first, last = int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
        code = [(0x20, 0, 0, 6), (0x15, 0, 3, first), (0x28, 0, 0, 10), (0x15, 0, 1, last),
                (0x06, 0, 0, 64), (0x06, 0, 0, 0)]
        self.program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in code))
        with in_namespace(net_path):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack(
                "HL", len(code), ctypes.addressof(self.program)))
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.bind((port, ETH_P_ALL))
        self.socket.setblocking(False)
        self.frames = [] # (wall_ns, the first 64 bytes)
        self.last_ns = None # time of the last frame that take() returned

    def drain(self):
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(64, 64)
            except BlockingIOError:
                return
            except OSError as error: # ENETDOWN comes once when the cable is pulled; the capture continues afterwards
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            seconds, ns = struct.unpack("=qq", ancillary[0][2])
            self.frames.append((seconds * 10 ** 9 + ns, data))

    def take(self):
        """Returns (the frames since the last call, the time of the last frame before them)."""
        frames, self.frames = sorted(self.frames), []
        before, self.last_ns = self.last_ns, frames[-1][0] if frames else self.last_ns
        return frames, before

    def n_dropped(self):
        return struct.unpack("=II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]


class Processes:
    """The processes of one host, which are those in its network namespace."""

    def __init__(self, path):
        self.inode = os.stat(path).st_ino

    def pids(self, comm=None):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{pid}/ns/net").st_ino != self.inode:
                    continue
                with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                    if comm is None or f.read().startswith(comm):
                        found.append(int(pid))
            except OSError:
                pass
        return found

    @staticmethod
    def send(pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Lines:
    """Reads the stdout of a child in whole lines, without blocking."""

    def __init__(self, child):
        self.fd, self.rest = child.stdout.fileno(), b""
        os.set_blocking(self.fd, False)
        self.ended = False

    def take(self):
        try:
            while data := os.read(self.fd, 65536):
                self.rest += data
            self.ended = True
        except BlockingIOError:
            pass
        *lines, self.rest = self.rest.split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]


class Client:
    def __init__(self, command):
        # Lines reads without blocking: a client stopped in the middle of a line must not block this
        # process. The client ends when our end of its stdin is closed.
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = Lines(self.child)
        self.connected = self.broken = False
        self.replies = 0

    def say(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def take(self):
        for line in self.lines.take():
            self.connected = self.connected or line.startswith("connected")
            self.broken = self.broken or line.startswith("broken")
            found = re.search(r"^progress.* replies=(\d+)", line)
            if found:
                self.replies = int(found[1])
        self.broken = self.broken or self.lines.ended

    def stop(self, number):
        os.kill(self.child.pid, number)


class Clock:
    """The wall clock of a host's processes, set through the file of clock_shim.c."""
    LAYOUT = ctypes.c_int64 * 3 # offset_ns; numbers of reads of the moved clock, by daemons and by others

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.shared = self.LAYOUT.from_buffer(mmap.mmap(f.fileno(), ctypes.sizeof(self.LAYOUT)))

    def move(self, seconds):
        self.shared[1] = self.shared[2] = 0
        self.shared[0] = round(seconds * 1e9)

    def put_back(self):
        """Puts the clock right. Returns (the seconds by which it had been moved, how often daemons
        read the moved clock, how often other programs did)."""
        was_ns, self.shared[0] = self.shared[0], 0
        return was_ns / 1e9, self.shared[1], self.shared[2]


def wall_offset_ns():
    """Returns CLOCK_REALTIME minus CLOCK_MONOTONIC on this machine."""
    return time.time_ns() - time.monotonic_ns()


class Monitor:
    """A second monitor of a guest's QEMU, besides the agent's, as an operator or libvirt would use
    it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.events = []
        self.do("qmp_capabilities")

    def do(self, command):
        """Runs a QMP command. Returns QEMU's answer; appends events that come before it to
        self.events."""
        self.stream.write(json.dumps({"execute": command}) + "\n")
        self.stream.flush()
        while line := self.stream.readline():
            said = json.loads(line)
            if "return" in said:
                return said["return"]
            self.events.append(said.get("event", "error"))
        raise ConnectionResetError(command)

    def close(self):
        self.stream.close()
        self.socket.close()


class World:
    """One cluster: its hosts, switches, client and events, from its start to its end."""

    def __init__(self, facts):
        self.facts = facts
        prefix = facts["prefix"]
        self.net_path = {host: f"/run/netns/{prefix}-{host}"
                         for host in ("client", "primary", "gateway", "standby", "net")}
        self.switch = Switch(self.net_path["net"], facts["pins"] + "/bench", facts["bpf"])
        self.host = {h: Processes(self.net_path[h]) for h in self.net_path}
        self.capture = {port: Capture(self.net_path["net"], port, facts["mac"])
                        for port in ("c-primary", "c-standby", "b-primary", "b-standby")}
        self.follower = subprocess.Popen(facts["follow"], stdout=subprocess.PIPE)
        self.event_lines = Lines(self.follower)
        self.events = []
        self.state = self.detector = ""
        self.on, self.off = "primary", "standby"
        self.strike = self.seal_ms = None
        self.n_shaped = 0 # frames that had to wait for a shaper
        self.clock = {h: Clock(f"{facts['dir']}/clock-{h}") for h in ("primary", "gateway", "standby")}
        self.jumps = [] # finished clock jumps: [host, seconds, reads by daemons, reads by others]
        # for each operator's pause: True if the guest stayed paused, "again" if it needed a second `stop`
        self.pauses = []
        self.client = Client(facts["client"])

    # --- waiting ---

    def _take_event(self, line):
        event = json.loads(line)
        if "seq" not in event:
            return
        self.events.append(event)
        if event["kind"] == "state":
            self.state = event["to"]
            self.detector = "PROTECTED" if event["to"] == "PROTECTED" else ""
        elif event["kind"] == "liveness":
            self.detector = event["to"]

    def pump(self, timeout_s):
        """Wait up to @timeout_s for events or output of the client, and process what has come."""
        select.select([self.event_lines.fd, self.client.lines.fd], [], [], max(0, timeout_s))
        for line in self.event_lines.take():
            self._take_event(line)
        self.client.take()
        for capture in self.capture.values():
            capture.drain()
        if self.event_lines.ended:
            raise RuntimeError("the gateway's events have ended")

    def until(self, condition, seconds):
        """Waits until @condition() is true. Returns False if this takes longer than @seconds or if the
        client's connection breaks."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0 or self.client.broken:
                return False
            self.pump(min(left, 0.1))
        return True

    def wait_ms(self, ms):
        end = time.monotonic() + ms / 1000
        while (left := end - time.monotonic()) > 0:
            self.pump(min(left, 0.1))

    def is_served(self, replies):
        """Returns True if the VM is PROTECTED, its primary is not suspected, and the client has got
        @replies replies."""
        return (self.state == "PROTECTED" and self.detector == "PROTECTED" and
                self.client.replies >= replies)

    def is_promoted(self, since):
        return any(e["kind"] == "state" and e["to"] == "PROMOTING" for e in self.events[since:])

    # --- tools of the disturbances ---

    def agent(self, host=None):
        return self.host[host or self.on].pids("holdfast-agent")

    def qemu(self, host=None):
        return self.host[host or self.on].pids("qemu-system")

    def monitor(self):
        """Open a monitor of the guest; the caller closes it."""
        return Monitor(f"{self.facts['dir']}/{self.on}/qmp-look")

    def run_on(self, host, *command):
        subprocess.run(["nsenter", "--net=" + self.net_path[host], *command], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def overlimits(self, host):
        """Returns how often the shaper of the host's backup interface has made a frame wait."""
        said = subprocess.run(["nsenter", "--net=" + self.net_path[host], "tc", "-s", "qdisc", "show", "dev",
                               "bk0"], check=False, capture_output=True, text=True).stdout
        return sum(int(n) for n in re.findall(r"overlimits (\d+)", said))

    def swap(self):
        self.on, self.off = self.off, self.on

    def kill_host(self, host):
        """Kill all processes of the host at once, then pull its cables. Returns CLOCK_MONOTONIC
        just before the kill."""
        fds = []
        for pid in self.host[host].pids():
            with contextlib.suppress(ProcessLookupError):
                fds.append(os.pidfd_open(pid))
        start = time.monotonic_ns()
        for fd in fds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        self.switch.cable(f"c-{host}", False)
        self.switch.cable(f"b-{host}", False)
        for fd in fds:
            os.close(fd)
        return start

    def close(self):
        """Ends the client. Returns its report, or None if there is none. Everything else ends with the
        topology."""
        report = None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.client.stop(signal.SIGCONT)
            self.client.say("stop")
            self.client.child.wait(15)
            with open(self.facts["report"], encoding="ascii") as f:
                report = json.load(f)
        for child in (self.client.child, self.follower):
            child.kill()
            child.wait()
            child.stdout.close()
        for capture in self.capture.values():
            capture.socket.close()
        self.switch.netlink.close()
        os.close(self.switch.map)
        return report
