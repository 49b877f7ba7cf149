"""Pause or resume a guest through a monitor of its QEMU, as an operator does: qmp_pause.py SOCKET WORD

	await   wait for the next RESUME event, which shows that the agent seals the guest
	MS      send `stop` and watch for MS ms; print "resumed" if somebody resumed the guest, else "paused"; change
	        nothing afterwards
	cont    resume the guest
"""
import sys
import time

from qmp_monitor import Monitor


def is_resumed(monitor, seconds):
    """Return True if somebody resumes the guest within @seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        monitor.socket.settimeout(left)
        try:
            if monitor.receive().get("event") == "RESUME":
                return True
        except TimeoutError:
            break
    return False


def main():
    monitor, word = Monitor(sys.argv[1], 10), sys.argv[2]
    if word == "await":
        sys.exit(0 if is_resumed(monitor, 10) else "nobody lets the guest run")
    if word == "cont":
        monitor.do("cont")
    else:
        monitor.do("stop")
        print("resumed" if is_resumed(monitor, int(word) / 1000) else "paused")


main()
