#!/usr/bin/env python3
"""clock_report - prints the table and JSON of bench_clock, from the rows that it wrote.

usage: clock_report.py ROWS [JSON]
ROWS: one JSON object per line with run, mode, load, before and after. `before` and `after` are [guest's clock
minus client's in ms, client's monotonic time in ms]. A load's figure is how many percent of real time the guest's
clock lost; a failover's is the change of the guest's clock in ms.
"""
import json
import statistics
import sys

MODES = ("unprotected", "off", "bounded", "correct")
LOADS = ("idle", "get", "get-16c", "failover")


def figure(row):
    (d1, t1), (d2, t2) = row["before"], row["after"]
    return d2 - d1 if row["load"] == "failover" else (d1 - d2) / (t2 - t1) * 100


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    found = {}
    with open(sys.argv[1]) as rows:
        for line in rows:
            row = json.loads(line)
            found.setdefault((row["mode"], row["load"]), []).append(figure(row))
    print("lost: percent of real time; failover: change in ms; median (least .. most) of the runs")
    print("%-12s" % "" + "".join("%26s" % load for load in LOADS))
    for mode in MODES:
        cells = []
        for load in LOADS:
            values = found.get((mode, load))
            cells.append("%.2f (%.2f .. %.2f)" % (statistics.median(values), min(values), max(values))
                         if values else "-")
        print("%-12s" % mode + "".join("%26s" % cell for cell in cells))
    if len(sys.argv) == 3:
        with open(sys.argv[2], "w") as out:
            json.dump([{"mode": m, "load": ld, "values": v} for (m, ld), v in found.items()], out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
