"""flood_report - prints the table and JSON of bench_flood.

usage: flood_report.py ROWS CLIENT.JSON EVENTS.JSONL SECONDS [--json FILE]
Figures are medians over the runs. Exit: 0; 1 if a datagram of a flood was accepted or the standby was promoted.
"""
import argparse
import json
import os
import re
import statistics
import sys

from bench_report import spread, write_json


def median(values):
    return statistics.median(values) if values else None


def summarize(mode, rows, phases, seconds, accepted_max):
    mine = [phases[f"{mode}-{r['run']}"] for r in rows]
    taken = {}
    for r in rows:
        for name, n in r["after"]["counters"].items():
            if name.startswith("witness_"):
                taken.setdefault(name[8:], []).append(n - r["before"]["counters"][name])
    result = {
        "mode": mode, "runs": len(rows), "frames_per_s": median([rate(r) for r in rows]),
        "replies_per_s": median([p["per_s"] for p in mine]),
        "latency_ms_p50": median([p["latency_ms_p50"] for p in mine]),
        "latency_ms_p99": median([p["latency_ms_p99"] for p in mine]),
        "spread": spread([p["latency_ms_p50"] for p in mine]),
        "commits_per_s": median([r["epochs"] for r in rows]) / seconds,
        "gateway_core_share":
            median([r["gateway_ticks"] for r in rows]) / os.sysconf("SC_CLK_TCK") / seconds,
        "witness": {name: median(n) for name, n in taken.items()},
    }
    result["too_many_accepted"] = max(taken.get("accepted", [0])) > accepted_max
    return result


def rate(row):
    found = re.search(r"per_second=(\d+)", row["flood"])
    return int(found[1]) if found else 0


def against(result, mode, base):
    if base:
        result["p50_against_" + mode] = result["latency_ms_p50"] / base["latency_ms_p50"] - 1
        result["commits_against_" + mode] = result["commits_per_s"] / base["commits_per_s"] - 1


def main():
    parser = argparse.ArgumentParser()
    for name in ("rows", "client", "events"):
        parser.add_argument(name)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--json")
    args = parser.parse_args()
    with open(args.rows, encoding="ascii") as f:
        rows = [json.loads(line) for line in f]
    with open(args.client, encoding="ascii") as f:
        phases = {p["name"]: p for p in json.load(f)["phases"]}
    with open(args.events, encoding="utf-8") as f:
        events = [json.loads(line) for line in f]
    # The primary's kernel sends at most one sample per 10 ms. If more were accepted, some were forged.
    accepted_max = 110 * (args.seconds + 3)
    modes = [summarize(m, [r for r in rows if r["mode"] == m], phases, args.seconds, accepted_max)
             for m in dict.fromkeys(r["mode"] for r in rows)]
    by_mode = {m["mode"]: m for m in modes}
    for m in modes:
        against(m, "quiet", by_mode.get("quiet"))
        against(m, "elsewhere", by_mode.get("elsewhere"))
    promotions = sum(e["to"] == "PROMOTING" for e in events)
    doubts = sum(e["to"] == "SUSPECT" for e in events)
    print(f"{'mode':10} {'frames/s':>9} {'replies/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'spread':>6} "
          f"{'added':>7} {'commits/s':>9} {'change':>7} {'gateway':>7}")
    for m in modes:
        print(f"{m['mode']:10} {m['frames_per_s']:9.0f} {m['replies_per_s']:9.1f} {m['latency_ms_p50']:7.2f} "
              f"{m['latency_ms_p99']:7.2f} {m['spread']:6.0%} {m.get('p50_against_quiet', 0):+7.0%} "
              f"{m['commits_per_s']:9.1f} {m.get('commits_against_quiet', 0):+7.0%} "
              f"{m['gateway_core_share']:7.0%}")
    for m in modes:
        if m["mode"] not in ("quiet", "elsewhere") and "elsewhere" in by_mode:
            print(f"{m['mode']} against elsewhere: p50 {m['p50_against_elsewhere']:+.0%}, "
                  f"commits {m['commits_against_elsewhere']:+.0%}")
    print(f"promotions {promotions}, doubts {doubts} (SUSPECT costs nothing but probes)")
    write_json(args.json, {"modes": modes, "promotions": promotions, "doubts": doubts})
    if promotions or any(m["too_many_accepted"] for m in modes):
        sys.exit("FAIL: a flood was believed")


main()
