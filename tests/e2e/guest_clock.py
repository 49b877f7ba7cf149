#!/usr/bin/env python3
"""Measures the guest's wall clock from its client, by ICMP timestamps (RFC 792).

usage: guest_clock.py GUEST_IP [SAMPLES]

Prints one line: the guest's clock minus this host's in ms, and this host's monotonic time of this sample
in ms. A Linux guest's kernel answers by itself. The answer contains the time at which the guest received
the request. Holdfast delays only the answer, so the error is no more than the request's delay on the way
to the guest. A delay only makes the difference larger, so the smallest of the samples is printed.
Resolution: 1 ms.
Exit: 0; 1: no answers.
"""
import os
import select
import socket
import struct
import sys
import time

DAY_MS = 86400000
REQUEST, REPLY = 13, 14


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def request(ident, seq):
    ms = int(time.time() * 1000) % DAY_MS
    head = struct.pack("!BBHHHIII", REQUEST, 0, 0, ident, seq, ms, 0, 0)
    return head[:2] + struct.pack("!H", checksum(head)) + head[4:]


def answer(packet, ident, seq):
    """Return the guest's time minus the request's time in ms, or None if @packet does not answer
    this request."""
    icmp = packet[(packet[0] & 15) * 4:]
    if len(icmp) < 20 or icmp[0] != REPLY:
        return None
    its_ident, its_seq, sent, received = struct.unpack("!HHII", icmp[4:16])
    if (its_ident, its_seq) != (ident, seq) or received & 1 << 31:
        return None
    return (received - sent + DAY_MS // 2) % DAY_MS - DAY_MS // 2


def ask(raw, ip, ident, seq, timeout_s):
    raw.sendto(request(ident, seq), (ip, 0))
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([raw], [], [], left)[0]:
            break
        difference = answer(raw.recv(2048), ident, seq)
        if difference is not None:
            return difference
    return None


def measure(ip, n, timeout_s=1.0):
    """Return (the smallest difference in ms, this host's monotonic time of it in ms), or None if the
    guest gives no answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        found = []
        for seq in range(3 * n):
            difference = ask(raw, ip, os.getpid() & 0xffff, seq, timeout_s)
            if difference is not None:
                found.append((difference, time.monotonic() * 1000))
            if len(found) == n:
                break
        return min(found) if found else None


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    found = measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    if not found:
        print("no answers", file=sys.stderr)
        return 1
    print("%.1f %.1f" % found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
