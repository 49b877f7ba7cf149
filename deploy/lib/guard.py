"""Remove a topology when its script is gone: guard.py PID TOPOLOGY.SH PREFIX

Waits (on a pidfd) for the process to end, then lets topology.sh remove what is left of PREFIX. Nothing is
left when the script cleaned up by itself.
"""
import os
import select
import subprocess
import sys


def main():
    pid, library, prefix = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    try:
        fd = os.pidfd_open(pid)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll()
    except ProcessLookupError:
        pass
    subprocess.run(["bash", "-c", '. "$1"; topo_remove "$2"', "guard", library, prefix], check=False)


main()
