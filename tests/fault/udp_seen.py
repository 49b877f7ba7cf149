#!/usr/bin/env python3
"""Count the UDP datagrams to PORT that come in on DEVICE, per destination address: udp_seen.py
DEVICE PORT

Prints "ready" when it has started. On SIGTERM it prints a line "ADDRESS FRAMES" for each destination
and ends. Must run in the device's network namespace.
"""
import collections
import signal
import socket
import sys

ETH_P_ALL, ETH_P_IP, PACKET_OUTGOING, UDP = 3, 0x800, 4, 17


class End(Exception):
    pass


def end(*_):
    raise End


signal.signal(signal.SIGTERM, end)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0 until bind(): no frames of other devices
s.bind((sys.argv[1], ETH_P_ALL))
port = int(sys.argv[2]).to_bytes(2, "big")
seen = collections.Counter()
print("ready", flush=True)
try:
    while True:
        f, address = s.recvfrom(2048)
        if address[2] != PACKET_OUTGOING and address[1] == ETH_P_IP and f[23] == UDP and f[36:38] == port:
            seen[socket.inet_ntoa(f[30:34])] += 1
except End:
    for target, n in sorted(seen.items()):
        print(target, n)
