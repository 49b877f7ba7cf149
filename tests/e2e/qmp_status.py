"""Print QEMU's status of its guest ("running", "paused", ...), or "gone" if there is no QEMU:
qmp_status.py SOCKET
"""
import sys

from qmp_monitor import Monitor

try:
    monitor = Monitor(sys.argv[1], 10)
except (ConnectionRefusedError, FileNotFoundError):
    print("gone")
    sys.exit()
print(monitor.do("query-status")["status"])
