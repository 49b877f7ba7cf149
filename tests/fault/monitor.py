"""Act as an operator at a monitor of a guest's QEMU: monitor.py SOCKET LINE...

Runs the LINEs one after the other. Each LINE is one of:

	{"execute": ..., "arguments": {...}}   a QMP command
	hmp TEXT                               a command of the human monitor
	until-gone ID                          wait for the event that device ID has been removed

If QEMU answers with an error, the script prints the error and ends.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from qmp_monitor import Monitor  # noqa: E402


def main():
    monitor = Monitor(sys.argv[1], 20)
    for line in sys.argv[2:]:
        if line.startswith("hmp "):
            print(monitor.do("human-monitor-command", **{"command-line": line[4:]}), end="")
        elif line.startswith("until-gone "):
            while line.split()[1] not in monitor.gone:
                monitor.receive()
        else:
            command = json.loads(line)
            monitor.do(command["execute"], **command.get("arguments", {}))


main()
