#!/usr/bin/env python3
"""record.py - records what the daemons of an older commit say to each other, for tests/vectors/old.

usage: record.py relay LISTEN TARGET SERVER CLIENT CA DIR
       record.py pick DIR OUT

relay: stands between two of them. It accepts TLS at LISTEN (ADDRESS:PORT) with the certificate SERVER, connects to TARGET
with CLIENT (both without .crt and .key), and passes all on. What connection N carries is in DIR/N.there (from who
connected) and DIR/N.back, one line per piece: the time in ns and the bytes in hex.
pick: takes from the directories DIR/alpha, DIR/beta and DIR/ctl that relays have filled what is worth keeping, and writes
the files of tests/vectors/old into OUT.
"""
import asyncio
import json
import os
import ssl
import struct
import sys
import time

HELLO, REPORT, ORDER, ORDER_DONE, EPOCH_BEGIN, EPOCH_END = 0x01, 0x12, 0x13, 0x14, 0x22, 0x25
MACHINE, GEOMETRY = 0x26, 0x21
FRAME_MAX = 4096  # a frame of an answer that is longer is not kept
BYTES_MAX = 48 * 1024  # an epoch that is longer is not kept


# ---- relay

def context(side, cert, ca):
    c = ssl.SSLContext(side)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    c.check_hostname = False
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(ca)
    c.load_cert_chain(cert + ".crt", cert + ".key")
    if side == ssl.PROTOCOL_TLS_SERVER:
        c.num_tickets = 0
    return c


async def pump(reader, writer, path):
    with open(path, "w", encoding="ascii") as out:
        try:
            while data := await reader.read(65536):
                print(time.monotonic_ns(), data.hex(), file=out, flush=True)
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
    writer.close()


async def relay(listen, target, server, client, ca, where):
    os.makedirs(where, exist_ok=True)
    counter = iter(range(1 << 30))
    to, at = target.rsplit(":", 1), listen.rsplit(":", 1)
    there, back = context(ssl.PROTOCOL_TLS_CLIENT, client, ca), context(ssl.PROTOCOL_TLS_SERVER, server, ca)

    async def accepted(reader, writer):
        n = next(counter)
        try:
            far_reader, far_writer = await asyncio.open_connection(*to, ssl=there, server_hostname="")
        except (OSError, ssl.SSLError):
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer, f"{where}/{n}.there"),
                             pump(far_reader, writer, f"{where}/{n}.back"))

    await asyncio.start_server(accepted, *at, ssl=back)
    print("relaying", flush=True)
    await asyncio.Event().wait()


# ---- pick

def load(path):
    with open(path, encoding="ascii") as f:
        return b"".join(bytes.fromhex(line.split()[1]) for line in f if line.endswith("\n"))


def frames(data):
    """Yield (type, whole frame) of all whole frames."""
    at = 0
    while at + 40 <= len(data):
        size = 40 + struct.unpack(">I", data[at + 4:at + 8])[0]
        if at + size > len(data):
            return
        yield data[at], data[at:at + size]
        at += size


def what(kind, f):
    """Return a key: one frame of each key is worth keeping."""
    p = f[40:]
    if kind == ORDER:
        return kind, p[8]
    if kind == ORDER_DONE:
        return kind, p[8]
    if kind == REPORT:
        n = p[0]
        return kind, p[1 + n:4 + n]  # role, state, verdict
    return kind


def some(data):
    """Return the first frame of each key of a control connection, in their order; of REPORTs the last one, or the
    last one of a guest whose output is held."""
    kept = {}
    for kind, f in frames(data):
        key = what(kind, f)
        if key not in kept or kind == REPORT and (b"holding=1" in f or b"holding=1" not in kept[key]):
            kept[key] = f
    return list(kept.values())


def one_epoch(data):
    """Return a stream's frames before its first epoch, and the short epoch with most kinds of frames."""
    head, epoch, best = {}, None, []
    for kind, f in frames(data):
        if kind == EPOCH_BEGIN:
            epoch = []
        if epoch is None:
            if kind in (HELLO, GEOMETRY, MACHINE):
                head.setdefault(kind, f)
            continue
        epoch.append(f)
        if kind == EPOCH_END and not epoch[0][1] & 1 and sum(map(len, epoch)) < BYTES_MAX and \
                len(set(x[0] for x in epoch)) > len(set(x[0] for x in best)):
            best = epoch
    return list(head.values()) + best


def first_of_each(data):
    kept = {}
    for kind, f in frames(data):
        if len(f) <= FRAME_MAX:
            kept.setdefault(kind, f)
    return list(kept.values())


def write_hex(path, found):
    with open(path, "w", encoding="ascii") as out:
        for f in found:
            text = f.hex()
            out.writelines(text[i:i + 64] + "\n" for i in range(0, len(text), 64))
            out.write("\n")


def pick(where, out):
    for host, role, name in (("alpha", 1, "primary"), ("beta", 2, "standby")):
        for entry in sorted(os.listdir(f"{where}/{host}"), key=lambda x: int(x.split(".")[0])):
            if not entry.endswith(".there"):
                continue
            there = load(f"{where}/{host}/{entry}")
            back = load(f"{where}/{host}/{entry[:-6]}.back")
            hello = next((f for kind, f in frames(there) if kind == HELLO), None)
            if hello is None or len(there) < 4000:
                continue
            if hello[68] == 1:
                write_hex(f"{out}/{name}-control.hex", some(there))
                write_hex(f"{out}/{name}-control-answers.hex", some(back))
            elif hello[69] == role and not os.path.exists(f"{out}/{name}-stream.hex"):
                write_hex(f"{out}/{name}-stream.hex", one_epoch(there) if role == 1 else first_of_each(there))
                if role == 1:
                    write_hex(f"{out}/{name}-stream-answers.hex", first_of_each(back))
    for entry in sorted(x for x in os.listdir(f"{where}/ctl") if x.endswith(".there")):
        request = load(f"{where}/ctl/{entry}")
        name = json.loads(request)["verb"]
        for data, ending in ((request, "request"), (load(f"{where}/ctl/{entry[:-6]}.back"), "answer")):
            with open(f"{out}/ctl-{name}.{ending}", "wb") as f:
                f.write(data)


if __name__ == "__main__":
    if len(sys.argv) == 8 and sys.argv[1] == "relay":
        asyncio.run(relay(*sys.argv[2:]))
    elif len(sys.argv) == 4 and sys.argv[1] == "pick":
        pick(*sys.argv[2:])
    else:
        sys.exit(__doc__)
