"""A client that writes to a database in the guest and checks that every acknowledged write is there.

db_client.py run redis|sqlite HOST:PORT STATUS [--depth N] [--reply-timeout-s N]
    Writes 1, 2, 3, ... over a single TCP connection until SIGTERM. Then it waits for the last acknowledgement, reads
    everything back over the same connection and compares. If the database already has numbers, they must be 1 to N,
    and the client continues with N + 1. STATUS is a JSON file, written anew ten times a second:
        acked, sent       the last number acknowledged, the last number sent
        state             starting, running, verifying, done, connection lost
        lost, reordered, torn   counts of broken promises, and `fault`, the first one in words
        gap_ms            the longest time between two acknowledgements since the start or the last SIGUSR1
        since_ms          the time since the last acknowledgement
    Exit: 0 all acknowledged numbers are there; 1 a promise is broken or the connection was lost.

db_client.py check redis|sqlite WHERE STATUS
    Compares a database with the STATUS file of an earlier run. The database must have 1 to N, with N at least `acked`
    and at most `sent`. WHERE is redis's unix socket or a sqlite file. Checks a sqlite file's integrity too. Prints one
    line of JSON. Exit: 0 all is right; 1 something is not.

Each number is written twice in one transaction: redis gets `SET k<n mod 1000> n` and `RPUSH log n`, sqlite gets a row
in each of two tables. A number in only one of the two places is torn. Each acknowledgement says how many numbers the
database has, so the next write shows if a number was lost.
"""
import argparse
import json
import os
import signal
import socket
import sqlite3
import sys
import time

KEYS = 1000  # the number of redis's keys, k0 to k999
CHUNK = 10000  # how many numbers one command reads back


class Lost(Exception):
    """The connection is lost."""


class Broken(Exception):
    """The database has broken a promise: Broken(kind, count, text). kind is "lost", "reordered" or
    "torn"."""


class Connection:
    """One connection to a server, with a buffer of received bytes."""

    def __init__(self, where, timeout_s):
        self.timeout_s = timeout_s
        self.buffer = b""
        if where.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(where)
        else:
            host, port = where.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.settimeout(self.timeout_s)
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Lost(f"send: {error}") from error

    def fill(self, seconds):
        """Receive more bytes. Return False if none came within @seconds."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except OSError as error:
            raise Lost(f"receive: {error}") from error
        if not data:
            raise Lost("the server closed the connection")
        self.buffer += data
        return True

    def read_line(self):
        while b"\n" not in self.buffer:
            if not self.fill(self.timeout_s):
                raise Lost(f"no answer for {self.timeout_s} s")
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode(errors="replace")

    def read_bytes(self, n):
        while len(self.buffer) < n:
            if not self.fill(self.timeout_s):
                raise Lost(f"no answer for {self.timeout_s} s")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data


def judge(numbers, others, acked, sent, other_name):
    """Check that @numbers are 1 to N with acked <= N <= sent, and that @others are the same numbers
    (for redis's keys, the last KEYS of them). Raise Broken if not."""
    n = len(numbers)
    missing = set(range(1, acked + 1)) - set(numbers)
    if missing:
        raise Broken("lost", len(missing), f"{len(missing)} of {acked} acknowledged numbers are missing, "
                     f"{min(missing)} the first")
    if numbers != list(range(1, n + 1)):
        wrong = next(i for i, number in enumerate(numbers, 1) if i != number)
        raise Broken("reordered", sum(i != number for i, number in enumerate(numbers, 1)),
                     f"number {numbers[wrong - 1]} is at place {wrong} of {n}")
    if n > sent:
        raise Broken("reordered", n - sent, f"there are {n} numbers, but only {sent} were sent")
    torn = set(others) ^ set(numbers[-KEYS:] if other_name == "keys" else numbers)
    if torn:
        raise Broken("torn", len(torn), f"{len(torn)} numbers are in one place alone ({other_name}), {min(torn)} for one")


class Redis:
    def __init__(self, connection):
        self.connection = connection

    def call(self, *words):
        self.connection.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in
                                                                (str(word).encode() for word in words)))
        return self.read()

    def read(self):
        line = self.connection.read_line()
        kind, rest = line[:1], line[1:]
        if kind == ":":
            return int(rest)
        if kind == "$":
            return None if rest == "-1" else self.connection.read_bytes(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self.read() for _ in range(int(rest))]
        if kind == "+":
            return rest
        raise RuntimeError(f"redis says: {line}")

    def start(self):
        """Wait until redis has loaded its data. Return how many numbers it has."""
        while True:
            try:
                return self.call("LLEN", "log")
            except RuntimeError as error:
                if "LOADING" not in str(error):
                    raise
                time.sleep(0.1)

    def request(self, i):
        return f"MULTI\r\nSET k{i % KEYS} {i}\r\nRPUSH log {i}\r\nEXEC\r\n".encode()

    def read_count(self):
        """Read the next acknowledgement. Return the number in it: how many numbers redis has after
        this write."""
        for want in ("OK", "QUEUED", "QUEUED"):
            got = self.read()
            if got != want:
                raise RuntimeError(f"redis says {got} instead of {want}")
        return self.read()[1]

    def verify(self, acked, sent):
        n = self.call("LLEN", "log")
        numbers, keys = [], []
        for first in range(0, n, CHUNK):
            numbers += [int(i) for i in self.call("LRANGE", "log", first, first + CHUNK - 1)]
        if n:
            keys = [int(v) for v in self.call("MGET", *(f"k{i}" for i in range(KEYS))) if v is not None]
        judge(numbers, keys, acked, sent, "keys")
        return n


