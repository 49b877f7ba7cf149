"""detector_run - runs the trials of bench_detector one after the other, on as few clusters as
possible.

usage: detector_run.py --trials N --deaths N --partitions N --seed N --minutes N --shadow-ms N --rows FILE
                       --only NAME,...
The shell script bench_detector starts this program and carries out its orders, with the libraries of
deploy/lib and tests/fault. The orders (`fresh`, `reboot HOST`, `protect`) go to stdout. The script
answers each with a line of JSON on stdin. One JSON object per trial goes to FILE.
Exit: 0 if all trials were made, else 1.
"""
import argparse
import json
import random
import re
import sys
import time

import detector_trials as trials
from detector_world import World, wall_offset_ns

DETECT_LIMIT_S = 10.0	# a death not noticed within this time counts as missed
AFTER_S = 30.0		# a cluster that has not recovered within this time is replaced
OLD_OWNER_MS = 400	# how long to listen for frames of an old owner after its links are repaired
RECENT_REPLIES = 3	# this many new replies show that the client is served again
LONG_SEAL_MS = (300, 2500)


class Broken(Exception):
    """The cluster cannot be used any more."""


class Control:
    """The shell script that carries out orders."""

    @staticmethod
    def ask(*words):
        print(*words, flush=True)
        line = sys.stdin.readline()
        if not line:
            sys.exit("bench_detector: the shell is gone")
        answer = json.loads(line)
        if "failed" in answer:
            raise Broken(f"{words[0]}: {answer['failed']}")
        return answer


def silences(events):
    """Returns the silences of beats that the events of kind "shadow" report, each as [begin_ns,
    length_ms]. length_ms is None if the silence has not ended."""
    found = []
    for e in (e for e in events if e["kind"] == "shadow"):
        begun = re.search(r"none from (\w+) for (\d+) ms", e["text"])
        ended = re.search(r"beats from (\w+) again after (\d+) ms", e["text"])
        if begun:
            found.append([e["mono_ns"] - int(begun[2]) * 10 ** 6, None])
        elif ended and found and found[-1][1] is None:
            found[-1][1] = int(ended[2])
        elif ended:
            found.append([e["mono_ns"] - int(ended[2]) * 10 ** 6, int(ended[2])])
    return found


def split_brain(world, old, new, promoting_wall_ns):
    """Judges from the captures whether two owners sent frames in this trial. Returns a tuple: the
    faults, the first wrong frames, the old owner's number of frames, the new owner's number of
    frames, and the ms from the old owner's last frame to the new owner's first. No tolerance is
    needed: a frame's time stamp says when the frame left its host."""
    spoke, before = {}, {}
    for host in (old, new):
        spoke[host], before[host] = world.capture["c-" + host].take()
    wrong, frames = [], []
    for host in (old, new):
        if stray := world.capture["b-" + host].take()[0]:
            wrong.append(f"{len(stray)} frames of the guest on the backup network")
            frames += stray
    begin_ns = spoke[new][0][0] if spoke[new] else None
    if begin_ns and (promoting_wall_ns is None or begin_ns < promoting_wall_ns):
        wrong.append(f"{new} spoke without, or before, a promotion")
        frames += spoke[new]
    late = [f for f in spoke[old] if begin_ns and f[0] > begin_ns]
    if late:
        wrong.append(f"{len(late)} frames of {old} after the first of {new}, up to "
                     f"{(late[-1][0] - begin_ns) / 1e6:.1f} ms")
        frames += late
    last_ns = spoke[old][-1][0] if spoke[old] else before[old]
    margin_ms = (begin_ns - last_ns) / 1e6 if begin_ns and last_ns else None
    return (wrong, [f"{ns} {data.hex()}" for ns, data in frames[:20]], len(spoke[old]), len(spoke[new]),
            margin_ms)


def unseen(world):
    """Returns the hosts whose clock jumped without an effect on their daemons."""
    stamped_s = [(e["wall"] - e["mono_ns"] - wall_offset_ns()) / 1e9 for e in world.events]
    return [host for host, by_s, n_daemon, _ in world.jumps if n_daemon == 0 or (
        host == "gateway" and not any(abs(s - by_s) < 0.5 for s in stamped_s))]


