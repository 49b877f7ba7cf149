"""Remove a script's topology after the script has ended: guard.py PID TOPOLOGY.SH PREFIX

Waits (on a pidfd) until the script, process PID, has ended. Then lets topology.sh remove what is left of
PREFIX. Nothing is left if the script has cleaned up itself.
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
