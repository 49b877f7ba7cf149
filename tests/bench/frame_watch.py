"""frame_watch.py - records when the frames of one guest pass two devices of its host, until a signal. For bench_replace.

usage: frame_watch.py FILE GUEST_MAC TAP LINK

	 client --> [LINK] --> bridge --> [TAP] --> guest
	 client <-- [LINK] <-- bridge <-- hold <-- [TAP] <-- guest

FILE gets "ready" once no frame can be missed. Then it gets a line for each frame: WALL_NS PLACE SIZE HEAD. HEAD is the
first bytes of the frame in hex. PLACE is
  held     the guest has sent the frame, and the hold has not yet seen it
  left     the frame of the guest leaves its host
  arrived  the frame for the guest arrives at its host
Frames of the last 0.2 s can be missing. The last line is "missed N" if the kernel had no room for N frames.

It needs the hold for guests with offloads, a tc program. The kernel shows packet sockets no frame that XDP has taken.

The kernel writes the frames and their times into a ring and wakes this process 5 times a second, because the guest and
all daemons of the benchmark share the processors with it.
"""
import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import sys

ETH_P_ALL, PACKET_OUTGOING = 3, 4
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, TPACKET_V3 = 263, 5, 6, 10, 2
BLOCK_BYTES, BLOCKS, WAKE_MS = 1 << 18, 32, 200
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1
HOLD_MARK = 0x686F6C64 # ebpf/hold_shared.h: a released frame passes the tap once more, with this mark
HEAD_BYTES = 128


def attach_filter(s, drop_mark):
    """Keep HEAD_BYTES of each frame; drop those with @drop_mark."""
    load_mark, jump_if_equal, give_back = 0x20, 0x15, 0x06
    program = b"".join(struct.pack("=HBBI", *code) for code in (
        (load_mark, 0, 0, 0xFFFFF000 + 20), (jump_if_equal, 0, 1, drop_mark), (give_back, 0, 0, 0),
        (give_back, 0, 0, HEAD_BYTES)))
    memory = ctypes.create_string_buffer(program, len(program))
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(memory)))


class Ring:
    """The frames that pass @device, in the kernel's ring."""

    def __init__(self, device, drop_mark=0):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        if drop_mark:
            attach_filter(self.socket, drop_mark)
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack(
            "=7I", BLOCK_BYTES, BLOCKS, 2048, BLOCKS * BLOCK_BYTES // 2048, WAKE_MS, 0, 0))
        self.memory = mmap.mmap(self.socket.fileno(), BLOCKS * BLOCK_BYTES)
        self.at = 0
        self.socket.bind((device, ETH_P_ALL))

    def take(self):
        """Yields (wall_ns, packet_type, size, head) of each frame in the blocks that the kernel has finished."""
        while struct.unpack_from("=I", self.memory, self.at + 8)[0] & TP_STATUS_USER:
            n, at = struct.unpack_from("=2I", self.memory, self.at + 12)
            at += self.at
            for _ in range(n):
                following, sec, nsec, kept, size, _, mac = struct.unpack_from("=6IH", self.memory, at)
                packet_type = self.memory[at + 48 + 10]
                yield sec * 10**9 + nsec, packet_type, size, self.memory[at + mac:at + mac + min(kept, HEAD_BYTES)]
                at += following
            struct.pack_into("=I", self.memory, self.at + 8, TP_STATUS_KERNEL)
            self.at = (self.at + BLOCK_BYTES) % (BLOCKS * BLOCK_BYTES)

    def missed(self):
        return struct.unpack("=3I", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))[1]


def places(mac, tap, link):
    """Yields (wall_ns, place, size, head) of each frame that is the guest's, or for it."""
    for wall_ns, packet_type, size, head in tap.take():
        if packet_type != PACKET_OUTGOING and head[6:12] == mac:
            yield wall_ns, "held", size, head
    for wall_ns, packet_type, size, head in link.take():
        if packet_type == PACKET_OUTGOING and head[6:12] == mac:
            yield wall_ns, "left", size, head
        elif packet_type != PACKET_OUTGOING and head[:6] == mac:
            yield wall_ns, "arrived", size, head


def main():
    path, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
    tap, link = Ring(sys.argv[3], HOLD_MARK), Ring(sys.argv[4])
    wake, wakefd = os.pipe()
    os.set_blocking(wakefd, False)
    signal.set_wakeup_fd(wakefd)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with open(path, "w", encoding="ascii") as out:
        out.write("ready\n")
        out.flush()
        ended = False
        while not ended:
            ended = wake in select.select([tap.socket, link.socket, wake], [], [])[0]
            for wall_ns, place, size, head in places(mac, tap, link):
                out.write(f"{wall_ns} {place} {size} {head.hex()}\n")
        if missed := tap.missed() + link.missed():
            out.write(f"missed {missed}\n")


main()
