"""hold_load.py - measures the throughput of one TCP connection out of the guest, for bench_hold.

usage: hold_load.py HOST:PORT SECONDS
Redis in the guest holds one value of 4 MiB. This client asks for it again and again, with two requests
always under way, and prints a JSON object: bytes received, seconds, Mbit/s.
"""
import json
import socket
import sys
import time

VALUE = 4 << 20
REQUEST = b"GET hold\r\n"
REPLY_BYTES = len("$%d\r\n" % VALUE) + VALUE + 2

host, port = sys.argv[1].split(":")
limit = float(sys.argv[2])
s = socket.create_connection((host, int(port)), timeout=60)
s.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nhold\r\n$%d\r\n" % VALUE + bytes(i * 7 & 0xff for i in range(256)) * (VALUE // 256) + b"\r\n")
if s.recv(5, socket.MSG_WAITALL) != b"+OK\r\n":
    sys.exit("redis did not take the value")
buffer = bytearray(1 << 20)
s.sendall(REQUEST * 2)
got, asked, start = 0, 2, time.monotonic()
while time.monotonic() - start < limit:
    n = s.recv_into(buffer)
    if n == 0:
        sys.exit("the connection ended after %d bytes" % got)
    got += n
    while asked - got // REPLY_BYTES < 2:
        s.sendall(REQUEST)
        asked += 1
seconds = time.monotonic() - start
print(json.dumps({"bytes": got, "seconds": round(seconds, 3), "mbit_s": round(got * 8 / seconds / 1e6, 1)}))
