"""Kill a host at once: kill-host.py PORT,PORT... PID... (run it in the namespace of the switches)

Sends SIGKILL to every process, then sets the host's switch ports down. Looks up everything that it
needs before the first signal, so that all this takes little time. Prints CLOCK_MONOTONIC just before
the first signal, and how long the signals and ports took, both in ns.
"""
import errno
import os
import signal
import socket
import struct
import sys
import time

RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, IFF_UP = 16, 1, 4, 1


def link_down_message(name):
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(name), 0, IFF_UP)
    return struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body


def main():
    ports = [link_down_message(name) for name in sys.argv[1].split(",")]
    fds = []
    for pid in sys.argv[2:]:
        try:
            fds.append(os.pidfd_open(int(pid)))
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EINVAL):
                raise  # the errors above mean that the process is gone (ENOENT, EINVAL: a thread has its pid now)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    start = time.monotonic_ns()
    for fd in fds:
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for message in ports:
        netlink.send(message)
        reply = netlink.recv(4096)
        error = struct.unpack_from("=i", reply, 16)[0]
        if error:
            sys.exit(f"kill-host: link down: {os.strerror(-error)}")
    print(start, time.monotonic_ns() - start)


main()
