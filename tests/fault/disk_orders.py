"""Give orders to the block layer of a guest's QEMU, as its user could: disk_orders.py SOCKET WORD...

    graph           print all block nodes and what they are, one in a line
    table           give each order of ORDERS; fail unless each is answered as the table says
    resize BYTES    make the disk BYTES large
    backup FILE     start a backup of the disk that goes on until `end`
    end JOB         end a job
"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from qmp_monitor import Monitor  # noqa: E402

DISK = "root"

# command, arguments, what QEMU answers while Holdfast mirrors the disk ("": it obeys, and the copy
# is not harmed). NODE stands for the disk's node, OTHER for a file that nobody uses.
BUSY = "in use|is busy"
ORDERS = [
    ("blockdev-snapshot-sync", {"device": DISK, "snapshot-file": "OTHER.snap"}, BUSY),
    ("blockdev-snapshot-sync", {"node-name": "NODE", "snapshot-file": "OTHER.snap", "snapshot-node-name": "s"}, BUSY),
    ("blockdev-add", {"driver": "raw", "node-name": "other", "file": {"driver": "file", "filename": "OTHER"}}, ""),
    ("blockdev-snapshot", {"node": "NODE", "overlay": "other"}, BUSY),
    ("blockdev-snapshot-internal-sync", {"device": DISK, "name": "s"}, "root block node|snapshot"),
    ("block_resize", {"device": DISK, "size": 1 << 30}, BUSY),
    ("block_resize", {"node-name": "NODE", "size": 1 << 30}, BUSY),
    ("blockdev-backup", {"job-id": "b", "device": "NODE", "target": "other", "sync": "full"}, BUSY),
    ("drive-backup", {"job-id": "b", "device": DISK, "target": "OTHER.bak", "sync": "full", "format": "raw"}, BUSY),
    ("drive-mirror", {"job-id": "m", "device": DISK, "target": "OTHER.mir", "sync": "full", "format": "raw"},
     "root block node"),
    ("blockdev-mirror", {"job-id": "m", "device": "NODE", "target": "other", "sync": "full"}, "root block node"),
    ("block-stream", {"job-id": "s", "device": DISK}, BUSY),
    ("block-commit", {"job-id": "c", "device": DISK}, "root block node"),
    ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "NODE", "file": "other"}]}, "."),
    ("x-blockdev-change", {"parent": "NODE", "node": "other"}, "does not support"),
    ("blockdev-del", {"node-name": f"holdfast-{DISK}"}, BUSY),
    ("eject", {"device": DISK, "force": True}, "not removable"),
    ("block_set_io_throttle", {"device": DISK, "bps": 0, "bps_rd": 0, "bps_wr": 1 << 28, "iops": 0,
                               "iops_rd": 0, "iops_wr": 0}, ""),
    ("block_set_io_throttle", {"device": DISK, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0,
                               "iops_rd": 0, "iops_wr": 0}, ""),
    ("block-dirty-bitmap-add", {"node": "NODE", "name": "mine"}, ""),
    ("block-dirty-bitmap-remove", {"node": "NODE", "name": "mine"}, ""),
    ("blockdev-del", {"node-name": "other"}, ""),
    ("block-job-pause", {"device": f"holdfast-{DISK}"}, ""),
    ("block-job-resume", {"device": f"holdfast-{DISK}"}, ""),
    ("human-monitor-command", {"command-line": "commit all"}, ""),
]


class Guest(Monitor):
    def disk(self):
        return next(b["inserted"] for b in self.do("query-block") if b["device"] == DISK)

    def node(self):
        """Return the name of the disk's own node, below the one that a mirror has put above it."""
        nodes = self.do("query-named-block-nodes", flat=True)
        return next(n["node-name"] for n in nodes if n["drv"] in ("raw", "qcow2") and n["file"] == self.disk()["file"])


def graph(monitor):
    nodes = monitor.do("query-named-block-nodes", flat=True)
    for n in sorted(nodes, key=lambda n: n["node-name"]):
        print(n["node-name"], n["drv"], n["file"], n["ro"], json.dumps(n["cache"], sort_keys=True),
              n["image"]["virtual-size"])
    for b in monitor.do("query-block"):
        print(b["device"], b.get("qdev"), b.get("inserted", {}).get("node-name"))


def fill_in(value, node, other):
    if isinstance(value, dict):
        return {key: fill_in(v, node, other) for key, v in value.items()}
    if isinstance(value, list):
        return [fill_in(v, node, other) for v in value]
    return value.replace("NODE", node).replace("OTHER", other) if isinstance(value, str) else value


def table(monitor):
    other = os.environ["TEST_TMP"] + "/other.raw"
    with open(other, "wb") as file:
        file.truncate(monitor.disk()["image"]["virtual-size"])
    node, size = monitor.node(), monitor.disk()["image"]["virtual-size"]
    for command, arguments, wanted in ORDERS:
        _, error = monitor.ask(command, fill_in(arguments, node, other))
        print(f"{command}: {error or 'done'}")
        if (not error) != (not wanted) or (wanted and not re.search(wanted, error)):
            sys.exit(f"{command} {arguments}: {error or 'QEMU obeyed'}, expected {wanted or 'that QEMU obeys'}")
        if monitor.disk()["image"]["virtual-size"] != size:
            sys.exit(f"{command}: the disk has another size")
        jobs = {j["device"]: j["status"] for j in monitor.do("query-block-jobs")}
        if list(jobs) != [f"holdfast-{DISK}"]:
            sys.exit(f"{command}: QEMU has the jobs {jobs}")


def main():
    monitor, word = Guest(sys.argv[1]), sys.argv[2]
    if word == "graph":
        graph(monitor)
    elif word == "table":
        table(monitor)
    elif word == "resize":
        monitor.do("block_resize", device=DISK, size=int(sys.argv[3]))
    elif word == "backup":
        monitor.do("drive-backup", **{"job-id": "backup", "device": DISK, "target": sys.argv[3], "sync": "full",
                                      "format": "raw", "speed": 1 << 16})
    elif word == "end":
        monitor.do("block-job-cancel", device=sys.argv[3], force=True)


main()
