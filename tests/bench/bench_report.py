"""bench_report - prints the table and JSON of bench_latency or bench_bandwidth.

usage: bench_report.py latency|bandwidth ROWS [--json FILE]
ROWS: one JSON object per line, written by bench_latency or bench_bandwidth. Figures are medians over the
runs; spread is (max - min) / median.
"""
import argparse
import json
import statistics


def read_rows(path):
    with open(path, encoding="ascii") as rows:
        return [json.loads(line) for line in rows]


def in_order(values):
    return list(dict.fromkeys(values))


def spread(values):
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def write_json(path, result):
    if path:
        with open(path, "w", encoding="ascii") as out:
            json.dump(result, out, indent=1)
            out.write("\n")


# --- latency ---

def summarize_load(rows, mode, load):
    mine = [r["result"] for r in rows if (r["mode"], r["load"]) == (mode, load)]
    if not mine:
        return None
    row = {"mode": mode, "load": load, "runs": len(mine)}
    for key in ("p50_ms", "p99_ms", "per_s"):
        row[key] = statistics.median(r[key] for r in mine)
    row["spread"] = spread([r["p50_ms"] for r in mine])
    row["p99_spread"] = spread([r["p99_ms"] for r in mine])
    return row


def summarize_mode(rows, mode):
    """Returns the agent's figures for a mode. The agent's histograms begin when protection begins
    and only grow, so take them from the last row of each run."""
    last = {r["run"]: r["vm"]["vm"]["stats"] for r in rows if r["mode"] == mode}.values()
    result = {}
    for key in ("interval_ms_p50", "pause_ms_p50", "dirty_pages_p50", "commit_ms_p50"):
        result[key] = statistics.median(s[key] for s in last)
    result["paused_share"] = result["pause_ms_p50"] / result["interval_ms_p50"]
    if mode.startswith("fixed-"):
        want = int(mode[6:]) + result["pause_ms_p50"]
        result["by_time"] = abs(result["interval_ms_p50"] - want) <= 0.1 * want
    return result


def print_latency(rows, modes, loads, table):
    print(f"{'load':<12} {'mode':<12} {'p50 ms':>8} {'p99 ms':>8} {'per s':>9} {'added ms':>9} {'spread':>7}")
    for load in loads:
        for mode in in_order(r["mode"] for r in rows):
            row = table.get((mode, load))
            if row:
                added = f"{row['added_ms']:>9.2f}" if "added_ms" in row else f"{'-':>9}"
                print(f"{load:<12} {mode:<12} {row['p50_ms']:>8.2f} {row['p99_ms']:>8.2f} "
                      f"{row['per_s']:>9.0f} {added} {row['spread']:>7.0%}")
    print("\nas the agent saw it (p50):")
    for mode, m in modes.items():
        note = "" if m.get("by_time", True) else "   NOT BY TIME: the mode is not what its name says"
        print(f"{mode:<12} interval {m['interval_ms_p50']:.1f} ms, pause {m['pause_ms_p50']:.2f} ms, "
              f"{m['dirty_pages_p50']:.0f} pages, commit {m['commit_ms_p50']:.2f} ms{note}")


def compare(table, loads):
    """Compare demand-driven epochs with epochs of 25 ms, as in Remus, for each load."""
    result = {}
    for load in loads:
        ours, theirs = table.get(("demand", load)), table.get(("fixed-25", load))
        if not ours or not theirs:
            continue
        result[load] = {"p50_times_better": theirs["p50_ms"] / ours["p50_ms"],
                        "p99_times_better": theirs["p99_ms"] / ours["p99_ms"],
                        "throughput_times": ours["per_s"] / theirs["per_s"]}
        if ours.get("added_ms", 0) > 0 and "added_ms" in theirs:
            result[load]["added_times_better"] = theirs["added_ms"] / ours["added_ms"]
    return result


