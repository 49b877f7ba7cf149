"""End processes and return when they are gone: end-pids.py SECONDS PID[:START]...

Sends TERM to all, then KILL to those that still run after SECONDS. START is the process's start time,
field 22 of /proc/PID/stat. A process with pid PID but another start time is left alone, because the
kernel has given the pid to another process. Uses pidfds, for two reasons: it can wait without polling,
and it never signals a process that gets the pid while it waits.
"""
import errno
import os
import select
import signal
import sys
import time


GONE = (errno.ESRCH, errno.ENOENT, errno.EINVAL)  # ENOENT and EINVAL: the pid is now the id of a thread


def started(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[19]


def pidfd(word):
    """Return a pidfd for PID[:START] in @word, or None if that process is gone."""
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
    send(fds, signal.SIGCONT)  # a stopped process gets its TERM only when it continues
    left = wait_gone(fds, time.monotonic() + seconds)
    send(left, signal.SIGKILL)
    wait_gone(left, time.monotonic() + 10)


main()
