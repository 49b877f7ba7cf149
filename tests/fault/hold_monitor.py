"""Occupy a QEMU monitor until this process is ended, like a tool that someone forgot to close:
hold_monitor.py SOCKET
"""
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
