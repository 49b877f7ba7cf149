"""disk_report - runs one load, and prints the tables and the JSON of bench_disk.

usage: disk_report.py load HOST:PORT KIND SECONDS    run one load in the guest, print its line
       disk_report.py pauses                         read `vm show --json`, print the figures of the pauses
       disk_report.py synced SECONDS                 read a line of disk_watch.py, add the time of a sync
       disk_report.py report ROWS DATA_BYTES [--json FILE]    ROWS: one JSON object per line, written by bench_disk
"""
import argparse
import json
import socket
import statistics
import sys

LOADS = ("fsync", "seq", "mixed")
PAUSES = {"memory": "idle disk", "fsync": "busy disk"}
PARTS = ("stop", "scan", "copy", "device", "cont")
MIB = 1 << 20


def run_load(where, kind, seconds):
    host, port = where.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as guest:
        guest.settimeout(int(seconds) + 120)
        guest.sendall(f"{kind} {seconds}\n".encode())
        line = guest.makefile().readline()
    if not line:
        sys.exit("the guest sent nothing")
    result = json.loads(line)
    if "error" in result:
        sys.exit(result["error"])
    print(line.strip())


def print_pauses():
    shown = json.load(sys.stdin)
    stats = shown.get("vm", shown)["stats"]
    keys = ["pause_ms_p50", "pause_ms_p99", "unheld_pause_ms_p50", "unheld_pause_ms_p99", "interval_ms_p50",
            "dirty_pages_p50", "disk_flushes"]
    print(json.dumps({k: stats.get(k) for k in keys + [f"{part}_ms_p50" for part in PARTS]}))


def print_synced(seconds):
    copy = json.load(sys.stdin)
    copy["synced_s"] = copy["s"] + float(seconds)
    print(json.dumps(copy))


class Rows:
    """What was measured of one mode and thing, over all runs."""

    def __init__(self, rows, what, *modes):
        self.rows = [r for r in rows if r["mode"] in modes and r["what"] == what]

    def values(self, key):
        return [r["result"][key] for r in self.rows if r["result"].get(key) is not None]

    def median(self, key):
        found = self.values(key)
        return statistics.median(found) if found else None

    def spread(self, key):
        found, middle = self.values(key), self.median(key)
        return (max(found) - min(found)) / middle if middle else 0.0

    def about(self):
        return {"runs": len(self.rows), "load": statistics.median(r["load"] for r in self.rows)}


def loads_of(rows, modes):
    for mode in modes:
        for load in LOADS:
            found = Rows(rows, load, mode)
            if found.rows:
                yield {"mode": mode, "load_kind": load, "spread": found.spread("iops"),
                       "fsync_spread": found.spread("fsync_ms_p50"),
                       **{k: found.median(k) for k in ("iops", "fsync_ms_p50", "fsync_ms_p99")}, **found.about()}


def pauses_of(rows, modes):
    keys = ["pause_ms_p50", "pause_ms_p99", "unheld_pause_ms_p50", "unheld_pause_ms_p99", "interval_ms_p50",
            "dirty_pages_p50"]
    for mode in modes:
        for load in PAUSES:
            found = Rows(rows, f"pause-{load}", mode)
            if found.rows:
                yield {"mode": mode, "load_kind": load, "spread": found.spread("pause_ms_p50"),
                       **{k: found.median(k) for k in keys},
                       "parts": {part: found.median(f"{part}_ms_p50") for part in PARTS}, **found.about()}


def cpu_of(found, data_bytes):
    spent = found.values("cpu_ms")
    return {who: statistics.median(s[who] for s in spent) / (data_bytes / MIB) for who in spent[0]} if spent else {}


COPIES = (("cp", "copy", ["cp"]), ("qemu-img, TLS", "copy", ["qemu_img"]),
          ("holdfast", "copy", ["protected", "outside"]), ("holdfast, again", "recopy", ["protected", "outside"]))


def copies_of(rows, data_bytes):
    for who, kind, modes in COPIES:
        found = Rows(rows, kind, *modes)
        if found.rows:
            yield {"who": who, "s": found.median("s"), "synced_s": found.median("synced_s"),
                   "spread": found.spread("s"), "bytes_per_s": data_bytes / found.median("s"),
                   "synced_bytes_per_s": data_bytes / found.median("synced_s"),
                   "cpu_ms_per_mib": cpu_of(found, data_bytes), **found.about()}


