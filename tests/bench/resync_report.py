#!/usr/bin/env python3
"""Prints medians and spread of the rows of bench_resync, and writes them as JSON: resync_report.py ROWS [JSON]"""
import json
import statistics
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    names = list(dict.fromkeys(row["row"] for row in rows))
    print(f"{'row':10} {'runs':>4} {'s':>6} {'sent MiB':>9} {'spread':>7} {'changed MiB':>12} {'sent/changed':>13} "
          f"{'changed %':>10} {'kept pages':>11}")
    for name in names:
        of_name = [row for row in rows if row["row"] == name]
        sent = [row["sent_bytes"] / 2**20 for row in of_name]
        changed = [row["changed_bytes"] / 2**20 for row in of_name]
        whole = of_name[0]["pages"] * 4096 + of_name[0]["blocks"] * 65536
        mid = statistics.median
        spread = 100 * (max(sent) - min(sent)) / mid(sent) if mid(sent) else 0
        ratio = [a / b for a, b in zip(sent, changed) if b] or [0]
        print(f"{name:10} {len(of_name):4} {mid([r['ms'] for r in of_name]) / 1000:6.1f} {mid(sent):9.1f} {spread:6.0f}% "
              f"{mid(changed):12.1f} {mid(ratio):13.2f} {100 * mid(changed) * 2**20 / whole:10.2f} "
              f"{mid([r['kept_pages'] for r in of_name]):11.0f}")
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump({"benchmark": "resync", "rows": rows}, file, indent=1)


main()
