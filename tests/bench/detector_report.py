"""detector_report - judges the rows of a run of bench_detector and prints the result as a table and
as JSON.

usage: detector_report.py ROWS [--json FILE]
The rival is a detector that knows only beats: it promotes when no frame of the primary has come for
a time T. The gateway reported its silences in the trials. From them this program works out when the
rival would have promoted. T must be at least the shadow's timeout. (Shorter silences are not reported.)
T is chosen so that both detectors have the same mean detection time over the deaths marked
`sets_rival`.
Exit: 0; 1 if two owners sent frames, a capture lost frames, a client's connection broke or a reply
was wrong.
"""
import argparse
import json
import os
import statistics
import sys

OTHER_T_MS = (100, 250, 500, 1000, 2000)
TICK_MS = 10	# mean delay until the gateway notices a timeout: it checks every 20 ms
DETECT_LIMIT_MS = 10000
# The deaths after which the guest no longer runs. After all other deaths the guest still runs on its
# host but is not replicated; by design the gateway then waits for a longer timeout before it promotes.
CRASHES = {"host-off", "agent+qemu-killed", "qemu-killed"}
NOT_THE_RIVALS = {"gateway-cut-off"} # not counted against the rival: a real detector of beats would also ask the standby


def percentile(values, share):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(share * len(values)))], 1) if values else None


def silence_begin_ms(row):
    """Returns how many ms after the death the last beat came. The result is negative if the last beat
    came before the death, as it usually does. Returns None if beats continued."""
    lasting = [begin for begin, ms in row["silences"] if ms is None]
    return (lasting[-1] - row["start_ns"]) / 1e6 if lasting else None


def rival_detect_ms(row, t_ms):
    """Returns how many ms after the death a rival with timeout @t_ms promotes, or None if it does not
    promote within DETECT_LIMIT_MS."""
    times = [(begin - row["start_ns"]) / 1e6 + t_ms + TICK_MS for begin, ms in row["silences"]
             if ms is None or ms >= t_ms]
    return min(times) if times and min(times) <= DETECT_LIMIT_MS else None


def longest_silence_ms(row):
    """Returns the length of the longest silence of a trial. A promotion may end the trial during a
    silence. That silence counts up to the trial's end."""
    return max(((row["close_ns"] - begin) / 1e6 if ms is None else ms for begin, ms in row["silences"]),
               default=0)


def rival_promotes(row, t_ms):
    return row["kind"] not in NOT_THE_RIVALS and longest_silence_ms(row) >= t_ms


def choose_t_ms(deaths, shadow_ms):
    """Returns (T, our mean detection time), both computed from the deaths marked `sets_rival`. T is at
    least @shadow_ms. Returns (None, None) if there are no such deaths."""
    pairs = [(d["detect_ms"], silence_begin_ms(d)) for d in deaths if d["sets_rival"]]
    pairs = [(ours, begin) for ours, begin in pairs if ours is not None and begin is not None]
    if not pairs:
        return None, None
    mean = statistics.mean(ours for ours, _ in pairs)
    return max(mean - statistics.mean(begin for _, begin in pairs) - TICK_MS, shadow_ms), mean


def of_ours(disturbances, deaths):
    return verdicts(disturbances, [d["promoted"] for d in disturbances],
                    [d["detect_ms"] for d in deaths])


def of_beats(disturbances, deaths, t_ms):
    return verdicts(disturbances, [rival_promotes(d, t_ms) for d in disturbances],
                    [rival_detect_ms(d, t_ms) for d in deaths])


def verdicts(disturbances, promoted, detected):
    seen = [ms for ms in detected if ms is not None]
    return {"disturbances": len(disturbances), "false_promotions": sum(promoted),
            "deaths": len(detected), "missed": detected.count(None),
            "detect_ms_p50": percentile(seen, 0.5), "detect_ms_p99": percentile(seen, 0.99),
            "detect_ms_mean": round(statistics.mean(seen), 1) if seen else None}


def by_kind(rows):
    kinds = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    return sorted(kinds.items())


