"""hfagent.py - scripted agents for tests of the gateway. They send the frames of
docs/wire-format.md over Python's own TLS, with the system's libxxhash. Not a test itself.

One World drives any number of connections on one thread. Its run(until) handles their frames and
sends beats for the hosts that are alive, until the condition @until is true. It raises an error if
this takes too long.
"""
import ctypes
import ctypes.util
import os
import selectors
import socket
import ssl
import struct
import time

HELLO, WELCOME, REFUSED = 0x01, 0x02, 0x03
BEAT, BEAT_ACK, REPORT, ORDER, ORDER_DONE = 0x10, 0x11, 0x12, 0x13, 0x14
WITNESS_KEY = 0x15
FEATURE_WITNESS, FEATURE_WITNESS_PATHS = 0x10, 0x40  # features of control connections
RESUME, GEOMETRY, EPOCH_BEGIN, PAGES, DEVICE, EPOCH_END = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25
EPOCH_ACK, COMMIT, STREAM_ERROR = 0x28, 0x29, 0x2A
STANDBY_START, STANDBY_STOP, PROTECT, UNPROTECT, PROMOTE, FENCE = 1, 2, 3, 4, 5, 6
(IDLE, ATTACHING, SYNCING, PROTECTED, LOST, FENCED, RUNNING, STARTING, WARM, READY, PROMOTING,
 FAILED) = range(12)
REFUSED_NAMES = {1: "version", 2: "feature", 3: "duplicate", 4: "stale-term", 5: "unknown-vm",
                 6: "identity", 7: "protocol", 8: "not-asked", 9: "busy"}

_xxh = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
_xxh.XXH3_64bits.restype = ctypes.c_uint64
_xxh.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def checksum(data):
    return _xxh.XXH3_64bits(data, len(data))


def frame(kind, payload=b"", term=0, epoch=0, seq=0, generation=0, flags=0):
    head = struct.pack(">BBHIQQII", kind, flags, 0, len(payload), term, epoch, seq, generation)
    return head + struct.pack(">Q", checksum(head + payload)) + payload


def str8(text):
    return bytes([len(text)]) + text.encode()


def str16(text):
    return struct.pack(">H", len(text)) + text.encode()


def hello(kind, role=0, vm="", version=(1, 1), required=0, magic=b"HOLDFAST", optional=1):
    return magic + struct.pack(">HHQQBB", *version, required, optional, kind, role) + str8(vm)


