"""networks.py - plays a client of the guest that uses VLANs, multicast groups and jumbo frames, for test_networks.

usage: networks.py vlan DEVICE ID SOURCE TARGET BYTES   ask for TARGET's address by ARP, then ping it, both in the VLAN
       networks.py group SOURCE GROUP PORT              send datagrams to the group until a member answers
       networks.py longest DEVICE MAC SECONDS ENOUGH    print the size of the longest TCP frame that MAC sends, or of
                                                        the first one with more than ENOUGH bytes
Each but the last gives up after 20 s. Prints what was seen. Exit: 0, or 1 if there was no answer.
"""
import ipaddress
import socket
import struct
import sys
import time

LIMIT_S = 20
AGAIN_S = 0.5  # between two questions
ETH_P_ALL, ETH_ARP, ETH_IP, ETH_VLAN = 3, 0x0806, 0x0800, 0x8100
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Wire:
    """Whole frames of a network device, with their VLAN tags."""

    def __init__(self, device):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # until bind(), no frames of other devices
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)  # the kernel takes the tag off each frame
        self.sock.bind((device, ETH_P_ALL))
        self.mac = self.sock.getsockname()[4]

    def send(self, to, vlan, kind, payload):
        self.sock.send(to + self.mac + struct.pack("!HHH", ETH_VLAN, vlan, kind) + payload)

    def receive(self, seconds):
        """Return VLAN (0: none) and frame, or None."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            data, notes, _, _ = self.sock.recvmsg(65536, 64)
        except socket.timeout:
            return None
        vlan = 0
        for level, kind, note in notes:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", note[:20])
                vlan = tci & 0xfff if status & TP_STATUS_VLAN_VALID else 0
        return vlan, data


def ask(wire, question, answer):
    """Send question() again and again until answer(vlan, frame) is true of a received frame; return its result."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        question()
        again = time.monotonic() + AGAIN_S
        while time.monotonic() < again:
            got = wire.receive(again - time.monotonic())
            found = got and answer(*got)
            if found:
                return found
    return None


def ping_in_vlan(device, vlan, source, target, n_bytes):
    wire = Wire(device)
    vlan, n_bytes = int(vlan), int(n_bytes)
    us, them = (ipaddress.ip_address(address).packed for address in (source, target))
    arp = struct.pack("!HHBBH", 1, ETH_IP, 6, 4, 1) + wire.mac + us + bytes(6) + them
    mac = ask(wire, lambda: wire.send(b"\xff" * 6, vlan, ETH_ARP, arp),
              lambda tag, data: tag == vlan and data[12:14] == b"\x08\x06" and data[28:32] == them and data[22:28])
    if not mac:
        sys.exit("no answer to ARP in VLAN %d" % vlan)
    echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + bytes(n_bytes)
    echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(echo), 1, 0x4000, 64, 1, 0) + us + them
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]

    def is_reply(tag, data):
        return tag == vlan and data[12:14] == b"\x08\x00" and data[26:30] == them and data[34] == 0 and \
            len(data) == 14 + len(head) + len(echo)

    if not ask(wire, lambda: wire.send(mac, vlan, ETH_IP, head + echo), is_reply):
        sys.exit("no answer to a ping of %d bytes in VLAN %d" % (n_bytes, vlan))
    print("vlan %d: ARP, and a ping of %d bytes" % (vlan, n_bytes))


def ask_group(source, group, port):
    is_6 = ":" in group
    sock = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    if is_6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    sock.settimeout(AGAIN_S)
    for n in range(int(LIMIT_S / AGAIN_S)):
        word = b"question %d" % n
        sock.sendto(word, (group, int(port)))
        try:
            data, member = sock.recvfrom(2048)
        except socket.timeout:
            continue
        if data.startswith(b"question"):
            print("group %s: %s has answered question %d" % (group, member[0], n))
            return
    sys.exit("nobody answers in the group %s" % group)


def longest_tcp(device, mac, seconds, enough):
    wire = Wire(device)
    sender = bytes.fromhex(mac.replace(":", ""))
    longest, end = 0, time.monotonic() + float(seconds)
    while longest <= int(enough) and time.monotonic() < end:
        got = wire.receive(end - time.monotonic())
        if got and got[1][6:12] == sender and got[1][12:14] == b"\x08\x00" and got[1][23] == socket.IPPROTO_TCP:
            longest = max(longest, len(got[1]))
    print(longest)


{"vlan": ping_in_vlan, "group": ask_group, "longest": longest_tcp}[sys.argv[1]](*sys.argv[2:])
