"""hold_report.py - the table and the JSON of bench_hold.

usage: hold_report.py ROWS [--json FILE]
Each line of ROWS is a JSON object: run, offloads, mode, mbit_s. The table has the median of the runs,
and the spread: (max - min) / median.
"""
import json
import statistics
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
table = []
for offloads in "off", "on":
    for mode in "unprotected", "protected":
        values = [r["mbit_s"] for r in rows if r["offloads"] == offloads and r["mode"] == mode]
        if not values:
            continue
        median = statistics.median(values)
        table.append({"offloads": offloads, "mode": mode, "runs": len(values), "mbit_s": median,
                      "spread_percent": round((max(values) - min(values)) * 100 / median) if median else None})
print("%-9s %-12s %5s %9s %7s" % ("offloads", "mode", "runs", "Mbit/s", "spread"))
for r in table:
    print("%-9s %-12s %5d %9.1f %6s%%" % (r["offloads"], r["mode"], r["runs"], r["mbit_s"], r["spread_percent"]))
if len(sys.argv) == 4:
    with open(sys.argv[3], "w") as f:
        json.dump({"rows": rows, "table": table}, f, indent=1)