def of_crashes(disturbances, deaths, shadow_ms):
    """Returns the verdicts for crashes only. T is chosen anew, over the crashes that end the beats."""
    crashes = [d for d in deaths if d["kind"] in CRASHES]
    t_ms, mean = choose_t_ms(crashes, shadow_ms)
    return {"kinds": sorted({d["kind"] for d in crashes}), "ours": of_ours(disturbances, crashes),
            "heartbeat_timeout_ms": t_ms and round(t_ms, 1), "mean_ms_that_sets_it": mean and round(mean, 1),
            "heartbeat": of_beats(disturbances, crashes, t_ms) if t_ms else None}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "")
    return {"cores": os.cpu_count(), "cpu": model, "linux": os.uname().release,
            "load": round(os.getloadavg()[0], 2)}


def judge(rows):
    unseen = [r for r in rows if r.get("unseen")] # trials in which a clock jumped but a daemon did not notice
    rows = [r for r in rows if r not in unseen]
    disturbances = [r for r in rows if r["what"] == "disturbance"]
    deaths = [r for r in rows if r["what"] == "death"]
    run = next(r for r in rows if r["what"] == "run")
    t_ms, mean = choose_t_ms(deaths, run["shadow_ms"])
    partitions = [r for r in rows if r["what"] == "partition"]
    trials = disturbances + partitions + deaths + unseen
    two_owners = sum(bool(r["wrong"]) for r in trials)
    margins = [r["margin_ms"] for r in trials if r["margin_ms"] is not None]
    result = {
        "ours": of_ours(disturbances, deaths) | {"two_owners": two_owners},
        # The rival only watches, so it cannot cause two owners.
        "heartbeat": (of_beats(disturbances, deaths, t_ms) if t_ms else {}) | {"two_owners": None},
        "heartbeat_timeout_ms": t_ms and round(t_ms, 1), "mean_ms_that_sets_it": mean and round(mean, 1),
        "heartbeat_by_timeout": {t: of_beats(disturbances, deaths, t) for t in OTHER_T_MS
                                 if t >= run["shadow_ms"]},
        "crashes": of_crashes(disturbances, deaths, run["shadow_ms"]),
        "disturbance_kinds": {}, "death_kinds": {}, "machine": machine(), "run": run,
        "old_owner_silent_before_new_ms_min": round(min(margins), 1) if margins else None,
        "connections_broken": sum(r["client_broken"] for r in trials),
        "two_owners_what": [w for r in trials for w in r["wrong"]],
        "degraded": sum(any(e["to"] == "DEGRADED" for e in r["events"]) for r in disturbances),
        "partitions": len(partitions), "partitions_promoted": sum(r["promoted"] for r in partitions),
        "suspected": sum(any(e["to"] == "SUSPECT" for e in r["events"]) for r in disturbances),
        "protection_lost": sum(r["unprotected"] for r in disturbances + partitions),
        "clock_jumps_unseen": len(unseen), "clock_jumps_unseen_promoted": sum(r["promoted"] for r in unseen),
        "pauses": sum(len(r["pauses"]) for r in trials),
        "pauses_undone": sum(r["pauses"].count(False) for r in trials),
        "pauses_again": sum(r["pauses"].count("again") for r in trials),
        "stuck": sum(r["stuck"] for r in trials), "broken": [r["why"] for r in rows if r["what"] == "broken"],
        "without_effect": sum(not any(r[k] for k in ("frames_lost", "frames_waited", "silences", "events", "jumps",
                                                     "pauses")) for r in disturbances),
    }
    for kind, some in by_kind(disturbances):
        result["disturbance_kinds"][kind] = {
            "n": len(some), "ours": sum(r["promoted"] for r in some),
            "heartbeat": sum(rival_promotes(r, t_ms) for r in some) if t_ms else None,
            "suspected": sum(any(e["to"] == "SUSPECT" for e in r["events"]) for r in some),
            "silence_ms_max": round(max(longest_silence_ms(r) for r in some))}
    for kind, some in by_kind(deaths):
        result["death_kinds"][kind] = {"n": len(some), "sets_rival": some[0]["sets_rival"],
                                       "ours": of_ours([], some),
                                       "heartbeat": of_beats([], some, t_ms) if t_ms else None}
    return result


def cell(value):
    return "-" if value is None else str(value)


