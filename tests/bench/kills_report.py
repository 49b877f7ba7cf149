"""kills_report - prints the faults and figures of bench_kills.

kills_report.py client STATUS        print a line of JSON: the faults in a client's STATUS file (db_client.py)
kills_report.py image KIND TEXT      print such a line for an image: KIND fsck or db, TEXT what is wrong with it
kills_report.py service REPORT       print such a line for the client of the test service, if it saw a fault
kills_report.py rest FILE COMMIT KIND=N...
    Print how many kills of each kind are left, as KIND=N, if N are wanted in all and FILE has the result of earlier
    sittings. Exit: 1 if FILE is no such result, or is of another commit.
kills_report.py report FAULTS GAPS --commit TEXT [--json FILE] [--add FILE] [--seed N] [--images N] [--ended TEXT]
                       [--quiet] [KIND=N...]
    FAULTS has such lines, GAPS a line `KIND MS` for each kill and client. --add has the result of earlier sittings.
    Prints the sum (not with --quiet) and writes it as JSON.
    Exit: 0 no fault in any sitting, and all wanted kills are made; else 1.
"""
import argparse
import json
import os
import statistics
import sys

KEYS = ("lost", "reordered", "torn", "fsck_bad", "db_bad", "connections_lost")
HARMLESS = ("interrupted", "running, or killed")  # ends of a sitting that say nothing against Holdfast


def fault(text, **counts):
    return {**dict.fromkeys(KEYS, 0), **counts, "text": text}


def of_client(path):
    with open(path, encoding="ascii") as f:
        status = json.load(f)
    text = f"{status['database']}: {status['fault']}"
    if status["state"] == "connection lost":
        return fault(text, connections_lost=1)
    counts = {key: status[key] for key in ("lost", "reordered", "torn")}
    if status["fault"] and not any(counts.values()):
        return fault(text, db_bad=1)
    if not status["fault"] and status["state"] != "done":
        return fault(f"{status['database']}: the client ended when {status['state']}", connections_lost=1)
    return fault(text, **counts)


def of_image(kind, text):
    try:
        found = json.loads(text)
        counts = {key: found[key] for key in ("lost", "reordered", "torn")}
        counts["db_bad"] = found["bad"]
    except (ValueError, KeyError, TypeError):
        counts = {f"{kind}_bad": 1}
    return fault(text[-400:], **counts)


def of_service(path):
    try:
        with open(path, encoding="utf-8") as f:
            d = json.load(f)
    except (OSError, ValueError) as error:
        return fault(f"the test service's client: {error}", connections_lost=1)
    return fault("the test service's client", connections_lost=int(not d["connection_survived"]),
                 lost=d["lost"] + d["forgotten"], reordered=d["out_of_order"] + d["repeated"], torn=d["corrupt"])


def kinds_of(words):
    """Return {kind: number} of words KIND=N."""
    return {kind: int(n) for kind, n in (word.split("=") for word in words)}


def load(path, commit):
    """Return the result of earlier sittings, or None without @path. End the program if it cannot be added to a result of
    @commit."""
    if not path:
        return None
    try:
        with open(path, encoding="ascii") as f:
            result = json.load(f)
        commits = {sitting["commit"] for sitting in result["sittings"]}
        _ = [result[key] for key in KEYS + ("gaps_ms", "kills_by_kind", "images_checked", "faults")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"kills_report: {path} is no result of `tests/bench/run kills` that can be continued: {error!r}; "
                 "begin with another file")
    if commits != {commit}:
        sys.exit(f"kills_report: {path} is of commit {', '.join(sorted(commits))}, but this tree is at {commit}; "
                 "check out that commit, or begin with another file")
    return result


def rest(path, commit, *words):
    made = load(path, commit)["kills_by_kind"]
    print(*(f"{kind}={max(0, n - made.get(kind, 0))}" for kind, n in kinds_of(words).items()))


