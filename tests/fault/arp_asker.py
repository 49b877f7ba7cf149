"""Send the guest 250 ARP requests a second: arp_asker.py DEVICE OWN_IP GUEST_IP

The hold must keep each of the guest's replies until its epoch is committed. So every epoch has many
frames to release, and some of them are not IPv4.
"""
import socket
import struct
import sys
import time

device, own, guest = sys.argv[1], *map(socket.inet_aton, sys.argv[2:4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: receives nothing
s.bind((device, 0))
mac = s.getsockname()[4]
frame = b"\xff" * 6 + mac + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac + own + b"\0" * 6 + guest
while True:
    s.send(frame)
    time.sleep(0.004)
