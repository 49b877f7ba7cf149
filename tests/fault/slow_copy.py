"""slow_copy.py SOCKET BYTES_PER_S - makes the next copy of a guest's disks slow.

Waits until no mirror runs at the QEMU whose monitor is SOCKET, then until one runs, and limits its
speed. Says "watching" when the mirror that runs now is seen, and "slow" when the next one is
limited.
"""
import json
import socket
import sys
import time


class Monitor:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        self.has_ended = False  # QEMU told of the end of a job
        json.loads(self.stream.readline())
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = json.loads(self.stream.readline())
            self.has_ended |= answer.get("event") == "BLOCK_JOB_COMPLETED"
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def mirrors(self):
        jobs = self.execute("query-block-jobs")
        return [job["device"] for job in jobs if job["type"] == "mirror"]


def main():
    monitor, speed = Monitor(sys.argv[1]), int(sys.argv[2])
    if not monitor.mirrors():
        raise SystemExit("no mirror runs")
    print("watching", flush=True)
    while monitor.mirrors() and not monitor.has_ended:  # the next mirror may begin within 5 ms
        time.sleep(0.005)
    while not (jobs := monitor.mirrors()):
        time.sleep(0.005)
    for job in jobs:
        monitor.execute("block-job-set-speed", device=job, speed=speed)
    print("slow", flush=True)


main()
