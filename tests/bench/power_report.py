"""Helps bench_power.

power_report.py has redis|sqlite HOST:PORT
    Prints how many writes the database has. Exit 1: it does not answer.
power_report.py report ROWS CYCLES [JSON]
    Prints one line about the rows so far, and writes the JSON. A row: cycle, kind, owner, served, twice, hands, ms until
    served, then acknowledged and found writes of redis and of sqlite. Exit 1: something was lost, not started, or started
    twice.
"""
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import db_client  # noqa: E402, pylint: disable=wrong-import-position


def has(name, where):
    try:
        print(db_client.DATABASES[name](db_client.Connection(where, 3)).start())
    except (OSError, RuntimeError, ValueError, db_client.Lost):
        return 1
    return 0


def read_rows(path):
    rows = []
    with open(path, encoding="ascii") as file:
        for line in file:
            cycle, kind, owner, *numbers = line.split()
            served, twice, hands, ms, acked_redis, redis, acked_sqlite, sqlite = map(int, numbers)
            lost = max(0, acked_redis - redis) + max(0, acked_sqlite - sqlite) if served else 0
            rows.append({"cycle": int(cycle), "kind": kind, "owner": owner, "started": bool(served),
                         "twice": bool(twice), "by_hand": hands, "service_s": ms / 1000, "lost": lost,
                         "acked": [acked_redis, acked_sqlite], "found": [redis, sqlite]})
    return rows


def summarize(rows, cycles):
    seconds = [row["service_s"] for row in rows if row["started"]]
    return {"cycles": len(rows), "cycles_wanted": cycles, "started": sum(row["started"] for row in rows),
            "twice": sum(row["twice"] for row in rows), "lost": sum(row["lost"] for row in rows),
            "by_hand": sum(row["by_hand"] for row in rows),
            "service_s_p50": round(statistics.median(seconds), 1) if seconds else None,
            "service_s_max": round(max(seconds), 1) if seconds else None, "rows": rows}


def report(path, cycles, json_path=None):
    rows = read_rows(path)
    result = summarize(rows, int(cycles))
    if json_path:
        with open(json_path, "w", encoding="ascii") as file:
            json.dump(result, file, indent=1)
    last = rows[-1]
    print(f"{last['cycle']} {last['kind']}: on {last['owner']} after {last['service_s']:.1f} s, "
          f"{last['lost']} lost; so far {result['started']} of {result['cycles']} started, {result['twice']} twice, "
          f"{result['lost']} lost, {result['by_hand']} by hand", flush=True)
    is_bad = result["started"] < len(rows) or result["twice"] or result["lost"]
    return int(bool(is_bad))


if __name__ == "__main__":
    sys.exit({"has": has, "report": report}[sys.argv[1]](*sys.argv[2:]))
