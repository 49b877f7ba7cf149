"""Tests the gateway's port and stack against a kernel TCP peer. test_stack_af_packet and
test_stack_af_xdp run this suite, each with one driver. Not executable by itself.

A veth connects two namespaces: stack_echo (DPDK driver, lwIP) runs in one, this process in the
other.
"""
import atexit
import ctypes
import hashlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

GW, CL = "198.18.77.1", "198.18.77.2"
ECHO, SINK, SOURCE = 7, 9, 19
NS_GW, NS_CL = f"hf-stack-gw-{os.getpid()}", f"hf-stack-cl-{os.getpid()}"
server = None


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def skip(text):
    print(f"skip: {text}")
    sys.exit(77)


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def clean_up():
    if server and server.poll() is None:
        server.kill()
        server.wait()
    for ns in (NS_GW, NS_CL):
        subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)


def set_up(driver):
    global server
    if os.geteuid():
        skip("needs root")
    program = os.path.join(os.environ.get("BUILD", "build"), "tests/netns/stack_echo")
    if not os.access(program, os.X_OK):
        raise Failed(f"{program} is not built")
    atexit.register(clean_up)
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: sys.exit(1))
    for ns in (NS_GW, NS_CL):
        run("ip", "netns", "add", ns)
        # Turn IPv6 off: the kernel's own frames would disturb the counters.
        run("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    run("ip", "-n", NS_GW, "link", "add", "bk0", "type", "veth", "peer", "name", "cl0", "netns", NS_CL)
    run("ip", "-n", NS_CL, "addr", "add", f"{CL}/24", "dev", "cl0")
    run("ip", "-n", NS_GW, "link", "set", "bk0", "up")
    run("ip", "-n", NS_CL, "link", "set", "cl0", "up")
    # Compute checksums in the sender: a veth has no hardware that does it later.
    run("ip", "netns", "exec", NS_CL, "ethtool", "-K", "cl0", "tx", "off")
    server = subprocess.Popen(
        ["ip", "netns", "exec", NS_GW, program, f"{driver},iface=bk0", f"{GW}/24"],
        stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    if not line.startswith("ready"):
        if server.wait() == 77:
            skip(f"{driver} cannot be had here")
        raise Failed(f"stack_echo ended with {server.returncode}")
    fd = os.open(f"/run/netns/{NS_CL}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):  # CLONE_NEWNET; threads inherit it
        raise Failed(f"setns: {os.strerror(ctypes.get_errno())}")
    os.close(fd)
    return line.split()[1]


def connect(port=ECHO, rcvbuf=None):
    s = socket.socket()
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(15)
    s.connect((GW, port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def rss_kib():
    with open(f"/proc/{server.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def cpu_ticks():
    with open(f"/proc/{server.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def echo_all(data, sizes, read_size=65536):
    """Send @data in pieces of @sizes, half-close the connection and read until EOF. Return the
    received bytes."""
    s = connect()
    got = bytearray()

    def reader():
        while chunk := s.recv(read_size):
            got.extend(chunk)

    thread = threading.Thread(target=reader)
    thread.start()
    at = 0
    while at < len(data):
        n = sizes()
        s.sendall(data[at:at + n])
        at += n
    s.shutdown(socket.SHUT_WR)
    thread.join(30)
    check(not thread.is_alive(), "no end of the echo")
    s.close()
    return bytes(got)


def test_echo_integrity():
    rng = random.Random(1)
    data = rng.randbytes(16 << 20)
    back = echo_all(data, lambda: rng.choice((1, 3, 1459, 1460, 1461, 5000, 70000, 200000)))
    check(hashlib.sha256(back).digest() == hashlib.sha256(data).digest(),
          f"{len(back)} of {len(data)} bytes came back, or others")


def test_fifty_at_once():
    rng = random.Random(2)
    bad = []

    def one(seed):
        data = random.Random(seed).randbytes(200_000)
        try:
            if echo_all(data, lambda: 7000) != data:
                bad.append(f"{seed}: differs")
        except (OSError, Failed) as e:
            bad.append(f"{seed}: {e}")

    threads = [threading.Thread(target=one, args=(rng.random(),)) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    check(not bad, f"{len(bad)} of 50: {bad[:3]}")


def test_reset_by_peer():
    s = connect()
    s.sendall(b"x" * 100_000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()  # sends RST
    check(echo_all(b"still here", lambda: 10) == b"still here", "the server is gone")


def test_slow_reader():
    """Send without reading the replies: the window must stop the sender, and the server's memory must
    not grow."""
    before = rss_kib()
    s = connect(rcvbuf=4096)
    s.setblocking(False)
    data = random.Random(3).randbytes(8 << 20)
    sent = 0
    idle_since = time.monotonic()
    # send until the server has read nothing for half a second
    while time.monotonic() - idle_since < 0.5:
        try:
            sent += s.send(data[sent:sent + 65536])
            idle_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    grown = rss_kib() - before
    check(sent < len(data), "the window never closed")
    check(grown < 4096, f"server grew by {grown} KiB")
    s.settimeout(15)
    got = bytearray()
    while len(got) < sent:
        chunk = s.recv(65536)
        check(chunk, f"ended after {len(got)} of {sent} bytes")
        got.extend(chunk)
    check(got == data[:sent], "the bytes differ")
    s.close()
    return f"stopped after {sent >> 10} KiB, server grew {grown} KiB"


def test_hostile_frames(mac):
    """Send randomly damaged frames and a SYN flood. An open connection must not be affected."""
    rng = random.Random(4)
    held = connect()
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("cl0", 0))
    gw_mac = bytes.fromhex(mac.replace(":", ""))
    own_mac = raw.getsockname()[4]

    def syn(source, port):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0,
                         socket.inet_aton(source), socket.inet_aton(GW))
        ip = ip[:10] + struct.pack("!H", csum(ip)) + ip[12:]
        tcp = struct.pack("!HHIIBBHHH", port, ECHO, 7, 0, 0x50, 2, 1000, 0, 0)
        pseudo = ip[12:20] + struct.pack("!BBH", 0, 6, 20)
        tcp = tcp[:16] + struct.pack("!H", csum(pseudo + tcp)) + tcp[18:]
        return gw_mac + own_mac + b"\x08\x00" + ip + tcp

    for i in range(4000):
        frame = bytearray(syn(f"198.18.77.{rng.randrange(3, 250)}", rng.randrange(1, 65536)))
        frame += rng.randbytes(rng.randrange(0, 60))
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(12, len(frame))
            frame[at] = rng.randrange(256)
        frame = frame[:rng.choice((len(frame), rng.randrange(14, len(frame) + 1)))]
        raw.send(bytes(frame))
    good = syn("198.18.77.9", 999)
    for at, value in ((12, b"\x86\xdd"), (20, b"\x20\x00"), (23, b"\x11"), (23, b"\x84"),
                      (26, socket.inet_aton(GW)), (30, socket.inet_aton(CL)), (16, b"\x40\x00"),
                      (46, b"\x10"), (47, b"\x03")):
        # Each frame has one wrong value: another ethertype, a fragment, UDP, SCTP, the gateway's own
        # source, another target, a wrong length, or a wrong TCP header.
        raw.send(good[:at] + value + good[at + len(value):])
    for i in range(2000):
        raw.send(syn(f"198.18.77.{3 + i % 200}", 1024 + i))
    held.sendall(b"alive")
    check(held.recv(5) == b"alive", "the open connection broke")
    check(echo_all(b"new", lambda: 3) == b"new", "no new connection under a SYN flood")
    held.close()


def csum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    s = (s >> 16) + (s & 0xffff)
    return ~(s + (s >> 16)) & 0xffff


def test_idle_cpu():
    held = connect()  # an open, silent connection
    time.sleep(0.3)   # the server stops spinning after the last frame
    before = cpu_ticks()
    time.sleep(2)     # the measured interval
    share = (cpu_ticks() - before) / os.sysconf("SC_CLK_TCK") / 2 * 100
    held.close()
    check(share < 2, f"{share:.1f} % CPU while idle")
    return f"{share:.1f} %"


def test_wake_latency():
    s = connect()
    took = []
    for _ in range(200):
        time.sleep(0.005)  # the server's loop falls asleep: each round trip includes a wake-up
        start = time.perf_counter()
        s.sendall(b"p")
        s.recv(1)
        took.append((time.perf_counter() - start) * 1e6)
    s.close()
    took.sort()
    # Allow 5 ms for a busy machine. If arriving frames do not wake the event loop, round trips take 100 ms.
    check(took[100] < 5000, f"p50 {took[100]:.0f} us")
    return f"p50 {took[100]:.0f} us, p99 {took[197]:.0f} us"


def test_throughput():
    amount = 128 << 20
    s = connect(SINK)
    block = bytes(1 << 18)
    start = time.perf_counter()
    for _ in range(amount >> 18):
        s.sendall(block)
    s.shutdown(socket.SHUT_WR)
    check(s.recv(1) == b"", "no end")
    to_gateway = amount * 8 / (time.perf_counter() - start) / 1e9
    s = connect(SOURCE)
    buffer = bytearray(1 << 18)
    got, start = 0, time.perf_counter()
    while got < amount:
        n = s.recv_into(buffer)
        check(n, "ended early")
        got += n
    from_gateway = got * 8 / (time.perf_counter() - start) / 1e9
    s.close()
    return f"to the gateway {to_gateway:.2f} Gbit/s, from it {from_gateway:.2f} Gbit/s"


def counters():
    server.send_signal(signal.SIGTERM)
    text = server.stdout.read()
    check(server.wait(10) == 0, f"stack_echo ended with {server.returncode}")
    return dict((k, int(v)) for k, v in (line.split("=") for line in text.split()))


def test_counters_at_the_end(driver):
    """Check the counters: all connections are closed, all frames were released, and all attacks were
    counted."""
    check(echo_all(b"last", lambda: 4) == b"last", "the server is gone")
    c = counters()
    check(c["n_connections"] == 0, f"{c['n_connections']} connections left")
    check(c["accepted"] >= 60, f"accepted {c['accepted']}")
    check(c["closed_reset"] >= 1, "the reset was not counted")
    check(c["n_frames_held"] == 0, f"{c['n_frames_held']} frames held")
    check(c["half_open_evicted"] > 1000, f"half_open_evicted {c['half_open_evicted']}")
    # With net_af_packet no fragment arrives, because the kernel's packet socket reassembles them.
    check(c["drop_fragment"] > 0 or "af_packet" in driver, "drop_fragment 0")
    for name in ("drop_runt", "drop_malformed", "drop_not_ours", "drop_ethertype", "drop_protocol",
                 "drop_spoofed"):
        check(c[name] > 0, f"{name} 0")
    check(c["drop_no_holder"] == 0 and c["tx_no_buffer"] == 0, "ran out of buffers")
    return f"{driver}: rx {c['rx_frames']} tx {c['tx_frames']} wakes {c['wakes']}"


def main(driver):
    mac = set_up(driver)
    tests = [test_echo_integrity, test_fifty_at_once, test_reset_by_peer, test_slow_reader,
             lambda: test_hostile_frames(mac), test_idle_cpu, test_wake_latency, test_throughput,
             lambda: test_counters_at_the_end(driver)]
    names = ["echo_integrity_and_half_close", "fifty_at_once", "reset_by_peer", "slow_reader",
             "hostile_frames", "idle_cpu", "wake_latency", "throughput", "counters"]
    failed = 0
    for name, test in zip(names, tests):
        try:
            note = test()
            print(f"ok   {driver} {name}" + (f": {note}" if note else ""), flush=True)
        except (Failed, OSError) as e:
            print(f"FAIL {driver} {name}: {e}", flush=True)
            failed += 1
    sys.exit(1 if failed else 0)