class Bench:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.control = Control()
        self.world = None
        self.n_clusters = 0
        self.reports = []
        self.rows = open(args.rows, "w", encoding="ascii")
        self.begun = time.monotonic()

    # --- clusters ---

    def draw_seal(self):
        return round(self.rng.uniform(*LONG_SEAL_MS))

    def fresh(self):
        self.close()
        self.n_clusters += 1
        seal_ms = {host: self.draw_seal() for host in ("primary", "standby")}
        facts = self.control.ask("fresh", seal_ms["primary"], seal_ms["standby"])
        self.world = World(facts)
        self.world.seal_ms, self.world.strike = seal_ms, facts["strike"]
        if not self.world.until(lambda: self.world.client.connected, 90):
            raise Broken("no connection to the guest")
        self.protect()

    def close(self):
        if self.world:
            self.reports.append(self.world.close())
            self.world = None

    def protect(self):
        self.control.ask("protect")
        replies = self.world.client.replies + 3 * RECENT_REPLIES
        if not self.world.until(lambda: self.world.is_served(replies), AFTER_S):
            raise Broken(f"not served after protect: {self.world.state} {self.world.detector}")

    def make_whole(self):
        """Repair the cluster after a promotion: kill the old host, reboot it as the next standby, and
        protect the guest again."""
        world, host = self.world, self.world.on
        world.kill_host(host)
        world.switch.heal()
        world.seal_ms[host] = self.draw_seal()
        self.control.ask("reboot", host, world.seal_ms[host])
        world.swap()
        self.protect()

    # --- trials ---

    def begin_trial(self):
        world = self.world
        world.switch.take_lost()
        world.pump(0)
        for capture in world.capture.values():
            capture.take()
        world.events.clear()
        world.jumps, world.pauses = [], []

    def record(self, row, promoting):
        world = self.world
        world.pump(0)
        row["close_ns"] = time.monotonic_ns()
        row["wrong"], row["wrong_frames"], row["frames_old"], row["frames_new"], row["margin_ms"] = \
            split_brain(world, world.on, world.off, promoting and promoting["mono_ns"] + wall_offset_ns())
        row["frames_lost"] = world.switch.take_lost()
        row["frames_waited"], world.n_shaped = world.n_shaped, 0
        row["silences"] = silences(world.events)
        row["events"] = [{k: e[k] for k in ("mono_ns", "kind", "from", "to", "text")}
                         for e in world.events if e["kind"] in ("state", "liveness", "supervision")]
        row["client_broken"] = world.client.broken
        row["jumps"], row["pauses"] = world.jumps, world.pauses
        row["unseen"] = unseen(world)
        print(json.dumps(row), file=self.rows, flush=True)
        self.tell(row)

    def tell(self, row):
        verdict = {True: "FALSE PROMOTION", False: "no promotion"}.get(row.get("promoted"))
        if row["what"] == "partition" and row["promoted"]:
            verdict = "promoted"
        if row["what"] == "death":
            verdict = "MISSED" if row["detect_ms"] is None else f"detected after {row['detect_ms']:.0f} ms"
        silent = " and ".join(str(ms or "on and on") for _, ms in row["silences"]) or 0
        print(f"{time.monotonic() - self.begun:6.0f} s  {row['what']} {row['n']}: {row['kind']} "
              f"{row['ms']:.0f} ms: {verdict}; beats silent {silent} ms, frames lost {row['frames_lost']}, "
              f"waited {row['frames_waited']}"
              + "".join(f"; clock of {host} {by_s:+.0f} s, read {n} + {n_other} times"
                        for host, by_s, n, n_other in row["jumps"])
              + "".join(f"; the jump was not seen by {host}" for host in row["unseen"])
              + "; THE GUEST DID NOT STAY PAUSED" * row["pauses"].count(False)
              + "".join(f"; WRONG: {w}" for w in row["wrong"])
              + "".join(f"; {e['text']}" for e in row["events"] if e["to"] == "PROMOTING" and "promoted" in row)
              + ("; the client's connection broke" if row["client_broken"] else ""), file=sys.stderr)

    def of(self, table):
        return [row for row in table if not self.args.only or row.name in self.args.only]

    def draw(self, table):
        """Draws a disturbance or partition. Returns its name and a list of (row, length in ms). All
        rows of the list are to be run at the same time."""
        table = self.of(table)
        row = self.rng.choices(table, [r.weight for r in table])[0]
        rows = [row]
        if row.run is None:
            singles = [r for r in trials.DISTURBANCES if r.run]
            rows = [self.rng.choice(singles)]
            rows.append(self.rng.choice([r for r in singles if not r.touches & rows[0].touches]))
        return row.name, [(r, self.rng.uniform(r.low_ms, r.high_ms)) for r in rows]

    def play(self, drawn):
        """Run the rows of @drawn at the same time. Each runs in steps, for at most its length."""
        world = self.world
        begun = time.monotonic()
        running = []
        try:
            for row, ms in drawn:
                running.append([row.run(world, self.rng, ms), begun, begun + ms / 1000])
            while running:
                running.sort(key=lambda step: min(step[1], step[2]))
                step = running[0]
                world.wait_ms((min(step[1], step[2]) - time.monotonic()) * 1000)
                ended = time.monotonic() >= step[2]
                if not ended:
                    wait_ms = next(step[0], None)
                    ended = wait_ms is None
                    step[1] = time.monotonic() + (wait_ms or 0) / 1000
                if ended:
                    step[0].close()
                    running.remove(step)
        finally:
            for step in running:
                step[0].close()
        return (time.monotonic() - begun) * 1000

    def disturb(self, n, what):
        world = self.world
        name, drawn = self.draw(trials.DISTURBANCES if what == "disturbance" else trials.PARTITIONS)
        self.begin_trial()
        row = {"what": what, "n": n, "kind": name,
               "parts": [[r.name, round(ms) if ms < trials.FOREVER_MS else world.seal_ms[world.on]]
                         for r, ms in drawn]}
        row["start_ns"] = time.monotonic_ns()
        row["ms"] = self.play(drawn)
        row["end_ns"] = time.monotonic_ns()
        replies = world.client.replies + RECENT_REPLIES
        well = world.until(lambda: world.is_served(replies) or world.is_promoted(0) or
                           world.state == "UNPROTECTED", AFTER_S)
        # Wait a moment longer: some effects show only after the client is served again.
        world.wait_ms(self.rng.uniform(50, 200))
        row["recovery_ms"] = (time.monotonic_ns() - row["end_ns"]) / 1e6
        promoting = next((e for e in world.events if e["to"] == "PROMOTING"), None)
        row["promoted"] = promoting is not None
        if promoting:
            well = world.until(lambda: world.state == "UNPROTECTED" and
                               world.client.replies >= replies + 20, AFTER_S)
            world.wait_ms(OLD_OWNER_MS)
        row["unprotected"] = world.state == "UNPROTECTED" and not promoting
        row["stuck"] = not well
        self.record(row, promoting)
        if not well or world.client.broken:
            raise Broken(f"after {name}: {world.state} {world.detector}")
        if promoting:
            self.make_whole()
        elif world.state == "UNPROTECTED":
            self.protect()

    def kill(self, n, death):
        world = self.world
        self.begin_trial()
        row = {"what": "death", "n": n, "kind": death.name, "sets_rival": death.sets_rival}
        replies = world.client.replies
        row["start_ns"] = death.strike(world)
        world.until(lambda: world.is_promoted(0), DETECT_LIMIT_S)
        promoting = next((e for e in world.events if e["to"] == "PROMOTING"), None)
        row["detect_ms"] = (promoting["mono_ns"] - row["start_ns"]) / 1e6 if promoting else None
        well = promoting and world.until(
            lambda: world.state == "UNPROTECTED" and world.client.replies > replies + 20, AFTER_S)
        if promoting and death.undo:
            death.undo(world)
            world.wait_ms(OLD_OWNER_MS)
        row["end_ns"] = time.monotonic_ns()
        row["ms"] = (row["end_ns"] - row["start_ns"]) / 1e6
        row["stuck"] = not well
        self.record(row, promoting)
        if not well or world.client.broken:
            raise Broken(f"after {death.name}: {world.state} {world.detector}")
        self.make_whole()

    def plan(self):
        """Returns a list of (what, death or None), one per trial. Deaths and partitions are spread
        evenly among the disturbances, and each kind of death occurs equally often."""
        deaths = self.of(trials.DEATHS)
        order = [deaths[i % len(deaths)] for i in range(self.args.deaths)] if deaths else []
        self.rng.shuffle(order)
        groups = [[("death", d) for d in order]]
        for what, table, n in (("disturbance", trials.DISTURBANCES, self.args.trials),
                               ("partition", trials.PARTITIONS, self.args.partitions)):
            groups.append([(what, None)] * (n if self.of(table) else 0))
        return [step for _, step in sorted(
            (((i + 0.5) / len(group), step) for group in groups for i, step in enumerate(group)),
            key=lambda placed: placed[0])]

    def run(self):
        n_failed = 0
        n = {"disturbance": 0, "partition": 0, "death": 0}
        for what, death in self.plan():
            if time.monotonic() - self.begun > self.args.minutes * 60:
                print("bench_detector: the time is over", file=sys.stderr)
                break
            n[what] += 1
            try:
                if not self.world:
                    self.fresh()
                if death:
                    self.kill(n[what], death)
                else:
                    self.disturb(n[what], what)
            except Broken as why:
                n_failed += 1
                print(f"bench_detector: a fresh cluster, since {why}", file=sys.stderr)
                self.rows.write(json.dumps({"what": "broken", "why": str(why)}) + "\n")
                self.close()
                if n_failed > 3 + sum(n.values()) // 20:
                    raise
        dropped = sum(c.n_dropped() for c in self.world.capture.values()) if self.world else 0
        self.close()
        self.rows.write(json.dumps({
            "what": "run", "seed": self.args.seed, "clusters": self.n_clusters,
            "shadow_ms": self.args.shadow_ms, "capture_dropped": dropped,
            "minutes": (time.monotonic() - self.begun) / 60, "clients": self.reports}) + "\n")
        self.rows.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("trials", "deaths", "partitions", "seed", "shadow-ms"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--only", type=lambda text: set(filter(None, text.split(","))), default=set())
    args = parser.parse_args()
    known = {r.name for r in trials.DISTURBANCES + trials.PARTITIONS} | {d.name for d in trials.DEATHS}
    if not args.only <= known:
        sys.exit(f"bench_detector: --only takes of {' '.join(sorted(known))}")
    bench = Bench(args)
    try:
        bench.run()
    finally:
        bench.close()


main()
