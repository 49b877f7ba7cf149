"""disk_watch - times the first copy of a guest's disks, and counts the CPU time that it takes.

usage: disk_watch.py LOG OFFSET NAME:PID...
Reads the primary agent's LOG from byte OFFSET on. From the line that says that the copy begins until the line that
says that the standby has all of it, counts the time, and the CPU time of each named process, of all processes nbdkit,
and of everything else on this machine (the kernel's threads, other jobs). Prints one JSON object.
"""
import json
import os
import sys
import time

BEGIN, END = " disks begins: ", "the standby has the copy of the disks"
LOOK_S, GIVE_UP_S = 0.01, 300
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def pids_of(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as comm:
                if comm.read().strip() == name:
                    yield int(pid)
        except OSError:
            continue


def all_ms():
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _wait, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) * TICK_MS


def sample(named):
    now = {name: cpu_ms(pid) for name, pid in named}
    now["nbdkit"] = sum(cpu_ms(pid) for pid in pids_of("nbdkit"))
    return time.monotonic(), now, all_ms()


def wait_for(log, text):
    deadline = time.monotonic() + GIVE_UP_S
    left = ""
    while time.monotonic() < deadline:
        left += log.read()
        if text in left:
            return left
        left = left.rpartition("\n")[2]
        time.sleep(LOOK_S)
    sys.exit(f"the agent's log does not say: {text}")


def main():
    named = [(n, int(p)) for n, _, p in (word.partition(":") for word in sys.argv[3:])]
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        log.seek(int(sys.argv[2]))
        wait_for(log, BEGIN)
        begin_s, before, all_before = sample(named)
        wait_for(log, END)
        end_s, after, all_after = sample(named)
    spent = {name: max(0.0, after[name] - before[name]) for name in after}
    spent["other"] = max(0.0, all_after - all_before - sum(spent.values()))
    print(json.dumps({"s": end_s - begin_s, "cpu_ms": spent}))


main()
