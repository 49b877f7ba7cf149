"""A host dies with its agent: die_with.py PORT,PORT... AGENT_PID PID...   (in the switches' namespace)

Waits on the agent's pidfd until it ends by itself (a fault point), then does what deploy/lib/kill-host.py
does: SIGKILL to the PIDs, the host's switch ports down; and prints the same. Everything slow, the start
of an interpreter above all, is done before the waiting.
"""
import os
import runpy
import select
import sys

SCRIPT = os.path.join(os.environ["SRC"], "deploy/lib/kill-host.py")


def main():
    poller = select.poll()
    poller.register(os.pidfd_open(int(sys.argv[2])), select.POLLIN)
    print("watching", flush=True)
    poller.poll()
    sys.argv = [SCRIPT, sys.argv[1], *sys.argv[3:]]
    runpy.run_path(SCRIPT, run_name="__main__")


main()
