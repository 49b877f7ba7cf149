"""End processes and return when they are gone: end-pids.py SECONDS PID[:START]...

Sends TERM to all, then KILL to those still running after SECONDS. Waits on pidfds, so that it need not
poll and never signals another process to which the kernel has since given the same pid. START is the
start time, field 22 of /proc/PID/stat: a process with pid PID but another start time is left alone.
"""
import errno
import os
import select
import signal
import sys
import time


GONE = (errno.ESRCH, errno.ENOENT, errno.EINVAL)  # ENOENT, EINVAL: the number now belongs to a thread


def started(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[19]


def pidfd(word):
    """Return a pidfd of the intended process, or None if it is gone."""
    pid, _, start = word.partition(":")
    try:
        fd = os.pidfd_open(int(pid))
        if not start or started(pid) == start:
            return fd
        os.close(fd)
    except OSError as error:
        if error.errno not in GONE:
            raise
    return None


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
    fds = [fd for fd in map(pidfd, sys.argv[2:]) if fd is not None]
    send(fds, signal.SIGTERM)
    send(fds, signal.SIGCONT)  # a stopped process receives TERM only once it continues
    left = wait_gone(fds, time.monotonic() + seconds)
    send(left, signal.SIGKILL)
    wait_gone(left, time.monotonic() + 10)


main()
