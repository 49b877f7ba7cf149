#!/usr/bin/env python3
"""Write the golden vectors of docs/wire-format.md, one frame per .hex file, without Holdfast's
code.

It implements the specification a second time, with struct and libxxhash only. After a change of the
specification, run it, look at what differs in the files, and commit them with the change. It also
writes seeds of the fuzz targets. `--check` writes nothing and exits 1 if a file differs.
"""
import ctypes
import os
import struct
import sys

xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxhash.XXH3_128bits_withSeed.restype = Hash128
xxhash.XXH3_128bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def str8(text):
    data = text.encode()
    return struct.pack(">B", len(data)) + data


def str16(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def record(cls, index, data=b""):
    return struct.pack(">BBHI", cls, 0, len(data), index) + data


def change(op, size, offset, data=b""):
    """Return one record of a DISK frame."""
    return struct.pack(">B3xIQ", op, size, offset) + data


def hashed(seed, size, offset, content):
    """Return a HASH record of a DISK frame."""
    value = xxhash.XXH3_128bits_withSeed(content, len(content), seed)
    return change(4, size, offset, struct.pack(">QQQ", seed, value.high, value.low))


def page_hash(seed, page):
    """Return the hash of a page in RAM_HASH."""
    value = xxhash.XXH3_128bits_withSeed(page, len(page), seed)
    return struct.pack(">QQ", value.high, value.low)


def frame(type_, payload=b"", flags=0, term=0, epoch=0, seq=0, generation=0):
    head = struct.pack(">BBHIQQII", type_, flags, 0, len(payload), term, epoch, seq, generation)
    hashed = head + payload
    return head + struct.pack(">Q", xxhash.XXH3_64bits(hashed, len(hashed))) + payload


def hello(vmin, vmax, required, optional, kind, role, vm):
    return b"HOLDFAST" + struct.pack(">HHQQBB", vmin, vmax, required, optional, kind, role) + str8(vm)


ORDER_ID = 0x1122334455667788
BEAT = struct.pack(">Q", 0x0102030405060708)
STREAM = {"term": 7, "generation": 5}
VECTORS = {
    "hello-control": frame(0x01, hello(1, 1, 0, 0, 1, 0, ""), term=7),
    "hello-stream": frame(0x01, hello(1, 3, 1, 0x8000000000000002, 2, 2, "web1"), term=7, epoch=811),
    "hello-peer": frame(0x01, hello(1, 1, 1, 14, 3, 1, "web1"), term=7),
    "welcome": frame(0x02, struct.pack(">HQ", 1, 1) + str8("gw-1")),
    "welcome-incarnation": frame(0x02, struct.pack(">HQ", 1, 0x171) + str8("gw-1")
                                 + struct.pack(">Q", 0x69001234abcd)),
    "refused": frame(0x03, struct.pack(">H", 4) + str16("term 9 rules web1 \u2013 stop"), term=9),
    "beat": frame(0x10, BEAT, seq=41),
    "beat-ack": frame(0x11, BEAT, seq=41),
    "report": frame(0x12, str8("web1") + bytes([1, 3, 2]) + str16("paused by someone else")
                    + str16("epochs=812\npause_ms_p99=4.25\nlast_error=\n"),
                    seq=42, term=7, epoch=811),
    "order": frame(0x13, struct.pack(">QB", ORDER_ID, 5) + str8("web1") + str16(""),
                   seq=1, term=8, epoch=811),
    "order-incarnation": frame(0x13, struct.pack(">QB", ORDER_ID, 5) + str8("web1") + str16("")
                               + struct.pack(">Q", 0x69001234abcd), seq=1, term=8, epoch=811),
    "order-done": frame(0x14, struct.pack(">QB", ORDER_ID, 2) + str8("web1")
                        + str16("no complete epoch"), seq=1, term=8),
    "witness-key": frame(0x15, str8("web1") + struct.pack(">IH", 0x01020304, 7401) + bytes(range(16)),
                         seq=2, term=7),
    "witness-key-client": frame(0x15, str8("web1") + struct.pack(">IH", 0x01020304, 7401)
                                + bytes(range(16)) + bytes([198, 18, 2, 3]), seq=2, term=7),
    "lease": frame(0x16, str8("web1") + BEAT + struct.pack(">II", 2000, 150), seq=3, term=7),
    "lease-incarnation": frame(0x16, str8("web1") + BEAT + struct.pack(">IIQ", 2000, 150, 0x69001234abcd),
                               seq=3, term=7),
    "claim": frame(0x17, bytes([2]), term=8, epoch=811),
    "vote": frame(0x18, bytes([0]) + str16("the gateway was heard 120 ms ago"), term=8),
    "drain": frame(0x31, bytes([2]) + struct.pack(">I", 60) + bytes(range(16)), seq=4),
    "drain-state": frame(0x32, bytes([1]) + struct.pack(">H", 3) + str16("web1 runs on beta"), seq=5),
    "resume": frame(0x20, epoch=811, **STREAM),
    "geometry": frame(0x21, str8("pc-i440fx-7.2") + str8("7.2.22 (Debian)")
                      + struct.pack(">HQB", 2, 256 << 20, 1) + bytes.fromhex("525400123456")
                      + struct.pack(">H", 2)
                      + str8("pc.ram") + struct.pack(">BQ", 0, 256 << 20)
                      + str8("/rom@etc/acpi/tables") + struct.pack(">BQ", 1, 131072), **STREAM),
    "machine": frame(0x26, bytes([0]) + str8("CPU 0") + str8("qemu64-x86_64-cpu")
                     + str8("device pci.0/02.0 (virtio-net-pci) romfile") + str8(""), **STREAM),
    "epoch-begin": frame(0x22, struct.pack(">Q", 811), epoch=812, **STREAM),
    "epoch-begin-unheld": frame(0x22, struct.pack(">Q", 811), flags=2, epoch=812, **STREAM),
    "epoch-begin-full": frame(0x22, struct.pack(">Q", 0), flags=1, epoch=1, term=7, generation=1),
    "pages": frame(0x23, record(1, 0) + record(3, 65535, b"\x05\x02\xaa\xbb")
                   + record(4, 4660, b"\x07" + b"\1" * 64 + b"\x20\1\2\3" + bytes(7))
                   + record(2, 258, bytes(i * 7 % 256 for i in range(4096))),
                   seq=1, epoch=812, **STREAM),
    "pages-dup": frame(0x23, record(5, 4660, struct.pack(">I", 258)) + record(1, 258),
                       seq=3, epoch=812, **STREAM),
    "pages-lz4": frame(0x23, struct.pack(">IB", 8, 0x80) + record(1, 258), flags=1, seq=2,
                       epoch=812, **STREAM),
    "device": frame(0x24, struct.pack(">I", 79000) + record(3, 19, b"\x00\x01z") + record(1, 3),
                    seq=2, epoch=812, **STREAM),
    "clock": frame(0x27, struct.pack(">QQQQQQ", 0x1122334455667788, 5000000000, 1000000000000,
                                     0x1122334455e00000, 5004000000, 2400000000),
                   seq=3, epoch=812, **STREAM),
    "disk": frame(0x2b, str8("vda") + change(1, 6, 0x1122334455, b"change")
                  + change(2, 1 << 31, 1 << 40) + change(3, 4096, (1 << 63) - 4096)
                  + hashed(0x0102030405060708, 6, 0x1122334455, b"change"),
                  seq=4, epoch=812, **STREAM),
    "disk-lz4": frame(0x2b, struct.pack(">IB", 4, 0x40) + str8("vda"), flags=1, seq=5,
                      epoch=812, **STREAM),
    "disk-checked": frame(0x2c, str8("vda") + struct.pack(">IIQQ", 64, 2, 65536, 0x1122334400),
                          epoch=812, **STREAM),
    "hashes-want": frame(0x2d, str8("vda") + struct.pack(">QQI", 0x1122334455667788, 4096, 65536),
                         **STREAM),
    "hashes": frame(0x2e, str8("") + struct.pack(">QQII", 0x1122334455667788, 4096, 3, 2) +
                    bytes(range(32)), **STREAM),
    "ram-hash": frame(0x2f, struct.pack(">QI", 0x0102030405060708, 65534)
                      + page_hash(0x0102030405060708, bytes(4096))
                      + page_hash(0x0102030405060708, b"\xa5" * 4096),
                      seq=6, epoch=812, **STREAM),
    "ram-checked": frame(0x30, struct.pack(">IIII", 256, 2, 65534, 65600), epoch=812, **STREAM),
    "epoch-end": frame(0x25, struct.pack(">IIQ", 3, 3, 4159), seq=3, epoch=812, **STREAM),
    "epoch-ack": frame(0x28, epoch=812, **STREAM),
    "commit": frame(0x29, epoch=812, **STREAM),
    "stream-error": frame(0x2a, struct.pack(">H", 4) + str16("epoch 9 does not stand on 7"),
                          epoch=811, **STREAM),
}


def packed(payload):
    """Return @payload packed: its size, then an LZ4 block that consists of literals only."""
    n = len(payload)
    head = bytes([n << 4]) if n < 15 else b"\xf0" + b"\xff" * ((n - 15) // 255) + bytes([(n - 15) % 255])
    return struct.pack(">I", n) + head + payload


def dup(source):
    return struct.pack(">I", source)


def delta_epoch(records):
    """Return an epoch with @records that builds on the epoch of packed_epoch()."""
    payloads = [(0x22, struct.pack(">Q", 1)), (0x23, records), (0x24, struct.pack(">I", 5000))]
    end = struct.pack(">IIQ", len(payloads), 3, sum(len(p) for _, p in payloads))
    return b"".join(frame(t, p, seq=i, term=7, epoch=2, generation=1)
                    for i, (t, p) in enumerate(payloads + [(0x25, end)]))


def packed_epoch():
    """Return a whole FULL epoch for tests/fuzz/fuzz_epochlog.c. It has records of every class and
    packed frames of each kind."""
    geometry = (str8("pc") + str8("7.2") + struct.pack(">HQBH", 1, 8 * 4096, 0, 2)
                + str8("pc.ram") + struct.pack(">BQ", 0, 8 * 4096)
                + str8("pc.bios") + struct.pack(">BQ", 1, 4096))
    bitmap = b"\x07" + b"\1" * 64 + b"\x20\1\2\3" + bytes(7)
    payloads = [
        (0x22, 1, struct.pack(">Q", 0)),
        (0x23, 1, packed(record(1, 0) + record(2, 1, bytes(range(256)) * 16) + record(4, 1, bitmap))),
        (0x23, 0, record(3, 2, b"\x05\x02\xaa\xbb") + record(4, 8, bitmap)),
        (0x23, 1, packed(record(5, 3, dup(1)) + record(5, 2, dup(3)) + record(3, 3, b"\x05\x01z"))),
        (0x24, 1, packed(struct.pack(">I", 5000) + record(4, 0, bitmap) + record(3, 1, b"\0\1z"))),
        (0x2b, 1, packed(str8("vda") + change(1, 6, 1000, b"change") + change(3, 4096, 4096)
                         + change(1, 600, 5000, bytes(i % 251 for i in range(600))))),
        (0x2b, 0, str8("vda") + change(2, 500, 5300)),
        (0x27, 0, struct.pack(">QQQQQQ", 1, 2, 3, 4, 5, 6)),
        (0x2f, 0, struct.pack(">QI", 9, 7) + page_hash(9, bytes(4096)) * 2)]
    end = struct.pack(">IIQ", len(payloads), 8, sum(len(p[2]) for p in payloads))
    payloads.append((0x25, 0, end))
    return (frame(0x21, geometry, term=7, generation=1)
            + b"".join(frame(t, p, flags=f, seq=i, term=7, epoch=1, generation=1)
                       for i, (t, f, p) in enumerate(payloads)))


def text_of(data):
    return "".join(data[i:i + 32].hex() + "\n" for i in range(0, len(data), 32))


def files():
    """Yield each file's path below tests/ and its content."""
    for name, data in VECTORS.items():
        yield f"vectors/{name}.hex", text_of(data).encode()
        yield f"fuzz/corpus/msg/{name}", data
    yield "fuzz/corpus/epochlog/packed", packed_epoch()
    raw = record(2, 2, bytes(i * 5 % 256 for i in range(4096)))
    yield "fuzz/corpus/epochlog/dup", packed_epoch() + delta_epoch(
        raw + record(5, 0, dup(1)) + record(5, 3, dup(2)))
    yield "fuzz/corpus/epochlog/dup_lie", packed_epoch() + delta_epoch(
        record(5, 3, dup(2)) + raw + record(1, 0))
    yield "fuzz/corpus/frame/all", b"".join(VECTORS.values())
    yield "fuzz/corpus/frame/cut", VECTORS["geometry"][:-1]
    yield "fuzz/corpus/frame/bad_checksum", VECTORS["beat"][:-1] + b"\0"


def main():
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    wrong = []
    for name, data in files():
        path = os.path.join(tests, name)
        if sys.argv[1:] == ["--check"]:
            with open(path, "rb") as file:
                if file.read() != data:
                    wrong.append(name)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
    for name in wrong:
        print(f"{name} is not what the specification says", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
