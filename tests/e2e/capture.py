"""capture.py - records which frames of one sender passed a network device, and when. Not a test itself.

capture.py record DEVICE MAC FILE [in]     record until a signal; write one line per frame: wall_ns size
                                           ethertype; "in" leaves out frames that were sent through DEVICE
capture.py count FILE FROM_NS [TO_NS]      print how many recorded frames passed in [FROM_NS, TO_NS)
capture.py quiet DEVICE MAC QUIET_MS LIMIT_MS
                                           wait until no frame has passed for QUIET_MS; print when this
                                           silence began; exit 1 if there is none within LIMIT_MS

The kernel records when each frame passes, so the times are right even if this process runs late.
The clock is CLOCK_REALTIME, which bash can read without starting a process. FILE's first line is
"ready"; once it is written, no frame can be missed.
"""
import os
import select
import signal
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33  # socket(7): SO_RCVBUF is cut to net.core.rmem_max, 208 KiB, and then frames are dropped
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_TIMESTAMPNS = 35
SOL_PACKET, PACKET_STATISTICS = 263, 6


def open_socket(device, mac):
    # Protocol 0 until bind(): with ETH_P_ALL here, the frames of all devices would fill the small first buffer.
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    s.bind((device, ETH_P_ALL))
    s.setblocking(False)
    return s, bytes.fromhex(mac.replace(":", ""))


def receive(s, mac, only_in=False):
    """Return the next waiting frame of @mac as (wall_ns, size, ethertype), or None if no frame waits."""
    while True:
        try:
            data, ancillary, _, address = s.recvmsg(2048, 128)
        except BlockingIOError:
            return None
        if data[6:12] != mac or (only_in and address[2] == PACKET_OUTGOING):
            continue
        wall_ns = time.time_ns()
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, ns = struct.unpack("=qq", value)
                wall_ns = seconds * 10**9 + ns
        return wall_ns, len(data), struct.unpack(">H", data[12:14])[0]


def record(device, mac, path, direction=""):
    s, mac = open_socket(device, mac)
    wake, wakefd = os.pipe()
    os.set_blocking(wakefd, False)
    signal.set_wakeup_fd(wakefd)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with open(path, "w", buffering=1) as out:
        out.write("ready\n")
        ended = False
        while not ended:
            ready, _, _ = select.select([s, wake], [], [])
            ended = wake in ready
            while frame := receive(s, mac, direction == "in"):
                out.write("%d %d %04x\n" % frame)
        # Note in FILE if the kernel has dropped frames: the capture is then incomplete.
        dropped = struct.unpack("=II", s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        if dropped:
            out.write(f"dropped {dropped}\n")


def count(path, start_ns, end_ns):
    n = 0
    with open(path) as lines:
        for line in lines:
            if line.startswith("dropped"):
                sys.exit(f"capture: the kernel dropped frames: {line}")
            if line[0].isdigit():
                n += start_ns <= int(line.split()[0]) < end_ns
    print(n)


def quiet(device, mac, quiet_ms, limit_ms):
    s, mac = open_socket(device, mac)
    last_ns = time.time_ns()
    end_ns = last_ns + limit_ms * 10**6
    n = 0
    while (now_ns := time.time_ns()) < last_ns + quiet_ms * 10**6:
        if now_ns > end_ns:
            print(f"{n} frames in {limit_ms} ms, the last one just now", file=sys.stderr)
            return 1
        select.select([s], [], [], (last_ns + quiet_ms * 10**6 - now_ns) / 1e9)
        while frame := receive(s, mac):
            last_ns, n = max(frame[0], last_ns), n + 1
    print(last_ns + 1)
    return 0


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "record":
        record(*args)
    elif verb == "count":
        count(args[0], int(args[1]), int(args[2]) if len(args) > 2 else 1 << 63)
    elif verb == "quiet":
        sys.exit(quiet(args[0], args[1], int(args[2]), int(args[3])))


main()
