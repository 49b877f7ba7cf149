"""disk_report - runs one load, and prints the table and the JSON of bench_disk.

usage: disk_report.py load HOST:PORT KIND SECONDS    run one load in the guest, print its line
       disk_report.py copy                           read an agent's log, print how long a first copy took
       disk_report.py report ROWS [--json FILE]      ROWS: one JSON object per line, written by bench_disk
"""
import argparse
import json
import re
import socket
import statistics
import sys

LOADS = ("fsync", "seq", "mixed")


def run_load(where, kind, seconds):
    host, port = where.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as guest:
        guest.settimeout(int(seconds) + 120)
        guest.sendall(f"{kind} {seconds}\n".encode())
        line = guest.makefile().readline()
    result = json.loads(line)
    if "error" in result:
        sys.exit(result["error"])
    print(line.strip())


def copy_time(lines):
    found = [int(m[1]) for m in (re.search(r"disks copying -> in-step: after (\d+) ms", line) for line in lines) if m]
    if not found:
        sys.exit("the log does not say how long the first copy took")
    print(json.dumps({"s": found[-1] / 1000}))


def values(rows, mode, what, key):
    return [r["result"][key] for r in rows
            if (r["mode"], r["what"]) == (mode, what) and r["result"].get(key) is not None]


def spread(found):
    middle = statistics.median(found)
    return (max(found) - min(found)) / middle if middle else 0.0


def summarize(rows):
    modes = list(dict.fromkeys(r["mode"] for r in rows if r["mode"] != "cp"))
    result = {"loads": [], "pauses": []}
    for mode in modes:
        for load in LOADS:
            if not values(rows, mode, load, "iops"):
                continue
            row = {"mode": mode, "load": load}
            for key in ("iops", "fsync_ms_p50", "fsync_ms_p99"):
                row[key] = statistics.median(values(rows, mode, load, key))
            row["spread"] = spread(values(rows, mode, load, "iops"))
            result["loads"].append(row)
        for load in ("memory", "fsync"):
            if values(rows, mode, f"pause-{load}", "pause_ms_p50"):
                result["pauses"].append({"mode": mode, "load": load} | {
                    key: statistics.median(values(rows, mode, f"pause-{load}", key))
                    for key in ("pause_ms_p50", "pause_ms_p99", "interval_ms_p50")})
    size = result["image_bytes"] = values(rows, "cp", "cp", "bytes")[0]
    result["cp_bytes_per_s"] = size / statistics.median(values(rows, "cp", "cp", "s"))
    copies = [s for mode in modes for s in values(rows, mode, "copy", "s")]
    if copies:
        result["copy_bytes_per_s"] = size / statistics.median(copies)
        result["copy_share"] = result["copy_bytes_per_s"] / result["cp_bytes_per_s"]
    return result


def report(path, json_path):
    with open(path, encoding="ascii") as lines:
        result = summarize([json.loads(line) for line in lines])
    print(f"{'mode':<12} {'load':<7} {'per s':>8} {'fsync p50':>10} {'p99 ms':>8} {'spread':>7}")
    for r in result["loads"]:
        print(f"{r['mode']:<12} {r['load']:<7} {r['iops']:8.0f} {r['fsync_ms_p50']:10.2f} {r['fsync_ms_p99']:8.2f} "
              f"{r['spread']:7.0%}")
    print(f"{'mode':<12} {'load':<7} {'pause p50':>10} {'p99 ms':>8} {'interval':>9}")
    for r in result["pauses"]:
        print(f"{r['mode']:<12} {r['load']:<7} {r['pause_ms_p50']:10.2f} {r['pause_ms_p99']:8.2f} "
              f"{r['interval_ms_p50']:9.1f}")
    if "copy_share" in result:
        print(f"first copy {result['copy_bytes_per_s'] / 1e6:.0f} MB/s, cp {result['cp_bytes_per_s'] / 1e6:.0f} MB/s, "
              f"share {result['copy_share']:.2f}")
    if json_path:
        with open(json_path, "w", encoding="ascii") as out:
            json.dump(result, out, indent=1)
            out.write("\n")


def main():
    word = sys.argv[1]
    if word == "load":
        run_load(*sys.argv[2:5])
    elif word == "copy":
        copy_time(sys.stdin)
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("rows")
        parser.add_argument("--json")
        args = parser.parse_args(sys.argv[2:])
        report(args.rows, args.json)


main()
