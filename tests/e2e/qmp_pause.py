"""Pause or resume a guest through a monitor of its QEMU, as an operator does: qmp_pause.py SOCKET WORD

	await   wait for the next RESUME event, which shows that the agent seals the guest
	MS      send `stop` and watch for MS ms; print "resumed" if somebody resumed the guest, else "paused"; change
	        nothing afterwards
	cont    resume the guest
"""
import json
import socket
import sys
import time


class Monitor:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        json.loads(self.stream.readline())
        self.do("qmp_capabilities")

    def do(self, command):
        self.stream.write(json.dumps({"execute": command}) + "\n")
        self.stream.flush()
        while "return" not in json.loads(self.stream.readline()):
            pass

    def is_resumed(self, seconds):
        """Return True if somebody resumes the guest within @seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if json.loads(self.stream.readline()).get("event") == "RESUME":
                    return True
            except TimeoutError:
                break
        return False


def main():
    monitor, word = Monitor(sys.argv[1]), sys.argv[2]
    if word == "await":
        sys.exit(0 if monitor.is_resumed(10) else "nobody lets the guest run")
    if word == "cont":
        monitor.do("cont")
    else:
        monitor.do("stop")
        print("resumed" if monitor.is_resumed(int(word) / 1000) else "paused")


main()
