"""End processes and return when they are gone: end-pids.py SECONDS PID...

TERM to all, then KILL to those that are left after SECONDS. Waits on pidfds: no polling, and a
number that the kernel has given to another process meanwhile is not signalled.
"""
import os
import select
import signal
import sys
import time


def wait_gone(fds, deadline):
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    left = set(fds)
    while left:
        ms = max(0, int((deadline - time.monotonic()) * 1000))
        ready = poller.poll(ms)
        if not ready:
            break
        for fd, _ in ready:
            poller.unregister(fd)
            left.discard(fd)
    return left


def send(fds, number):
    for fd in fds:
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass


def main():
    seconds = float(sys.argv[1])
    fds = []
    for pid in sys.argv[2:]:
        try:
            fds.append(os.pidfd_open(int(pid)))
        except ProcessLookupError:
            pass
    send(fds, signal.SIGTERM)
    send(fds, signal.SIGCONT)  # a stopped process takes TERM only when it goes on
    left = wait_gone(fds, time.monotonic() + seconds)
    send(left, signal.SIGKILL)
    wait_gone(left, time.monotonic() + 10)


main()
