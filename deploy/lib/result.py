"""Judges the results of runs of the demo, prints them, and writes them as JSON.

result.py one  --dir DIR --kill-ns N --kill-took-ns N --json FILE
    DIR holds client.json (hf-client), before.json and after.json (vm show), events.jsonl.
    Prints the story of the failover and the figures. Exit 1 when a promise broke.
result.py runs --json FILE RUN.json...
    Combines several runs into one object: sums of counts, and the median and worst of other figures.
    Exit 1 when a promise broke in any run.
"""
import argparse
import json
import os
import platform
import statistics
import sys

BROKEN_COUNTS = ("lost", "repeated", "out_of_order", "forgotten", "recounted", "unasked", "corrupt")
MEDIANS = ("epochs", "dirty_pages_p50", "pause_ms_p50", "pause_ms_p99", "ratio", "latency_ms_p50",
           "latency_ms_p99", "latency_unprotected_ms_p50", "latency_unprotected_ms_p99", "detect_ms",
           "promote_ms", "failover_ms", "requests", "epochs_per_s")


def load(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def load_events(path):
    events = []
    try:
        with open(path) as f:
            for line in f:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                events += event.get("events", [event]) if isinstance(event.get("events"), list) else [event]
    except OSError:
        pass
    return [e for e in events if "mono_ns" in e]


def vm_of(shown):
    return shown.get("vm", shown) if isinstance(shown.get("vm", shown), dict) else {}


def ms_after(ns, start_ns):
    return round((ns - start_ns) / 1e6, 3)


def first_after(events, kill_ns, **want):
    for e in sorted(events, key=lambda e: e["mono_ns"]):
        if e["mono_ns"] >= kill_ns and all(e.get(k) == v for k, v in want.items()):
            return e
    return None


def phase(client, name):
    for p in client.get("phases", []):
        if p["name"] == name:
            return p
    return {}


def figures(d, kill_ns):
    """Compute the figures of one run from its files. Return them as the object for --json."""
    client, vm = load(f"{d}/client.json"), vm_of(load(f"{d}/before.json"))
    after, events = vm_of(load(f"{d}/after.json")), load_events(f"{d}/events.jsonl")
    stats = vm.get("stats") or {}
    plain, held, killed = (phase(client, n) for n in ("unprotected", "protected", "killed"))
    promoting = first_after(events, kill_ns, kind="state", to="PROMOTING")
    running = first_after(events, kill_ns, kind="state", to="UNPROTECTED", **{"from": "PROMOTING"})
    gap_end = killed.get("gap_end_ns", 0)
    out = {"connection_survived": bool(client.get("connection_survived", False)),
           "error": client.get("error", "the client left no report") if client else "the client left no report"}
    for key in BROKEN_COUNTS:
        out[key] = client.get(key)
    seconds = (held.get("end_ns", 0) - held.get("start_ns", 0)) / 1e9
    out.update({
        "requests": client.get("replies"),
        "epochs": stats.get("epochs"),
        "epochs_per_s": round(stats["epochs"] / seconds, 1) if stats.get("epochs") and seconds > 0 else None,
        "dirty_pages_p50": stats.get("dirty_pages_p50"),
        "pause_ms_p50": stats.get("pause_ms_p50"),
        "pause_ms_p99": stats.get("pause_ms_p99"),
        "ratio": stats.get("ratio"),
        "latency_ms_p50": held.get("latency_ms_p50"),
        "latency_ms_p99": held.get("latency_ms_p99"),
        "latency_unprotected_ms_p50": plain.get("latency_ms_p50"),
        "latency_unprotected_ms_p99": plain.get("latency_ms_p99"),
        "requests_per_s": held.get("per_s"),
        "requests_unprotected_per_s": plain.get("per_s"),
        "detect_ms": ms_after(promoting["mono_ns"], kill_ns) if promoting else None,
        "promote_ms": ms_after(running["mono_ns"], promoting["mono_ns"]) if promoting and running else None,
        "failover_ms": ms_after(gap_end, kill_ns) if gap_end > kill_ns else None,
        "silence_ms": killed.get("longest_gap_ms"),
        "replies_after": killed.get("replies"),
        "owner_before": vm.get("owner"), "owner_after": after.get("owner"),
        "term_before": vm.get("term"), "term_after": after.get("term"),
        "pages_per_request": client.get("pages"), "depth": client.get("depth"),
        "guest_flags": client.get("guest_flags"),
    })
    out["requests_after_per_s"] = phase(client, "after").get("per_s")
    out["machine"] = {"cores": os.cpu_count(), "kernel": platform.release(), "accel": "tcg"}
    out["agent"] = stats
    return out


def promises(r):
    """Return the demo's promises for result @r, each as (True if it was kept, its text)."""
    rules = [(r["connection_survived"], f"the TCP connection lives on ({r['error'] or 'no error'})")]
    for key in BROKEN_COUNTS:
        rules.append((r[key] == 0, f"{key.replace('_', ' ')}: {r[key]}"))
    rules += [
        (r["guest_flags"] == 0, "the guest found its own memory whole"),
        (bool(r["epochs"]), "epochs were committed"),
        (r["failover_ms"] is not None and bool(r["replies_after"]), "replies came again after the kill"),
        (r["detect_ms"] is not None, "the gateway noticed and promoted"),
        (r["owner_before"] == "alpha" and r["owner_after"] == "beta", "the standby owns the guest now"),
        ((r["term_after"] or 0) > (r["term_before"] or 0), "the term grew"),
    ]
    return rules


def text(value, unit="", digits=2):
    if value is None:
        return "?"
    if isinstance(value, float):
        value = f"{value:,.{digits}f}"
    elif isinstance(value, int):
        value = f"{value:,}"
    return f"{value} {unit}".rstrip()


def print_story(d, kill_ns, took_ns, r):
    lines = [(0, f"kill -9 of everything on host primary, both links down (took {took_ns / 1e6:.1f} ms)")]
    for e in load_events(f"{d}/events.jsonl"):
        if e["mono_ns"] < kill_ns:
            continue
        change = f"{e.get('from', '')} -> {e.get('to', '')}: " if e.get("to") else ""
        lines.append((ms_after(e["mono_ns"], kill_ns), f"{e.get('kind', 'event')}: {change}{e.get('text', '')}"))
    if r["failover_ms"] is not None:
        lines.append((r["failover_ms"], "client: first reply, on the same TCP connection"))
    for at, words in sorted(lines, key=lambda l: l[0]):
        print(f"  {at:+9.1f} ms  {words}")


def print_figures(r):
    rows = [
        ("connection", f"{'survived' if r['connection_survived'] else 'LOST'}, {text(r['requests'])} requests on one TCP connection"),
        ("replies", ", ".join(f"{text(r[k])} {k.replace('_', ' ')}" for k in BROKEN_COUNTS)),
        ("detected in", text(r["detect_ms"], "ms", 0)),
        ("promoted in", text(r["promote_ms"], "ms", 0)),
        ("next reply", text(r["failover_ms"], "ms after the kill", 0)),
        ("epochs", f"{text(r['epochs'])} committed, {text(r['epochs_per_s'], digits=0)} per second"),
        ("dirty pages", f"{text(r['dirty_pages_p50'])} per epoch (p50)"),
        ("guest paused", f"{text(r['pause_ms_p50'])} ms per epoch (p50), {text(r['pause_ms_p99'], 'ms')} (p99)"),
        ("bytes sent", f"{100 * r['ratio']:.1f} % of the dirty pages' bytes" if r["ratio"] is not None else "?"),
        ("latency", f"{text(r['latency_ms_p50'])} ms p50, {text(r['latency_ms_p99'])} ms p99 protected; "
                    f"{text(r['latency_unprotected_ms_p50'])} / {text(r['latency_unprotected_ms_p99'])} ms unprotected"),
        ("throughput", f"{text(r['requests_per_s'], digits=0)} replies/s protected, "
                       f"{text(r['requests_unprotected_per_s'], digits=0)} unprotected (one request at a time: it waits for each commit)"
                       if r["depth"] == 1 else
                       f"{text(r['requests_per_s'], digits=0)} replies/s protected, {text(r['requests_unprotected_per_s'], digits=0)} unprotected, depth {r['depth']}"),
    ]
    if r["owner_after"] and r["requests_after_per_s"]:
        rows.append(("afterwards", f"{text(r['requests_after_per_s'], digits=0)} replies/s from {r['owner_after']}, "
                                   "unprotected until it is given a standby again"))
    for name, words in rows:
        print(f"  {name:13} {words}")


def write_json(path, obj):
    if path:
        with open(path, "w") as f:
            json.dump(obj, f, indent=1)
            f.write("\n")


def one(args):
    r = figures(args.dir, args.kill_ns)
    broken = [words for kept, words in promises(r) if not kept]
    r["broken"] = broken
    print_story(args.dir, args.kill_ns, args.kill_took_ns, r)
    print("\nResult")
    print_figures(r)
    for words in broken:
        print(f"  BROKEN        {words}")
    write_json(args.json, r)
    return 1 if broken else 0


def runs(args):
    results = [load(p) for p in args.files]
    good = [r for r in results if r and not r.get("broken")]
    out = {"runs": len(results), "runs_good": len(good),
           "connection_survived": bool(results) and all(r.get("connection_survived") for r in results)}
    for key in BROKEN_COUNTS:
        out[key] = sum(r.get(key) or 0 for r in results)
    for key in MEDIANS:
        values = [r[key] for r in results if r.get(key) is not None]
        out[key] = statistics.median(values) if values else None
        out[f"{key}_min"], out[f"{key}_max"] = (min(values), max(values)) if values else (None, None)
    out["each"] = results
    write_json(args.json, out)
    print(f"{len(good)} of {len(results)} runs kept every promise; "
          f"lost {out['lost']}, repeated {out['repeated']}, out of order {out['out_of_order']}")
    for key, unit in (("detect_ms", "ms"), ("failover_ms", "ms"), ("pause_ms_p50", "ms"), ("latency_ms_p50", "ms")):
        print(f"  {key:16} median {text(out[key], unit)}, {text(out[key + '_min'])} to {text(out[key + '_max'], unit)}")
    return 0 if results and len(good) == len(results) else 1


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    p = verbs.add_parser("one")
    p.add_argument("--dir", required=True)
    p.add_argument("--kill-ns", type=int, required=True)
    p.add_argument("--kill-took-ns", type=int, default=0)
    p.add_argument("--json")
    p.set_defaults(run=one)
    p = verbs.add_parser("runs")
    p.add_argument("--json")
    p.add_argument("files", nargs="+")
    p.set_defaults(run=runs)
    args = parser.parse_args()
    sys.exit(args.run(args))


main()
