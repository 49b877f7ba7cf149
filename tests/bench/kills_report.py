"""kills_report - prints the faults and figures of bench_kills.

kills_report.py client STATUS        print a line of JSON: the faults in a client's STATUS file (db_client.py)
kills_report.py image KIND TEXT      print such a line for an image: KIND fsck or db, TEXT what is wrong with it
kills_report.py service REPORT       print such a line for the client of the test service, if it saw a fault
kills_report.py report FAULTS GAPS [--json FILE] [--seed N] [--images N] [--ended TEXT]
    FAULTS has such lines, GAPS a line `KIND MS` for each kill and client. Prints the result and writes it as JSON.
    Exit: 0 no fault; 1 a fault, or the run ended early (--ended says why).
"""
import argparse
import json
import statistics
import sys

KEYS = ("lost", "reordered", "torn", "fsck_bad", "db_bad", "connections_lost")


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


def figures(options):
    with open(options.faults, encoding="ascii") as f:
        faults = [json.loads(line) for line in f]
    kinds, gaps = {}, {}
    with open(options.gaps, encoding="ascii") as f:
        for kind, ms in (line.split() for line in f):
            gaps.setdefault(kind, []).append(float(ms))
    for kind, values in gaps.items():
        kinds[kind] = len(values) // 2  # a line for each of two clients
    result = {"kills": sum(kinds.values()), **{key: sum(f[key] for f in faults) for key in KEYS}}
    result["kills_by_kind"] = kinds
    result["gap_ms"] = {kind: {"median": statistics.median(values), "worst": max(values)}
                        for kind, values in gaps.items()}
    result["images_checked"] = options.images
    result["seed"] = options.seed
    result["faults"] = [f["text"] for f in faults if any(f[key] for key in KEYS)]
    result["ended_early"] = options.ended
    return result


def report(options):
    result = figures(options)
    print(f"{result['kills']} kills: " + ", ".join(f"{key} {result[key]}" for key in KEYS) +
          f"; {result['images_checked']} images checked")
    for kind, gap in result["gap_ms"].items():
        print(f"  {kind:8} {result['kills_by_kind'][kind]:3} kills, longest time without an acknowledgement: "
              f"median {gap['median']:.0f} ms, worst {gap['worst']:.0f} ms")
    for text in result["faults"]:
        print(f"  broken: {text}")
    if options.ended:
        print(f"  ended early: {options.ended}")
    if options.json:
        with open(options.json, "w", encoding="ascii") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
    return 1 if options.ended or any(result[key] for key in KEYS) else 0


def main():
    verbs = {"client": of_client, "image": of_image, "service": of_service}
    if len(sys.argv) > 2 and sys.argv[1] in verbs:
        print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])))
        return 0
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=("report",))
    parser.add_argument("faults")
    parser.add_argument("gaps")
    parser.add_argument("--json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--ended", default="")
    return report(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