def goals_of(result):
    """The three figures that the issue asks for."""
    fsync = {r["mode"]: r["fsync_ms_p50"] for r in result["loads"] if r["load_kind"] == "fsync"}
    pause = {(r["mode"], r["load_kind"]): r["pause_ms_p50"] for r in result["pauses"]}
    copy = {r["who"]: r for r in result["copies"]}
    for mode in ("protected", "outside"):
        if fsync.get("unprotected") and mode in fsync:
            result.setdefault("fsync_ratio", {})[mode] = fsync[mode] / fsync["unprotected"]
        if (mode, "fsync") in pause and (mode, "memory") in pause:
            result.setdefault("busy_ms", {})[mode] = pause[mode, "fsync"] - pause[mode, "memory"]
    if "cp" in copy and "holdfast" in copy:
        result["copy_share"] = copy["cp"]["s"] / copy["holdfast"]["s"]
        result["copy_share_synced"] = copy["cp"]["synced_s"] / copy["holdfast"]["synced_s"]


def summarize(rows, data_bytes):
    modes = list(dict.fromkeys(r["mode"] for r in rows))
    result = {"data_bytes": data_bytes, "loads": list(loads_of(rows, modes)), "pauses": list(pauses_of(rows, modes)),
              "copies": list(copies_of(rows, data_bytes))}
    goals_of(result)
    return result


def print_loads(result):
    print(f"{'mode':<12} {'load':<10} {'per s':>7} {'spread':>7} {'fsync p50':>10} {'spread':>7} {'p99 ms':>8} "
          f"{'runs':>5} {'machine':>8}")
    for r in result["loads"]:
        print(f"{r['mode']:<12} {r['load_kind']:<10} {r['iops']:7.0f} {r['spread']:7.0%} {r['fsync_ms_p50']:10.2f} "
              f"{r['fsync_spread']:7.0%} {r['fsync_ms_p99']:8.2f} {r['runs']:5} {r['load']:8.1f}")


def print_pause_table(result):
    print(f"\n{'mode':<12} {'pause':<10} {'p50 ms':>7} {'spread':>7} {'p99 ms':>8} {'in the copy':>13} "
          f"{'interval':>9} {'pages':>6} "
          f"{'runs':>5} {'machine':>8}  {' '.join(f'{part:>6}' for part in PARTS)}")
    for r in result["pauses"]:
        parts = " ".join(f"{r['parts'][part] or 0:6.2f}" for part in PARTS)
        print(f"{r['mode']:<12} {PAUSES[r['load_kind']]:<10} {r['pause_ms_p50']:7.2f} {r['spread']:7.0%} "
              f"{r['pause_ms_p99']:8.2f} {r['unheld_pause_ms_p50'] or 0:6.1f}/{r['unheld_pause_ms_p99'] or 0:<6.1f} "
              f"{r['interval_ms_p50']:9.1f} {r['dirty_pages_p50']:6.0f} {r['runs']:5} "
              f"{r['load']:8.1f}  {parts}")


def print_copies(result):
    print(f"\n{'copy':<16} {'s':>6} {'spread':>7} {'MB/s':>6} {'synced':>7} {'runs':>5} {'machine':>8}  CPU ms per MiB")
    for r in result["copies"]:
        cpu = ", ".join(f"{who} {ms:.2f}" for who, ms in r["cpu_ms_per_mib"].items())
        print(f"{r['who']:<16} {r['s']:6.2f} {r['spread']:7.0%} {r['bytes_per_s'] / 1e6:6.0f} "
              f"{r['synced_bytes_per_s'] / 1e6:7.0f} {r['runs']:5} {r['load']:8.1f}  {cpu}")


def print_goals(result):
    print()
    for mode, ratio in result.get("fsync_ratio", {}).items():
        print(f"{mode}: fsync p50 is {ratio:.2f} x unprotected (aim: at most 2)")
    for mode, more in result.get("busy_ms", {}).items():
        print(f"{mode}: a busy disk adds {more:.2f} ms to the pause (aim: at most 0.5)")
    if "copy_share" in result:
        print(f"the first copy has {result['copy_share']:.2f} x the speed of cp, {result['copy_share_synced']:.2f} x with "
              f"both targets synced (aim: at least 0.8); {result['data_bytes'] / MIB:.0f} MiB of data")


def report(args):
    with open(args.rows, encoding="ascii") as lines:
        result = summarize([json.loads(line) for line in lines], args.data_bytes)
    print_loads(result)
    print_pause_table(result)
    print_copies(result)
    print_goals(result)
    if args.json:
        with open(args.json, "w", encoding="ascii") as out:
            json.dump(result, out, indent=1)
            out.write("\n")


def main():
    word = sys.argv[1]
    if word == "load":
        run_load(*sys.argv[2:5])
    elif word == "pauses":
        print_pauses()
    elif word == "synced":
        print_synced(sys.argv[2])
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("rows")
        parser.add_argument("data_bytes", type=int)
        parser.add_argument("--json")
        report(parser.parse_args(sys.argv[2:]))


main()
