"""Look at the disks of a guest, or mirror one, through a monitor of its QEMU: qmp_blocks.py SOCKET WORD...

    flushes         print "on", "off" or "both": do the writable nodes of images obey flushes?
    written         print how many bytes the guest has written to the disk to which it has written most
    marks           print the objects that an agent has left in QEMU
    mirror URI      mirror the only disk to an NBD server on the unix socket URI; return when all is copied
    unmirror        end the mirror
"""
import sys
import time

from qmp_monitor import Monitor


def flushes(monitor):
    nodes = [n for n in monitor.do("query-named-block-nodes", flat=True)
             if n["drv"] in ("raw", "qcow2", "file", "host_device") and not n["ro"]]
    found = {n["cache"]["no-flush"] for n in nodes}
    print("both" if len(found) > 1 else "none" if not found else "off" if found.pop() else "on")


def mirror(monitor, path):
    disk = next(b for b in monitor.do("query-block") if "inserted" in b)
    source = disk["device"] or disk["inserted"]["node-name"]
    monitor.do("blockdev-add", driver="nbd", server={"type": "unix", "path": path}, **{"node-name": "bench"})
    monitor.do("blockdev-mirror", device=source, target="bench", sync="full",
               **{"job-id": "bench", "copy-mode": "write-blocking"})
    while not monitor.do("query-block-jobs")[0]["ready"]:
        time.sleep(0.1)


def unmirror(monitor):
    monitor.do("block-job-cancel", device="bench", force=True)
    while monitor.do("query-block-jobs"):
        time.sleep(0.1)
    monitor.do("blockdev-del", **{"node-name": "bench"})


def main():
    monitor, word = Monitor(sys.argv[1]), sys.argv[2]
    if word == "flushes":
        flushes(monitor)
    elif word == "marks":
        print(*[o["name"] for o in monitor.do("qom-list", path="/objects") if o["name"].startswith("holdfast-")])
    elif word == "written":
        print(max(d["stats"]["wr_bytes"] for d in monitor.do("query-blockstats")))
    elif word == "mirror":
        mirror(monitor, sys.argv[3])
    else:
        unmirror(monitor)


main()