def siphash24(key, data):
    """Return the 64-bit value of SipHash-2-4 (Aumasson, Bernstein)."""
    mask = (1 << 64) - 1

    def turn(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(v, n):
        a, b, c, d = v
        for _ in range(n):
            a, c = (a + b) & mask, (c + d) & mask
            b, d = turn(b, 13) ^ a, turn(d, 16) ^ c
            a = turn(a, 32)
            c, a = (c + b) & mask, (a + d) & mask
            b, d = turn(b, 17) ^ c, turn(d, 21) ^ a
            c = turn(c, 32)
        return [a, b, c, d]
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
         k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (m,) in struct.iter_unpack("<Q", padded):
        v[3] ^= m
        v = rounds(v, 2)
        v[0] ^= m
    v[2] ^= 255
    v = rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class Witness:
    """Makes witness datagrams as a primary's kernel does, with the key of a WITNESS_KEY frame."""

    def __init__(self, f):
        n = f.payload[0]
        self.vm, self.term = f.payload[1:1 + n].decode(), f.term
        self.key_id, self.port, self.key = struct.unpack(">IH16s", f.payload[1 + n:23 + n])
        more = f.payload[23 + n:]  # optional: the gateway's address in the client network
        self.client = socket.inet_ntoa(more) if more else None
        self.sequence, self.to_guest, self.from_guest, self.from_guest_ns = [0, 0], 0, 0, 0

    def datagram(self, sequence=None, path=0):
        """Return a datagram for @path, with the next sequence number or with @sequence."""
        if sequence is None:
            self.sequence[path] += 1
            self.to_guest += 1
            sequence = self.sequence[path]
        data = b"HFW1" + struct.pack(">IQQQQQHHI64s", self.key_id, sequence, time.monotonic_ns(),
                                     self.to_guest, self.from_guest, self.from_guest_ns, 60, 60,
                                     path, b"\x45" * 60)
        return data + struct.pack(">Q", siphash24(self.key, data))


class Frame:
    def __init__(self, head, payload):
        (self.kind, self.flags, _, self.size, self.term, self.epoch, self.seq,
         self.generation) = struct.unpack(">BBHIQQII", head[:32])
        self.payload = payload

    def failure(self):
        code, size = struct.unpack(">HH", self.payload[:4])
        return code, self.payload[4:4 + size].decode()

    def order(self):
        order_id, verb, n = struct.unpack(">QBB", self.payload[:10])
        return order_id, verb, self.payload[10:10 + n].decode()


class Conn:
    """One TLS connection. Calls on_frame(conn, frame) for each frame, and on_frame(conn, None) when the
    connection is closed."""

    def __init__(self, world, name, cert, on_frame=None, minimum=ssl.TLSVersion.TLSv1_3,
                 maximum=ssl.TLSVersion.TLSv1_3):
        self.world, self.name, self.on_frame = world, name, on_frame
        self.data, self.closed, self.error, self.frames = bytearray(), False, None, []
        self.to_send = bytearray()
        context = world.tls(cert, minimum, maximum)
        raw = world.connect(name)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(raw)
        self.sock.settimeout(0)
        world.selector.register(self.sock, selectors.EVENT_READ, self)

    def send(self, kind, payload=b"", **head):
        self.send_raw(frame(kind, payload, **head))

    def send_raw(self, data):
        self.to_send += data
        self.flush()

    def flush(self):
        while self.to_send and not self.closed:
            try:
                n = self.sock.send(bytes(self.to_send[:65536]))
                del self.to_send[:n]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                return
            except OSError as e:
                self.finish(e)

    def finish(self, error=None):
        if self.closed:
            return
        self.closed, self.error = True, error
        self.world.selector.unregister(self.sock)
        self.sock.close()
        if self.on_frame:
            self.on_frame(self, None)

    def close(self):
        self.on_frame = None
        self.finish()

    def kill(self):
        """Fall silent as if the host had vanished: send no FIN and read no more. The socket stays
        open."""
        self.on_frame = None
        if not self.closed:
            self.world.selector.unregister(self.sock)
            self.world.zombies.append(self.sock)
            self.closed = True

    def receive(self):
        try:
            while True:
                chunk = self.sock.recv(65536)
                if not chunk:
                    break
                self.data += chunk
                self.decode()
                if self.closed:
                    return
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except OSError as e:
            self.finish(e)
            return
        self.finish()

    def decode(self):
        while len(self.data) >= 40:
            size = struct.unpack(">I", self.data[4:8])[0]
            if len(self.data) < 40 + size:
                return
            head, payload = bytes(self.data[:40]), bytes(self.data[40:40 + size])
            del self.data[:40 + size]
            assert struct.unpack(">Q", head[32:])[0] == checksum(head[:32] + payload), "checksum"
            f = Frame(head, payload)
            if f.kind not in (PAGES, DEVICE):
                self.frames.append(f)
            if self.on_frame:
                self.on_frame(self, f)

    def last(self, kind):
        return next((f for f in reversed(self.frames) if f.kind == kind), None)


class World:
    def __init__(self, address, ca):
        self.address, self.ca = address, ca
        self.selector = selectors.DefaultSelector()
        self.hosts, self.zombies, self.contexts = [], [], {}

    def tls(self, cert, minimum, maximum):
        """Return the TLS context for connections with certificate @cert. Contexts are cached until
        the certificate's file changes."""
        key = cert, minimum, maximum, os.stat(cert + ".crt").st_mtime_ns if cert else 0
        if key not in self.contexts:
            context = self.contexts[key] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(self.ca)
            context.minimum_version, context.maximum_version = minimum, maximum
            if cert:
                context.load_cert_chain(cert + ".crt", cert + ".key")
        return self.contexts[key]

    def connect(self, name):
        """Return a socket that is connected to the gateway, for connection @name. A test may override
        this."""
        return socket.create_connection(self.address, timeout=5)

    def run(self, until, what, timeout=10.0):
        """Handle frames and send beats until @until() is true. After @timeout seconds raise
        AssertionError with @what."""
        end = time.monotonic() + timeout
        while True:
            for host in self.hosts:
                host.tick()
            if until():
                return
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout} s: {what}")
            for key, _ in self.selector.select(0.01):
                key.data.receive()
            for key in list(self.selector.get_map().values()):
                key.data.flush()


