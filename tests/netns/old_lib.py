"""old_lib.py - reads tests/vectors/old: what the daemons of an older commit said. Not a test itself."""
import os
import struct

import hfagent as a

OLD = os.path.join(os.environ.get("SRC") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."),
                   "tests/vectors/old")


def frames(name):
    """Return the frames of NAME.hex."""
    with open(os.path.join(OLD, name + ".hex"), encoding="ascii") as f:
        data = bytes.fromhex(f.read())
    found = []
    while data:
        size = struct.unpack(">I", data[4:8])[0]
        found.append(a.Frame(data[:40], data[40:40 + size]))
        assert a.checksum(data[:32] + data[40:40 + size]) == struct.unpack(">Q", data[32:40])[0]
        data = data[40 + size:]
    return found


def text(name):
    with open(os.path.join(OLD, name), encoding="utf-8") as f:
        return f.read()


def state_of(report):
    return report.payload[2 + report.payload[0]]


def features_of(hello):
    return struct.unpack(">Q", hello.payload[20:28])[0]
