"""Print QEMU's status of its guest ("running", "paused", ...), or "gone" if there is no QEMU:
qmp_status.py SOCKET
"""
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
except (ConnectionRefusedError, FileNotFoundError):
    print("gone")
    sys.exit()
stream = s.makefile("rw")
json.loads(stream.readline())
for command in ("qmp_capabilities", "query-status"):
    stream.write(json.dumps({"execute": command}) + "\n")
    stream.flush()
    while "return" not in (answer := json.loads(stream.readline())):
        pass
print(answer["return"]["status"])
