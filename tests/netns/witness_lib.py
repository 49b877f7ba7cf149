"""witness_lib.py - shared code of the witness tests: plays the gateway's UDP socket, reads and
checks datagrams, sends frames to the guest.

    gateway netns [g0 198.18.9.2] ==veth== [b0 198.18.9.1] host netns, see hold_lib.py

[g0] and [b0] are the two ends of a veth. This process plays the guest, so a test knows exactly which
frames reached the guest. Not a test itself.
"""
import array
import os
import struct

from hold_lib import *  # noqa: E402,F403

WITNESS_TOOL = os.path.join(BUILD, "tests", "netns", "witness_tool")
HOST, GATEWAY, PORT = "198.18.9.1", "198.18.9.2", 7401
ONE_EACH = 1  # a sampling interval, in microseconds, so short that every frame is sampled
KEYS = {n: bytes((n * 37 + i * 11) & 0xff for i in range(16)) for n in range(1, 60)}


def siphash(key, data):
    """Return SipHash-2-4 of @data, computed as its paper describes it. This code is independent of the
    project's two implementations."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    tail = data[len(data) & ~7:]
    data = data[:len(data) & ~7] + tail.ljust(7, b"\0") + bytes([len(data) & 0xff])
    for (word,) in struct.iter_unpack("<Q", data):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


if siphash(bytes(range(16)), bytes(range(15))) != 0xa129ca6149be45e5:
    fail("this test's SipHash does not give the paper's example")


class Witness(Commands):
    def __init__(self, net, interval_us, vm="vm1", tap="tap0", must_open=True):
        self.argv = [WITNESS_TOOL, vm, tap, os.path.join(net.bpffs, vm + "+witness"),
                     os.path.join(net.bpffs, vm), GATEWAY, str(interval_us)]
        self.hello = self.start(net, *self.argv)
        if must_open and not self.hello.startswith("ok open"):
            fail("witness_tool: %s %s" % (self.hello, self.proc.stderr.read()))

    def key(self, key_id, port=PORT, client=""):
        return self.ask("key %d %d %s %s" % (key_id, port, KEYS[key_id].hex(), client))


class Datagram:
    def __init__(self, data, sender, path=0, host=HOST):
        check_quietly(len(data) == 128 and data[:4] == b"HFW1", "format of the datagram")
        (self.key_id, self.sequence, self.mono_ns, self.to_guest, self.from_guest,
         self.from_guest_ns, self.frame_size, head_size, self.path) = struct.unpack("!IQQQQQHHI",
                                                                                    data[4:56])
        self.head, padding = data[56:56 + head_size], data[56 + head_size:120]
        check_quietly(self.key_id in KEYS and struct.unpack("!Q", data[120:])[0] ==
                      siphash(KEYS[self.key_id], data[:120]), "the mac of a datagram is right")
        check_quietly(self.path == path, "it says the path it came by")
        check_quietly(not any(padding), "padding is zero")
        check_quietly(sender == (host, PORT), "it comes from the host's address there")


def check_quietly(condition, what):
    if not condition:
        fail(what)


class Gateway:
    def __init__(self, net):
        self.net = net
        self.ns = Netns("g")
        net.host.ip("link add b0 type veth peer name g0 netns " + self.ns.name)
        net.host.ip("addr add %s/24 dev b0" % HOST)
        self.ns.ip("addr add %s/24 dev g0" % GATEWAY)
        net.host.ip("link set b0 up")
        self.ns.ip("link set g0 up")
        with net.host.entered(), socket.socket() as s:  # switch checksum offload off, to play a card that has none
            off = array.array("I", [0x17, 0])  # ETHTOOL_STXCSUM
            fcntl.ioctl(s, 0x8946, struct.pack("16sP", b"b0", off.buffer_info()[0]))
        with self.ns.entered():
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
            self.sock.bind((GATEWAY, PORT))
            self.listener = socket.create_server((GATEWAY, PORT))

    def meet(self):
        """Connect to the gateway as the agent does. This tells the kernel the gateway's MAC address."""
        with self.net.host.entered():
            socket.create_connection((GATEWAY, PORT), LIMIT_S).close()

    def next(self, timeout=LIMIT_S):
        if not select.select([self.sock], [], [], timeout)[0]:
            return None
        return Datagram(*self.sock.recvfrom(2048))

    def take(self, n):
        got = []
        while len(got) < n:
            got.append(self.next() or fail("only %d of %d datagrams came" % (len(got), n)))
        return got

    def come(self):
        """Return all datagrams that have been sent so far. To find the end, send a datagram along the
        same path through the kernel, which keeps their order."""
        with self.net.host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", (GATEWAY, PORT))
        got = []
        while True:
            check_quietly(select.select([self.sock], [], [], LIMIT_S)[0], "the end mark came")
            data, sender = self.sock.recvfrom(2048)
            if data == b"end":
                return got
            got.append(Datagram(data, sender))


class ClientEnd:
    """Plays the gateway's socket in the client network. In this network br0 stands for the host, and all
    frames can be seen at c0."""
    HOST, ADDRESS = "198.18.8.1", "198.18.8.2"

    def __init__(self, net):
        self.net = net
        net.host.ip("addr add %s/24 dev br0" % self.HOST)
        net.client.ip("addr add %s/24 dev c0" % self.ADDRESS)
        with net.client.entered():
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind((self.ADDRESS, PORT))

    def next(self, timeout=LIMIT_S):
        if not select.select([self.sock], [], [], timeout)[0]:
            return None
        return Datagram(*self.sock.recvfrom(2048), path=1, host=self.HOST)

    def udp(self):
        """Return the addresses to which UDP was sent in the client network since the last call. The
        marker that ends the list goes to the client only, so the bridge does not flood it to the
        guest."""
        end, got = self.net.marker(CLIENT_MAC), []
        while (x := self.net.capture.next() or fail("the marker did not reach the client")) != end:
            if x[12:14] == b"\x08\0" and x[23] == 17:
                got.append(socket.inet_ntoa(x[30:34]))
        return got


class Scene:
    def __init__(self):
        # Turn snooping off. It makes the bridge send frames of its own, and the witness would count them
        # as frames to the guest.
        self.net = Net(snooping=0)
        self.tap = Tap(self.net.host, "tap0")
        self.gw = Gateway(self.net)
        self.hold = Tool(self.net, "tap0")
        with self.net.client.entered():
            self.client = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.client.bind(("c0", 0))
        self.tap.send(numbered(0))  # teaches the bridge the guest's port
        self.net.seen()
        self.drain()

    def drain(self):
        """Return the frames that have reached the guest so far. To find the end, send a marker, which
        also counts as a frame to the guest."""
        return self.tap.take_until(self.net.marker())

    def to_guest(self, data):
        """Send one frame from the client. Check that the guest gets it unchanged."""
        self.client.send(data)
        got = self.tap.next()
        if got != data:
            fail("a frame to the guest was changed or lost")


def to_guest_frame(n, size=90):
    return numbered(n, dst=GUEST_MAC, src=CLIENT_MAC, size=size)


def filters(s):
    return s.net.host.exec("tc filter show dev tap0 egress")


def leftovers(s):
    left = [x for x in ("hfw", "hfv", "holdfast-witness") if x in s.net.host.ip("-d link show")]
    left += [x for x in os.listdir(s.net.bpffs) if "witness" in x]
    return left + ["filter"] * ("witness_sample" in filters(s))