class Host:
    """A scripted agent of one host for one VM. It obeys orders as holdfast-agent does, but has no
    guest."""

    def __init__(self, world, name, cert, vm="web1", state=IDLE):
        self.world, self.name, self.cert, self.vm = world, name, cert, vm
        self.state, self.term, self.epoch, self.verdict = state, 0, 0, 0
        self.control = self.stream = None
        self.features = 0           # features to offer on the control connection
        self.orders, self.commits, self.refusals = [], [], []
        self.alive, self.next_beat, self.next_report = True, 0.0, 0.0
        self.generation = 0         # as primary: generation of the last RESUME
        self.resume_epoch = None
        self.refuse_promote = False
        self.obey = True
        self.held, self.held_epoch = [], 0  # as standby: frames of the epoch that is arriving
        self.pages_bytes = 8192
        self.stats = ""             # more lines for the statistics in reports
        world.hosts.append(self)

    def connect(self):
        self.control = Conn(self.world, self.name, self.cert, self.on_control)
        self.control.send(HELLO, hello(1, optional=1 | self.features))
        return self

    def kill(self):
        self.alive = False
        for c in (self.control, self.stream):
            if c:
                c.kill()

    def reset(self):
        """Close the sockets and send no more beats, as if the agent's process had died."""
        self.alive = False
        for c in (self.control, self.stream):
            if c:
                c.close()

    def tick(self):
        now = time.monotonic()
        if not self.alive or not self.control or self.control.closed:
            return
        if not self.control.last(WELCOME):
            return
        if now >= self.next_beat:
            self.next_beat = now + 0.05
            self.control.send(BEAT, struct.pack(">Q", time.monotonic_ns()))
        if now >= self.next_report:
            self.report()

    def report(self):
        self.next_report = time.monotonic() + 0.2
        role = 2 if self.state in (STARTING, WARM, READY, PROMOTING) else 1
        payload = (str8(self.vm) + bytes([role, self.state, self.verdict]) + str16("") +
                   str16(f"epochs={self.epoch}\npause_ms_p50=1.5\n{self.stats}"))
        self.control.send(REPORT, payload, term=self.term, epoch=self.epoch)

    def done(self, order_id, status=0, text=""):
        self.control.send(ORDER_DONE, struct.pack(">QB", order_id, status) + str8(self.vm) +
                          str16(text), term=self.term, epoch=self.epoch)
        self.report()

    def on_control(self, conn, f):
        if f is None:
            return
        if f.kind == REFUSED:
            self.refusals.append(f.failure())
        if f.kind == ORDER:
            order_id, verb, _ = f.order()
            self.orders.append((verb, f.term, f.epoch))
            if self.obey:
                self.carry_out(order_id, verb, f)

    def carry_out(self, order_id, verb, f):
        if f.term < self.term:
            return self.done(order_id, 2, f"term {f.term} is older than {self.term}")
        if verb == STANDBY_START:
            if f.term > self.term:
                self.epoch = 0
            self.term, self.state = f.term, READY if self.epoch else WARM
            if not self.stream or self.stream.closed:
                self.open_stream(2)
        elif verb == PROTECT:
            self.term, self.state, self.epoch = f.term, SYNCING, 0
            if not self.stream or self.stream.closed:
                self.open_stream(1)
        elif verb == PROMOTE:
            if self.refuse_promote or not self.epoch or self.epoch < f.epoch:
                return self.done(order_id, 2, f"holds epoch {self.epoch}, asked for {f.epoch}")
            self.term, self.state = f.term, RUNNING
        elif verb == FENCE:
            self.term, self.state = f.term, FENCED
        elif verb in (UNPROTECT, STANDBY_STOP):
            self.term = f.term
            self.state = RUNNING if verb == UNPROTECT else IDLE
            if self.stream:
                self.stream.close()
        self.done(order_id)

    def open_stream(self, role):
        on_frame = self.on_standby if role == 2 else self.on_primary
        self.stream = Conn(self.world, self.name + "-stream", self.cert, on_frame)
        self.stream.send(HELLO, hello(2, role, self.vm), term=self.term,
                         epoch=self.epoch if role == 2 else 0)

    def on_primary(self, conn, f):
        if f is None:
            return
        if f.kind == REFUSED:
            self.refusals.append(f.failure())
        elif f.kind == RESUME:
            self.generation, self.resume_epoch = f.generation, f.epoch
            self.send_geometry()
        elif f.kind == COMMIT:
            assert f.term == self.term
            self.commits.append(f.epoch)
            self.epoch, self.state = f.epoch, PROTECTED

    def send_geometry(self):
        payload = (str8("pc-i440fx-7.2") + str8("7.2.0") + struct.pack(">HQB", 1, 1 << 20, 0) +
                   struct.pack(">H", 1) + str8("pc.ram") + struct.pack(">BQ", 0, 1 << 20))
        self.stream.send(GEOMETRY, payload, term=self.term, generation=self.generation)

    def send_epoch(self, epoch, full=False, pages=2, frames=1, **wrong):
        """Send one epoch. @wrong may give a wrong term, generation or previous epoch, or a number
        (count) by which the count of frames is wrong."""
        head = dict(term=wrong.get("term", self.term), epoch=epoch,
                    generation=wrong.get("generation", self.generation))
        payloads = [struct.pack(">Q", wrong.get("previous", epoch - 1))]
        page = struct.pack(">BBHI", 2, 0, 4096, 0) + b"\x5a" * 4096
        payloads += [page * pages] * frames
        self.stream.send(EPOCH_BEGIN, payloads[0], flags=1 if full else 0, seq=0, **head)
        for i, p in enumerate(payloads[1:]):
            self.stream.send(PAGES, p, seq=i + 1, **head)
        end = struct.pack(">IIQ", len(payloads) + wrong.get("count", 0), pages * frames,
                          sum(map(len, payloads)))
        self.stream.send(EPOCH_END, end, seq=len(payloads), **head)

    def on_standby(self, conn, f):
        if f is None:
            return
        if f.kind == REFUSED:
            self.refusals.append(f.failure())
        elif f.kind == EPOCH_BEGIN:
            self.held = [f]
        elif f.kind in (PAGES, DEVICE):
            self.held.append(f)
        elif f.kind == EPOCH_END:
            n, _, size = struct.unpack(">IIQ", f.payload)
            assert n == len(self.held) and size == sum(h.size for h in self.held), "relay"
            self.epoch, self.state = f.epoch, READY
            conn.send(EPOCH_ACK, term=f.term, epoch=f.epoch, generation=f.generation)