def figures(options):
    """Return the result of this sitting and of those before it."""
    with open(options.faults, encoding="ascii") as f:
        faults = [json.loads(line) for line in f]
    gaps = {}
    with open(options.gaps, encoding="ascii") as f:
        for kind, ms in (line.split() for line in f):
            gaps.setdefault(kind, []).append(float(ms))
    kinds = {kind: len(values) // 2 for kind, values in gaps.items()}  # a line for each of two clients
    sums = {key: sum(f[key] for f in faults) for key in KEYS}
    texts = [f["text"] for f in faults if any(f[key] for key in KEYS)]
    sittings = [{"commit": options.commit, "seed": options.seed, "kills": sum(kinds.values()),
                 "ended_early": options.ended}]
    images = options.images
    before = load(options.add, options.commit)
    if before:
        sums = {key: before[key] + n for key, n in sums.items()}
        for kind, values in before["gaps_ms"].items():
            gaps[kind] = values + gaps.get(kind, [])
            kinds[kind] = before["kills_by_kind"][kind] + kinds.get(kind, 0)
        texts = before["faults"] + texts
        sittings = before["sittings"] + sittings
        images += before["images_checked"]
    return {
        "kills": sum(kinds.values()), **sums, "kills_by_kind": kinds, "wanted_by_kind": kinds_of(options.wanted),
        "gap_ms": {kind: {"median": statistics.median(values), "worst": max(values)} for kind, values in gaps.items()},
        "images_checked": images, "seed": options.seed, "faults": texts, "ended_early": options.ended,
        "sittings": sittings, "gaps_ms": gaps}


def show(result):
    print(f"{result['kills']} kills: " + ", ".join(f"{key} {result[key]}" for key in KEYS) +
          f"; {result['images_checked']} images checked")
    for kind, wanted in result["wanted_by_kind"].items():
        gap = result["gap_ms"].get(kind)
        print(f"  {kind:8} {result['kills_by_kind'].get(kind, 0):3} of {wanted} kills" + (
            f", longest time without an acknowledgement: median {gap['median']:.0f} ms, worst {gap['worst']:.0f} ms"
            if gap else ""))
    for text in result["faults"]:
        print(f"  broken: {text}")
    for n, sitting in enumerate(result["sittings"], 1):
        if sitting["ended_early"]:
            print(f"  sitting {n} of {len(result['sittings'])} ended early: {sitting['ended_early']}")


def is_good(result):
    """Succeed if nothing was broken, no sitting failed, and all wanted kills are made."""
    return not any(result[key] for key in KEYS) and \
        all(sitting["ended_early"] in ("", *HARMLESS) for sitting in result["sittings"]) and \
        all(result["kills_by_kind"].get(kind, 0) >= n for kind, n in result["wanted_by_kind"].items())


def publish(options, result, text, good):
    """Write the result as JSON, print it with @text, and return the exit status: @good says whether it is good."""
    if options.json: # replaces the file at once: it may hold the sum of earlier sittings
        with open(options.json + ".new", "w", encoding="ascii") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
        os.replace(options.json + ".new", options.json)
    if not options.quiet:
        text(result)
    return 0 if good(result) else 1


def report(options):
    return publish(options, figures(options), show, is_good)


def main():
    lines = {"client": of_client, "image": of_image, "service": of_service}
    if len(sys.argv) > 2 and sys.argv[1] in lines:
        print(json.dumps(lines[sys.argv[1]](*sys.argv[2:])))
        return 0
    if len(sys.argv) > 3 and sys.argv[1] == "rest":
        return rest(*sys.argv[2:])
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=("report",))
    parser.add_argument("faults")
    parser.add_argument("gaps")
    parser.add_argument("wanted", nargs="*")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--json")
    parser.add_argument("--add")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--ended", default="")
    parser.add_argument("--quiet", action="store_true")
    return report(parser.parse_intermixed_args())


if __name__ == "__main__":
    sys.exit(main())
