"""kill_loading.py - kills a QEMU that loads a guest's state: kill_loading.py QMP_PATH. Not a test itself.

QMP_PATH is the monitor's path in that QEMU's arguments. Prints "watching", waits until such a process
has a descriptor of a file "device", and kills the process with SIGKILL. Exits with 1 if it was not seen
with one when it ends, and ends by itself after 60 s.
"""
import glob
import os
import signal
import sys
import time

LIMIT_S = 60
PAUSE_S = 0.0005  # between two looks: the QEMU may have no other CPU than this process


def find(qmp_path):
    """Return the pidfd and the /proc folder of the QEMU, or None."""
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(folder + "/cmdline", "rb") as file:
                if f"unix:{qmp_path},".encode() in file.read():
                    return os.pidfd_open(int(folder[6:])), folder
        except OSError:
            continue  # it has ended
    return None


def is_loading(folder):
    try:
        fds = os.listdir(folder + "/fd")
    except (FileNotFoundError, ProcessLookupError):
        fds = []
    if not fds:  # so it is for a zombie, too
        sys.exit("that QEMU ended, and was not seen to load anything")
    for fd in fds:
        try:
            if os.path.basename(os.readlink(f"{folder}/fd/{fd}")) == "device":
                return True
        except FileNotFoundError:
            continue  # it was closed meanwhile
    return False


def main():
    end_s = time.monotonic() + LIMIT_S
    os.nice(-20)  # QEMU loads the state in a few ms: this process must run in them
    print("watching", flush=True)
    while not (found := find(sys.argv[1])):
        if time.monotonic() > end_s:
            sys.exit("no such QEMU")
        time.sleep(0.01)
    while not is_loading(found[1]):
        if time.monotonic() > end_s:
            sys.exit("that QEMU loads nothing")
        time.sleep(PAUSE_S)
    signal.pidfd_send_signal(found[0], signal.SIGKILL)
    print("killed", flush=True)


main()
