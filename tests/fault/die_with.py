"""Kill the rest of a host when its agent dies: die_with.py PORT,PORT... AGENT_PID PID...

Runs in the switches' namespace. Waits on the agent's pidfd until the agent ends at a fault point.
Then runs deploy/lib/kill-host.py, which sends SIGKILL to the PIDs, sets the host's switch ports
down, and prints when it did so. The Python interpreter is already running at that moment, so the rest
of the host dies almost at the same time as its agent.
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