def table(header, rows):
    rows = [header] + [[cell(v) for v in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        cells = [v.rjust(w) for v, w in zip(row, widths)]
        print("  " + "  ".join([row[0].ljust(widths[0])] + cells[1:]))
    print()


def show(result):
    keys = ("disturbances", "false_promotions", "deaths", "missed", "detect_ms_p50", "detect_ms_p99",
            "detect_ms_mean")
    t = result["heartbeat_timeout_ms"]
    rows = [["ours", *(result["ours"][k] for k in keys)]]
    if t:
        rows.append([f"beats alone, {t:.0f} ms (same mean)", *(result["heartbeat"][k] for k in keys)])
    rows += [[f"beats alone, {ms} ms", *(v[k] for k in keys)]
             for ms, v in result["heartbeat_by_timeout"].items()]
    crashes = result["crashes"]
    if crashes["heartbeat"]:
        rows.append(["ours, crashes alone", *(crashes["ours"][k] for k in keys)])
        rows.append([f"beats alone, {crashes['heartbeat_timeout_ms']:.0f} ms (same mean over crashes)",
                     *(crashes["heartbeat"][k] for k in keys)])
    table(["detector", "disturb.", "false", "deaths", "missed", "p50 ms", "p99 ms", "mean ms"], rows)
    table(["disturbance", "n", "ours false", "beats false", "suspected", "longest silence ms"],
          [[k, v["n"], v["ours"], v["heartbeat"], v["suspected"], v["silence_ms_max"]]
           for k, v in result["disturbance_kinds"].items()])
    table(["death", "n", "ours missed", "p50 ms", "p99 ms", "beats missed", "p50 ms", "sets T"],
          [[k, v["n"], v["ours"]["missed"], v["ours"]["detect_ms_p50"], v["ours"]["detect_ms_p99"],
            *(v["heartbeat"][k] if v["heartbeat"] else None for k in ("missed", "detect_ms_p50")),
            "yes" if v["sets_rival"] else ""] for k, v in result["death_kinds"].items()])
    run = result["run"]
    print(f"two owners spoke: {result['ours']['two_owners']} (the old one silent at least "
          f"{cell(result['old_owner_silent_before_new_ms_min'])} ms before the new one spoke)")
    print(f"{result['partitions']} partitions of the primary from the gateway on both networks and the like: "
          f"promoted in {result['partitions_promoted']}, as it may")
    print(f"clock jumps that a daemon did not see, not counted: {result['clock_jumps_unseen']} (promoted "
          f"{result['clock_jumps_unseen_promoted']}); guests paused from outside {result['pauses']} times, let run "
          f"by somebody else {result['pauses_undone']} (after a second `stop`; {result['pauses_again']} needed one)")
    print(f"seed {run['seed']}, {run['minutes']:.1f} min, {run['clusters']} clusters; protection lost without "
          f"a promotion {result['protection_lost']}, stuck {result['stuck']}, disturbances that nothing showed "
          f"{result['without_effect']}")


def failures(result):
    found = [f"two owners: {w}" for w in result["two_owners_what"]]
    if result["run"]["capture_dropped"]:
        found.append(f"the captures lost {result['run']['capture_dropped']} frames: two_owners says nothing")
    if result["pauses_undone"]:
        found.append(f"{result['pauses_undone']} guests that were paused from outside did not stay so")
    if result["connections_broken"]:
        found.append(f"the client's connection broke {result['connections_broken']} times")
    for report in result["run"]["clients"]:
        bad = {k: v for k, v in (report or {}).items()
               if k in ("lost", "repeated", "out_of_order", "forgotten", "corrupt") and v}
        if bad:
            found.append(f"a client saw wrong replies: {bad}")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("--json")
    args = parser.parse_args()
    with open(args.rows, encoding="ascii") as f:
        result = judge([json.loads(line) for line in f])
    result["failures"] = failures(result)
    show(result)
    if args.json:
        with open(args.json, "w", encoding="ascii") as out:
            json.dump(result, out, indent=1)
            out.write("\n")
    for failure in result["failures"]:
        print("FAIL: " + failure, file=sys.stderr)
    sys.exit(1 if result["failures"] else 0)


main()
