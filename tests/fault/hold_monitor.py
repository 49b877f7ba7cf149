"""Hold a QEMU's monitor, as a tool that was left open does: hold_monitor.py SOCKET; until it is ended."""
import signal
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.settimeout(60)
if b"QMP" not in s.recv(4096):
    sys.exit("no greeting")
print("held", flush=True)
signal.pause()
