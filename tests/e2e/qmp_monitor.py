"""qmp_monitor.py - a connection to a monitor of a QEMU, for the scripts of tests/e2e and tests/fault. Not a test itself."""
import json
import socket
import sys


class Monitor:
    def __init__(self, path, timeout_s=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        self.gone = set()  # ids of the devices that QEMU has reported as removed
        self.receive()
        self.do("qmp_capabilities")

    def receive(self):
        """Return the next message: an answer or an event."""
        message = json.loads(self.stream.readline())
        if message.get("event") == "DEVICE_DELETED":
            self.gone.add(message["data"].get("device"))
        return message

    def ask(self, command, arguments):
        """Run a command. Return its answer and "", or None and the text of QEMU's error."""
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = self.receive()
            if "error" in answer:
                return None, answer["error"]["desc"]
            if "return" in answer:
                return answer["return"], ""

    def do(self, command, **arguments):
        """Run a command and return its answer. An error ends the script."""
        answer, error = self.ask(command, arguments)
        if error:
            sys.exit(f"{command}: {error}")
        return answer