class Sqlite:
    """A session of the program sqlite3 behind a socket."""
    START = ("CREATE TABLE IF NOT EXISTS a(i INTEGER PRIMARY KEY);CREATE TABLE IF NOT EXISTS b(i INTEGER PRIMARY KEY);"
             "SELECT count(*) FROM a;\n")
    WRITE = ("BEGIN;INSERT INTO a SELECT coalesce(max(i),0)+1 FROM a;INSERT INTO b VALUES(%d);COMMIT;"
             "SELECT max(i) FROM a;\n")

    def __init__(self, connection):
        self.connection = connection

    def ask(self, text):
        self.connection.send(text.encode())
        return self.read_number()

    def read_number(self):
        line = self.connection.read_line()
        if not line.isdigit():
            raise RuntimeError(f"sqlite says: {line}")
        return int(line)

    def start(self):
        return self.ask(self.START)

    def request(self, i):
        return (self.WRITE % i).encode()

    read_count = read_number

    def read_table(self, name):
        n = self.ask(f"SELECT count(*) FROM {name};\n")
        self.connection.send(f"SELECT i FROM {name} ORDER BY i;\n".encode())
        return [self.read_number() for _ in range(n)]

    def verify(self, acked, sent):
        numbers = self.read_table("a")
        judge(numbers, self.read_table("b"), acked, sent, "table b")
        return len(numbers)


DATABASES = {"redis": Redis, "sqlite": Sqlite}