def latency(args):
    rows = read_rows(args.rows)
    loads = in_order(r["load"] for r in rows)
    names = in_order(r["mode"] for r in rows)
    table = {(m, l): summarize_load(rows, m, l) for m in names for l in loads}
    for (mode, load), row in table.items():
        base = table.get(("unprotected", load))
        if row and base and mode != "unprotected":
            row["added_ms"] = row["p50_ms"] - base["p50_ms"]
    modes = {m: summarize_mode(rows, m) for m in names if m != "unprotected"}
    print_latency(rows, modes, loads, table)
    versus = compare(table, loads)
    for load, v in versus.items():
        print(f"demand beside fixed-25, {load}: p50 {v['p50_times_better']:.1f} x lower, "
              f"p99 {v['p99_times_better']:.1f} x lower, throughput {v['throughput_times']:.1f} x")
    write_json(args.json, {"rows": [r for r in table.values() if r], "modes": modes,
                           "demand_vs_fixed_25": versus})


# --- bandwidth ---

CODERS = ["lz4_raw", "zstd1_raw", "xrle_plain", "lz4_xor", "ours"]


def between(snapshots):
    """Returns what the agent counted between the two snapshots. "raw" is the number of dirty pages
    times 4096 bytes."""
    before, after = (snapshots[k]["vm"]["vm"]["stats"] for k in ("before", "after"))
    counts = {k: after[k] - before[k] for k in ("epochs", "dirty_pages", "bytes_sent", "full_epochs")}
    counts["raw"] = counts["dirty_pages"] * 4096
    counts["seconds"] = (snapshots["after"]["mono_ns"] - snapshots["before"]["mono_ns"]) / 1e9
    counts["link"] = snapshots["after"]["tx_bytes"] - snapshots["before"]["tx_bytes"]
    return counts


def one_workload(row):
    """Returns the figures per epoch of one run of one workload."""
    auto, packed, traced = between(row), between(row["packed"]), row["traced"]
    epochs, seconds = auto["epochs"], auto["seconds"]
    return {
        "epochs_per_s": epochs / seconds, "pages_per_epoch": auto["dirty_pages"] / epochs,
        "raw_per_epoch": auto["raw"] / epochs, "stream_per_epoch": auto["bytes_sent"] / epochs,
        "raw_per_s": auto["raw"] / seconds, "stream_per_s": auto["bytes_sent"] / seconds,
        "link_per_s": auto["link"] / seconds,
        "raw_to_stream": auto["raw"] / auto["bytes_sent"], "raw_to_link": auto["raw"] / auto["link"],
        "packed_raw_to_stream": packed["raw"] / packed["bytes_sent"],
        "full_epochs": auto["full_epochs"] + packed["full_epochs"],
        "traced_pages_per_epoch": traced["dirty_pages"] / traced["epochs"],
        "traced_unchanged": traced["unchanged"] / traced["dirty_pages"],
        **{"traced_raw_to_" + c: traced["bytes"]["raw"] / traced["bytes"][c] for c in CODERS},
    }


def bandwidth(args):
    rows = read_rows(args.rows)
    result = {}
    print(f"{'workload':<9} {'epochs/s':>8} {'pages':>7} {'raw MB/s':>9} {'ours':>8} {'on link':>8} "
          f"{'raw/ours':>9} {'+lz4':>6} {'raw/link':>9} spread | same pages, raw/x: "
          + " ".join(f"{c:>10}" for c in CODERS))
    for name in in_order(r["workload"] for r in rows):
        runs = [one_workload(r) for r in rows if r["workload"] == name]
        m = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        m["spread"] = spread([r["raw_to_stream"] for r in runs])
        m["runs"] = len(runs)
        result[name] = m
        print(f"{name:<9} {m['epochs_per_s']:>8.1f} {m['pages_per_epoch']:>7.0f} {m['raw_per_s'] / 1e6:>9.2f} "
              f"{m['stream_per_s'] / 1e6:>8.3f} {m['link_per_s'] / 1e6:>8.3f} {m['raw_to_stream']:>9.1f} "
              f"{m['packed_raw_to_stream']:>6.1f} {m['raw_to_link']:>9.1f} {m['spread']:>6.0%} | {'':>18} "
              + " ".join(f"{m['traced_raw_to_' + c]:>10.1f}" for c in CODERS))
        if m["full_epochs"]:
            print(f"{name}: FULL epochs in the time measured: the figures are not those of a steady state")
    write_json(args.json, {"workloads": result})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("latency", "bandwidth"))
    parser.add_argument("rows")
    parser.add_argument("--json")
    args = parser.parse_args()
    {"latency": latency, "bandwidth": bandwidth}[args.what](args)


if __name__ == "__main__":
    main()
