"""detector_trials - the tables of disturbances, partitions and deaths that bench_detector inflicts
on a protected guest.

During a disturbance the guest must stay on its host, and any promotion is false. After a death its
clients are no longer served, so the other host must be promoted.

A disturbance is a generator. Its first step begins the disturbance. Each `yield` gives the number of
milliseconds until the next step. When the disturbance's time has expired, detector_run.py closes the
generator, whose `finally` clause cleans up.
"""
import collections
import contextlib
import math
import os
import signal
import time

Row = collections.namedtuple("Row", "name weight low_ms high_ms touches run")
Death = collections.namedtuple("Death", "name sets_rival strike undo")

FOREVER_MS = 10 ** 7
DAY_S = 86400


# --- disturbances ---

def named_cuts(world, cuts):
    """Returns @cuts with the hosts' names in place of "on" (the host that runs the guest) and "off"
    (the other host). Leaves out cuts at a port that does not exist: a gateway may have no port on the
    client network."""
    host = {"on": world.on, "off": world.off}
    named = [(n, host.get(a, a), host.get(b, b)) for n, a, b in cuts]
    return [(n, a, b) for n, a, b in named if {f"{n}-{a}", f"{n}-{b}"} <= world.switch.ports.keys()]


def cutting(*cuts):
    """Returns a disturbance that loses all frames of each cut (network, from, to)."""
    def run(world, _rng, _ms):
        named = named_cuts(world, cuts)
        try:
            for cut in named:
                world.switch.lose(*cut)
            yield FOREVER_MS
        finally:
            for cut in named:
                world.switch.lose(*cut, 0)
    return run


def loss(world, rng, _ms):
    """Loses a random share of the frames from the primary to the gateway on the backup network."""
    to = ("b", world.on, "gateway")
    try:
        world.switch.lose(*to, rng.uniform(0.05, 0.6))
        yield FOREVER_MS
    finally:
        world.switch.lose(*to, 0)


def burst_loss(world, rng, _ms):
    """Cuts the primary and the gateway off from each other on the backup network, again and again,
    for short random periods."""
    both = (("b", world.on, "gateway"), ("b", "gateway", world.on))
    try:
        while True:
            for way in both:
                world.switch.lose(*way)
            yield rng.uniform(10, 250)
            for way in both:
                world.switch.lose(*way, 0)
            yield rng.uniform(10, 150)
    finally:
        for way in both:
            world.switch.lose(*way, 0)


def shape(world, host, *tbf):
    world.run_on(host, "tc", "qdisc", "replace", "dev", "bk0", "root", "tbf", *tbf)


def unshape(world, host):
    """Remove the shaper. Count the frames that it held back: the report must show whether the
    disturbance had an effect."""
    world.n_shaped += world.overlimits(host)
    world.run_on(host, "tc", "qdisc", "del", "dev", "bk0", "root")


def jitter(world, rng, _ms):
    """Holds back the primary's frames for a moment, then lets them all pass at once, again and again.
    None is lost."""
    host = world.on
    try:
        while True:
            shape(world, host, "rate", "8kbit", "burst", "2k", "limit", "8M")
            yield rng.uniform(20, 300)
            shape(world, host, "rate", "10gbit", "burst", "1M", "limit", "8M")
            yield rng.uniform(20, 150)
    finally:
        unshape(world, host)


def saturated(world, rng, _ms):
    """Lets the guest write more than the backup link carries. The link's queue is then full."""
    host = world.on
    try:
        world.client.say("rate 4000 2048")
        shape(world, host, "rate", f"{rng.choice((1, 2, 4, 8))}mbit", "burst", "8k", "limit",
              rng.choice(("64k", "256k")))
        yield FOREVER_MS
    finally:
        unshape(world, host)
        world.client.say("rate 200 64")


def flap(world, _rng, _ms):
    """Pulls the cable of the primary's backup interface."""
    port = "b-" + world.on
    try:
        world.switch.cable(port, False)
        yield FOREVER_MS
    finally:
        world.switch.cable(port, True)


def stopping(who):
    def run(world, _rng, _ms):
        pids = who(world)
        try:
            world.host[world.on].send(pids, signal.SIGSTOP)
            yield FOREVER_MS
        finally:
            world.host[world.on].send(pids, signal.SIGCONT)
    return run


def reset_connections(world, host):
    """Reset the host's TCP connections to the gateway: the control connection and the stream."""
    world.run_on(host, "ss", "-K", "dport", "=", "7400")


def reset(world, _rng, _ms):
    reset_connections(world, world.on)
    yield 50


