"""standby_lib.py - shared code of the standby tests: starts a guest that prints a counter, runs
standby_drive, and talks QMP.

Importing this module makes a directory on tmpfs. run(main) runs the test and always cleans up.
Needs BUILD and SRC as tests/run sets them.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD, SRC = os.environ["BUILD"], os.environ["SRC"]
# DRIVE is the program standby_drive. DRIVE_FAULT is the same program with fault points.
DRIVE = os.path.join(BUILD, "tests/e2e/standby_drive")
DRIVE_FAULT = os.path.join(BUILD, "tests/e2e/standby_drive_fault")
# The standby's state is on tmpfs, as in production.
TMP = tempfile.mkdtemp(prefix="hf-standby-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
STATE, RUN, COMMAND = TMP + "/state", TMP + "/run", TMP + "/command"
started = []  # processes that this module has started and must end


def fail(text):
    raise SystemExit("FAIL: " + text)


def drive(*args, ok=True, env=None):
    """Run standby_drive. Return its key=value lines as a dictionary, and its error text under 'stderr'."""
    done = subprocess.run([DRIVE_FAULT if env else DRIVE, *map(str, args)], capture_output=True,
                          text=True, timeout=60, env={**os.environ, **(env or {})})
    out = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    out["stderr"], out["code"] = done.stderr, done.returncode
    if ok and done.returncode != 0:
        fail(f"{args}: {done.stdout}{done.stderr}")
    if not ok and done.returncode == 0:
        fail(f"{args} should have failed: {done.stdout}")
    return out


def order(verb, *args, **how):
    return drive(verb, STATE, RUN, COMMAND, *args, **how)


class Monitor:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # poll: QEMU does not signal that its socket exists
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                fail(f"{name}: {answer}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.file.close()
        self.socket.close()


def wait_for(what, test, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = test()
        if value:
            return value
        time.sleep(0.02)
    fail("waited in vain for " + what)


def numbers(path):
    """Return the counters that the guest has printed to the serial log @path. Fail if the guest
    reports wrong memory. An incomplete last line is ignored."""
    text = open(path, "rb").read()
    if b"X" in text:
        fail(f"the guest found wrong memory: {text[-200:]}")
    lines = text.split(b"\n")
    return [int(line.rstrip(b"B"), 16) for line in lines[1:-1] if len(line.rstrip(b"B")) == 8]


def qemu_words(serial):
    nic = "virtio-net-pci,netdev=n0,id=nic0,mac=52:54:00:00:00:01"
    for feature in ("csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "guest_csum",
                    "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"):
        nic += f",{feature}=off"
    return ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-vga", "none", "-M",
            "pc-i440fx-7.2,accel=tcg", "-m", "64", "-serial", f"file:{serial}", "-drive",
            f"file={TMP}/disk,format=raw,if=ide,snapshot=on", "-netdev", "hubport,id=n0,hubid=0",
            "-device", nic]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def standby_qemu():
    """Return the pid of the standby's QEMU from its pid file, or 0."""
    try:
        pid = int(open(f"{RUN}/drive.standby.pid").read())
    except (OSError, ValueError):
        return 0
    return pid if alive(pid) and RUN.encode() in open(f"/proc/{pid}/cmdline", "rb").read() else 0


def clean_up():
    for process in started:
        process.kill()
        process.wait()
    pid = standby_qemu()
    if pid:
        os.kill(pid, signal.SIGKILL)
        wait_for("the standby's end", lambda: not alive(pid))
    shutil.rmtree(TMP, ignore_errors=True)


def make_disk():
    subprocess.run(["gcc", "-m32", "-c", "-o", f"{TMP}/counter.o", f"{SRC}/tests/e2e/counter.S"],
                   check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", f"{TMP}/counter.o", f"{TMP}/disk"],
                   check=True)
    os.truncate(f"{TMP}/disk", 1 << 20)


def start_primary():
    words = qemu_words(TMP + "/serial.primary")
    words += ["-qmp", f"unix:{TMP}/primary.qmp,server=on,wait=off"]
    started.append(subprocess.Popen(words))
    wait_for("the primary's counter", lambda: os.path.exists(TMP + "/serial.primary")
             and len(numbers(TMP + "/serial.primary")) > 300, 40)


def resume_primary():
    monitor = Monitor(TMP + "/primary.qmp")
    monitor.command("cont")
    monitor.close()
    seen = len(numbers(TMP + "/serial.primary"))
    wait_for("the primary to go on", lambda: len(numbers(TMP + "/serial.primary")) > seen + 20)


def refused(out, *words):
    for word in words:
        if word not in out["stderr"]:
            fail(f"'{word}' is not in: {out['stderr']}")
    print("refused as it should:", out["stderr"].strip())


def write_command(words):
    with open(COMMAND, "w") as file:
        file.write(" ".join("'" + word + "'" for word in words) + "\n")


def run(main):
    """Run main() as the test, and exit with its return value."""
    if os.geteuid() != 0:
        print("skip: needs root (reads and writes the memory of QEMU)")
        clean_up()
        sys.exit(77)
    if not shutil.which("qemu-system-x86_64"):
        print("skip: needs qemu-system-x86_64")
        clean_up()
        sys.exit(77)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        make_disk()
        write_command(qemu_words(TMP + "/serial.standby"))
        sys.exit(main())
    finally:
        clean_up()
