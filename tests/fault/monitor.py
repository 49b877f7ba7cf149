"""Act as an operator at a monitor of a guest's QEMU: monitor.py SOCKET LINE...

Runs the LINEs one after the other. Each LINE is one of:

	{"execute": ..., "arguments": {...}}   a QMP command
	hmp TEXT                               a command of the human monitor
	until-gone ID                          wait for the event that device ID has been removed

If QEMU answers with an error, the script prints the error and ends.
"""
import json
import socket
import sys


def main():
    monitor = socket.socket(socket.AF_UNIX)
    monitor.settimeout(20)
    monitor.connect(sys.argv[1])
    stream = monitor.makefile("rw")
    gone = set()

    def receive():
        message = json.loads(stream.readline())
        if message.get("event") == "DEVICE_DELETED":
            gone.add(message["data"].get("device"))
        return message

    def do(command):
        stream.write(json.dumps(command) + "\n")
        stream.flush()
        while True:
            answer = receive()
            if "error" in answer:
                sys.exit(f"{command['execute']}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    receive()
    do({"execute": "qmp_capabilities"})
    for line in sys.argv[2:]:
        if line.startswith("hmp "):
            print(do({"execute": "human-monitor-command",
                      "arguments": {"command-line": line[4:]}}), end="")
        elif line.startswith("until-gone "):
            while line.split()[1] not in gone:
                receive()
        else:
            do(json.loads(line))


main()