def clock_jump(least_s, most_s):
    """Returns a disturbance that moves the wall clock of one host, or of all three, forward or back.
    At the end the clock is put right. Connections are reset after the jump: the daemons read the wall
    clock only when they make a connection."""
    def run(world, rng, _ms):
        moved = rng.choice(((world.on,), ("gateway",), (world.off,), (world.on, "gateway", world.off)))
        by_s = rng.choice((-1, 1)) * math.exp(rng.uniform(math.log(least_s), math.log(most_s)))
        try:
            for host in moved:
                world.clock[host].move(by_s)
            yield rng.uniform(0, 100)
            for host in (world.on, world.off):
                if host in moved or moved == ("gateway",):
                    reset_connections(world, host)
            yield FOREVER_MS
        finally:
            world.jumps += [[host, *world.clock[host].put_back()] for host in moved]
    return run


def paused(world, _rng, _ms):
    """Pauses the guest through a second monitor and resumes it later, as an operator does. In between
    the guest must stay paused. A seal in progress may resume it once. docs/operations.md tells the
    operator to check this and to pause the guest again."""
    monitor = world.monitor()
    again = False
    try:
        monitor.do("stop")
        monitor.events.clear()
        yield 50 # a seal in progress finishes
        monitor.do("query-status") # reads the events so far
        if "RESUME" in monitor.events: # look for the event: the status may be "paused" because of the next seal
            again = True
            monitor.do("stop")
            monitor.events.clear()
        yield FOREVER_MS
    finally:
        with contextlib.suppress(OSError): # if QEMU is gone, other checks report it
            status = monitor.do("query-status")["status"]
            kept = status == "paused" and "RESUME" not in monitor.events
            world.pauses.append("again" if kept and again else kept)
            monitor.do("cont")
        monitor.close()


def long_seal(world, _rng, _ms):
    """Makes one seal take long, with the guest stopped. The length of this seal was set when the
    agent started."""
    gate = world.strike[world.on]
    try:
        with open(gate, "wb"):
            pass
        yield 120 # a seal begins in this time, because an epoch is at most 100 ms long
        os.unlink(gate)
        yield world.seal_ms[world.on]
    finally:
        if os.path.exists(gate):
            os.unlink(gate)


def idle(world, rng, ms):
    """Stops the client, which then sends no requests. Meanwhile stops the agent for a moment."""
    pids = world.agent()
    try:
        world.client.stop(signal.SIGSTOP)
        yield rng.uniform(0, 200)
        world.host[world.on].send(pids, signal.SIGSTOP)
        yield rng.uniform(0, min(ms, 600))
        world.host[world.on].send(pids, signal.SIGCONT)
        yield FOREVER_MS
    finally:
        world.host[world.on].send(pids, signal.SIGCONT)
        world.client.stop(signal.SIGCONT)


def spin(end):
    while time.monotonic() < end:
        pass
    os._exit(0)


def cpu(world, rng, ms):
    """Loads the machine with as many busy processes as it has cores, or twice as many."""
    children = []
    try:
        for _ in range(rng.randint(1, 2) * os.cpu_count()):
            pid = os.fork()
            if pid == 0:
                spin(time.monotonic() + ms / 1000 + 1)
            children.append(pid)
        yield FOREVER_MS
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


BACKUP = {"backup", "beats"}
DISTURBANCES = [
    #   name               weight  ms          touches
    Row("loss",                 8, 300, 2000, BACKUP, loss),
    Row("burst-loss",           8, 300, 2000, BACKUP, burst_loss),
    Row("jitter",               8, 300, 2000, {"shape"}, jitter),
    Row("saturated",            8, 500, 2500, {"shape"}, saturated),
    Row("link-cut",             8, 50, 2000, BACKUP, cutting(
        ("b", "on", "gateway"), ("b", "gateway", "on"))),
    Row("link-flap",            8, 50, 2000, BACKUP, flap),
    Row("agent-stopped",       10, 100, 2500, {"agent"}, stopping(lambda w: w.agent())),
    Row("qemu-stopped",         6, 100, 2500, {"qemu"}, stopping(lambda w: w.qemu())),
    Row("long-seal",            6, FOREVER_MS, FOREVER_MS, {"qemu", "agent"}, long_seal),
    Row("tls-reset",            6, 50, 50, {"reset"}, reset),
    # A new certificate is valid from an hour before it was made. The jumps of clock-jump are shorter than
    # an hour, so peers still accept each other's certificates. The jumps of clock-far last at least a day,
    # so peers refuse each other's certificates.
    Row("clock-jump",           6, 500, 2000, {"reset", "clock"}, clock_jump(1, 3500)),
    Row("clock-far",            3, 300, 1500, {"reset", "clock"}, clock_jump(DAY_S, 400 * DAY_S)),
    Row("paused",               6, 100, 2500, {"qemu", "agent"}, paused),
    Row("idle-client",          6, 300, 1500, {"agent", "client"}, idle),
    Row("cpu-load",             6, 300, 2000, {"cpu"}, cpu),
    Row("primary>gateway",      4, 100, 2500, BACKUP, cutting(("b", "on", "gateway"))),
    Row("gateway>primary",      4, 100, 2500, BACKUP, cutting(("b", "gateway", "on"))),
    Row("standby>gateway",      3, 100, 2500, BACKUP, cutting(("b", "off", "gateway"))),
    Row("gateway>standby",      3, 100, 2500, BACKUP, cutting(("b", "gateway", "off"))),
    Row("standby=gateway",      3, 100, 2500, BACKUP, cutting(
        ("b", "off", "gateway"), ("b", "gateway", "off"))),
    Row("primary>standby",      2, 100, 2500, BACKUP, cutting(("b", "on", "off"), ("c", "on", "off"))),
    Row("standby>primary",      2, 100, 2500, BACKUP, cutting(("b", "off", "on"), ("c", "off", "on"))),
    Row("primary=standby",      2, 100, 2500, BACKUP, cutting(
        ("b", "on", "off"), ("b", "off", "on"), ("c", "on", "off"), ("c", "off", "on"))),
    Row("gateway-cut-off",      3, 100, 2500, BACKUP, cutting(
        ("b", "on", "gateway"), ("b", "gateway", "on"), ("b", "off", "gateway"), ("b", "gateway", "off"))),
    Row("primary>client",       3, 100, 2000, {"client"}, cutting(("c", "on", "client"))),
    Row("client>primary",       3, 100, 2000, {"client"}, cutting(("c", "client", "on"))),
    # This row cuts only the client network. Its set also names the backup network, so that the row
    # is never combined with a cut of that network. Both cuts together would be a partition.
    Row("primary=client-net",   3, 100, 2000, {"client", "backup"}, cutting(
        ("c", "on", "client"), ("c", "client", "on"), ("c", "on", "gateway"), ("c", "gateway", "on"),
        ("c", "on", "off"), ("c", "off", "on"))),
    Row("two-at-once",         12, 0, 0, set(), None),
]

