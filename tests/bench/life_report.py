"""life_report - measures for bench_life, and prints its faults and figures.

life_report.py when STATE                print CLOCK_REALTIME in ns of the newest change to STATE, from the lines of
                                         `holdfastctl --json events` on stdin
life_report.py changed IMAGE IMAGE       print how many bytes of 4 KiB blocks differ between two images
life_report.py sample CYCLE DIR PINS IMAGES NAMESPACES DEVICES NAME=PID...
    Print a line of JSON: memory and descriptors of the daemons, and what the hosts have on their tmpfs (DIR), as BPF
    pins (PINS) and as disk logs (all in IMAGES that is no image).
life_report.py report ROWS SAMPLES FAULTS --commit TEXT --cycles N [--json FILE] [--ended TEXT] [--quiet] [--ask]
    ROWS has a line of JSON for each cycle, SAMPLES such lines as above, FAULTS those of kills_report.py. Prints the
    result (not with --quiet) and writes it as JSON.
    Exit: 0 no fault, all cycles are made, and, without --ask, no command was given; else 1.
"""
import argparse
import json
import os
import statistics
import sys

from kills_report import KEYS, publish

BLOCK, CHUNK = 4096, 1 << 16
GROWTH = ("rss_kb", "fds", "tmpfs_kb", "disk_log_kb", "pins", "namespaces", "devices")
RESYNC = {"bytes": "ring_bytes", "changed_bytes": "changed_bytes", "written_bytes": "written_bytes",
          "sent_bytes": "sent_bytes"}  # by their names in the rows


def when(state):
    found = 0
    for line in sys.stdin:
        event = json.loads(line)
        if event.get("kind") == "state" and event.get("to") == state:
            found = event["wall"]
    print(found)


def changed(one, other):
    n = 0
    with open(one, "rb") as a, open(other, "rb") as b:
        while True:
            x, y = a.read(CHUNK), b.read(CHUNK)
            if x != y:
                n += sum(x[i:i + BLOCK] != y[i:i + BLOCK] for i in range(0, max(len(x), len(y)), BLOCK))
            if not x and not y:
                break
    print(n * BLOCK)


def kb_of(path, without=()):
    """Return the KiB that the files below the directory take, and how many there are."""
    kb = n = 0
    for directory, _, names in os.walk(path):
        for name in names:
            if name.endswith(without or "\0"):
                continue
            try:
                kb += os.lstat(os.path.join(directory, name)).st_blocks // 2
                n += 1
            except OSError:
                pass  # it is gone
    return kb, n


def daemon(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss_kb = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return {"rss_kb": rss_kb, "fds": len(os.listdir(f"/proc/{pid}/fd"))}


def sample(cycle, directory, pins, images, namespaces, devices, *daemons):
    each = {name: daemon(pid) for name, pid in (word.split("=") for word in daemons)}
    print(json.dumps({
        "cycle": int(cycle), "rss_kb": sum(d["rss_kb"] for d in each.values()), "fds": sum(d["fds"] for d in each.values()),
        "tmpfs_kb": kb_of(directory)[0], "disk_log_kb": kb_of(images, (".raw", ".qcow2"))[0], "pins": kb_of(pins)[1],
        "namespaces": int(namespaces), "devices": int(devices), "daemons": each}))


def lines(path):
    with open(path, encoding="ascii") as f:
        return [json.loads(line) for line in f]


def percentile(values, share):
    """Return the smallest value that at least @share of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def figures(options):
    rows, samples, faults = lines(options.rows), lines(options.samples), lines(options.faults)
    result = {"benchmark": "life", "cycles": len(rows), "wanted": options.cycles, "ask": options.ask,
              "by_hand": sum(r["hands"] for r in rows), **{key: sum(f[key] for f in faults) for key in KEYS}}
    for name in ("unprotected_s", "back_to_protected_s"):
        values = [r[name] for r in rows]
        result[f"{name}_p50"] = percentile(values, 0.5) if values else None
        result[f"{name}_p99"] = percentile(values, 0.99) if values else None
    result["resync"] = {key: statistics.median(r[name] for r in rows) if rows else None for key, name in RESYNC.items()}
    result["growth"] = {key: samples[-1][key] - samples[0][key] if samples else None for key in GROWTH}
    result.update(commit=options.commit, ended_early=options.ended, samples=samples, rows=rows,
                  faults=[f["text"] for f in faults if any(f[key] for key in KEYS)])
    return result


def show(result):
    print(f"{result['cycles']} of {result['wanted']} cycles, {result['by_hand']} commands given by hand: " +
          ", ".join(f"{key} {result[key]}" for key in KEYS))
    for row in result["rows"]:
        print(f"  {row['cycle']:3} {row['kind']:4} to {row['owner']:5} unprotected {row['unprotected_s']:6.1f} s, "
              f"{row['back_to_protected_s']:6.1f} s after the host was back; hands {row['hands']}; "
              f"clients waited {row['gap_ms'] / 1000:5.1f} s; disk: changed {row['changed_bytes'] / 2 ** 20:6.1f} MiB, "
              f"into the ring {row['ring_bytes'] / 2 ** 20:6.1f} MiB; sent {row['sent_bytes'] / 2 ** 20:6.1f} MiB")
    for s in result["samples"]:
        print(f"  cycle {s['cycle']:3}: " + ", ".join(f"{key} {s[key]}" for key in GROWTH) +
              "; " + ", ".join(f"{name} {d['rss_kb']} KiB {d['fds']} fds" for name, d in s["daemons"].items()))
    if result["rows"]:
        print(f"unprotected: p50 {result['unprotected_s_p50']:.1f} s, p99 {result['unprotected_s_p99']:.1f} s; "
              f"after the host was back: p50 {result['back_to_protected_s_p50']:.1f} s, "
              f"p99 {result['back_to_protected_s_p99']:.1f} s")
    for text in result["faults"]:
        print(f"  broken: {text}")
    if result["ended_early"]:
        print(f"  ended early: {result['ended_early']}")


def is_good(result):
    return not any(result[key] for key in KEYS) and not result["ended_early"] and \
        result["cycles"] >= result["wanted"] and (result["ask"] or not result["by_hand"])


def report(words):
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("rows", "samples", "faults"):
        parser.add_argument(name)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--cycles", type=int, required=True)
    parser.add_argument("--json")
    parser.add_argument("--ended", default="")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--ask", action="store_true")
    options = parser.parse_args(words)
    return publish(options, figures(options), show, is_good)


def main():
    verbs = {"when": when, "changed": changed, "sample": sample}
    if len(sys.argv) > 2 and sys.argv[1] in verbs:
        return verbs[sys.argv[1]](*sys.argv[2:])
    if len(sys.argv) > 2 and sys.argv[1] == "report":
        return report(sys.argv[2:])
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