class Run:
    """The writing client: what it knows, and its STATUS file."""

    def __init__(self, options):
        self.options = options
        self.path = options.status
        self.stopped = False
        self.last_ns = self.written_ns = time.monotonic_ns()
        self.status = {"database": options.database, "state": "starting", "acked": 0, "sent": 0, "lost": 0,
                       "reordered": 0, "torn": 0, "fault": "", "gap_ms": 0.0, "since_ms": 0.0}

    def write_status(self):
        self.written_ns = time.monotonic_ns()
        self.status["since_ms"] = round((self.written_ns - self.last_ns) / 1e6, 1)
        with open(self.path + ".new", "w", encoding="ascii") as f:
            json.dump(self.status, f)
            f.write("\n")
        os.replace(self.path + ".new", self.path)

    def acknowledged(self, count):
        status, now = self.status, time.monotonic_ns()
        want = status["acked"] + 1
        if count != want:
            raise Broken("lost" if count < want else "reordered", abs(count - want),
                         f"after number {want} was written the database has {count} numbers")
        status["acked"] = want
        status["gap_ms"] = max(status["gap_ms"], round((now - self.last_ns) / 1e6, 1))
        self.last_ns = now

    def work(self, connection, database):
        status = self.status
        while not self.stopped or status["acked"] < status["sent"]:
            while not self.stopped and status["sent"] - status["acked"] < self.options.depth:
                status["sent"] += 1
                connection.send(database.request(status["sent"]))
            if b"\n" in connection.buffer or connection.fill(0.1):
                self.acknowledged(database.read_count())
            elif time.monotonic_ns() - self.last_ns > self.options.reply_timeout_s * 1e9:
                raise Lost(f"no acknowledgement for {self.options.reply_timeout_s} s")
            if time.monotonic_ns() - self.written_ns > 1e8:
                self.write_status()

    def connect(self):
        """Connect to the server. Retry, because a guest that is still booting refuses
        connections."""
        end = time.monotonic() + 60
        while True:
            try:
                return Connection(self.options.where, self.options.reply_timeout_s)
            except OSError:
                if self.stopped or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def run(self):
        status = self.status
        self.write_status()
        try:
            connection = self.connect()
            database = DATABASES[self.options.database](connection)
            status["acked"] = status["sent"] = database.start()
            self.last_ns = time.monotonic_ns()
            status["state"] = "running"
            self.work(connection, database)
            status["state"] = "verifying"
            self.write_status()
            database.verify(status["acked"], status["sent"])
            status["state"] = "done"
        except (Lost, OSError) as error:
            status["state"], status["fault"] = "connection lost", str(error)
        except Broken as broken:
            kind, count, status["fault"] = broken.args
            status[kind] = count
        # the database gave an answer that it must not give
        except (RuntimeError, ValueError) as error:
            status["fault"] = str(error)
        self.write_status()
        print(json.dumps(status))
        return 0 if status["state"] == "done" else 1


def check_sqlite(path, acked, sent):
    database = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    found = [row[0] for row in database.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        raise RuntimeError(f"integrity_check: {found[0]}")
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    a, b = ([row[0] for row in database.execute(f"SELECT i FROM {name} ORDER BY i")] if name in tables else []
            for name in "ab")
    judge(a, b, acked, sent, "table b")
    return len(a)


def connect_to_local(path):
    """Connect to a server that has just been started: its socket exists a moment before it listens."""
    end = time.monotonic() + 10
    while True:
        try:
            return Connection(path, 60)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def check(options):
    with open(options.status, encoding="ascii") as f:
        status = json.load(f)
    result = {"database": options.database, "acked": status["acked"], "sent": status["sent"], "found": 0, "lost": 0,
              "reordered": 0, "torn": 0, "bad": 0, "fault": ""}
    try:
        if options.database == "sqlite":
            result["found"] = check_sqlite(options.where, status["acked"], status["sent"])
        else:
            database = Redis(connect_to_local(options.where))
            database.start()
            result["found"] = database.verify(status["acked"], status["sent"])
    except Broken as broken:
        kind, count, result["fault"] = broken.args
        result[kind] = count
    except (Lost, OSError, RuntimeError, ValueError, sqlite3.Error) as error:
        result["bad"], result["fault"] = 1, str(error)
    print(json.dumps(result))
    return 1 if result["fault"] else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=("run", "check"))
    parser.add_argument("database", choices=DATABASES)
    parser.add_argument("where")
    parser.add_argument("status")
    parser.add_argument("--depth", type=int, default=4, help="numbers sent and not yet acknowledged")
    parser.add_argument("--reply-timeout-s", type=float, default=60)
    options = parser.parse_args()
    if options.verb == "check":
        return check(options)
    run = Run(options)

    def stop(*_):
        run.stopped = True

    def measure_anew(*_):
        run.status["gap_ms"] = 0.0
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, measure_anew)
    return run.run()


if __name__ == "__main__":
    sys.exit(main())