# Partitions. To the gateway a partition looks like the primary's death. The gateway and the standby
# are two of the three parties, so the standby may be promoted. Two owners must never send frames,
# neither during the partition nor after it.
def both(*pairs):
    return cutting(*[(n, a, b) for n in "bc" for a, b in pairs])


ALL_OF_ON = (("on", "gateway"), ("gateway", "on"), ("on", "off"), ("off", "on"), ("on", "client"),
             ("client", "on"))
PARTITIONS = [
    Row("primary>gateway-all",  1, 100, 3500, BACKUP, both(("on", "gateway"))),
    Row("gateway>primary-all",  1, 100, 3500, BACKUP, both(("gateway", "on"))),
    Row("primary=gateway-all",  2, 100, 3500, BACKUP, both(("on", "gateway"), ("gateway", "on"))),
    Row("standby=gateway-all",  1, 100, 2500, BACKUP, both(("off", "gateway"), ("gateway", "off"))),
    Row("primary=all",          2, 100, 3500, BACKUP, both(*ALL_OF_ON)),
]


# --- deaths ---
# strike() carries out the death and returns CLOCK_MONOTONIC as it was just before the death. When
# the new owner serves, undo() repairs the old host. If nothing can be repaired, undo is None. After
# undo() only the agent's own rules keep the old owner silent.

def send_death(who, number):
    def strike(world):
        pids = who(world)
        start = time.monotonic_ns()
        world.host[world.on].send(pids, number)
        return start
    return strike


def cut_death(*cuts):
    def strike(world):
        named = named_cuts(world, cuts)
        start = time.monotonic_ns()
        for cut in named:
            world.switch.lose(*cut)
        return start
    return strike


def pull_cable(world):
    start = time.monotonic_ns()
    world.switch.cable("b-" + world.on, False)
    return start


def healed(world):
    world.switch.heal()
    world.switch.cable("b-" + world.on, True)


def continued(world):
    world.host[world.on].send(world.host[world.on].pids(), signal.SIGCONT)


# sets_rival (the second column): true for the deaths that set the rival's timeout. Over these
# deaths, both detectors must have the same mean detection time.
DEATHS = [
    Death("host-off", True, lambda world: world.kill_host(world.on), None),
    Death("agent+qemu-killed", True, send_death(lambda w: w.agent() + w.qemu(), signal.SIGKILL), None),
    Death("agent-killed", False, send_death(lambda w: w.agent(), signal.SIGKILL), None),
    Death("agent-hung", False, send_death(lambda w: w.agent(), signal.SIGSTOP), continued),
    Death("qemu-killed", False, send_death(lambda w: w.qemu(), signal.SIGKILL), None),
    Death("qemu-hung", False, send_death(lambda w: w.qemu(), signal.SIGSTOP), continued),
    Death("backup-link-cut", True, pull_cable, healed),
    Death("primary>gateway-cut", False, cut_death(("b", "on", "gateway")), healed),
    Death("gateway>primary-cut", False, cut_death(("b", "gateway", "on")), healed),
]
