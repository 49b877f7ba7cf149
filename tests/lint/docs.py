#!/usr/bin/env python3
"""docs.py - checks that the READMEs name all files, and that documents name only files that exist.

usage: tests/lint/docs.py [DIR]   DIR: the top of a tree (default: this tree)
It applies six rules:
- A README.md in a directory of tests/, deploy/, certs/ or docs/ must name each file and directory in it. It may name a file
  with another ending or without an ending, by the tail of its name (`_tail`), or by a pattern (`fuzz_NAME.c`, `*.hex`).
  rooms.py has this rule for the daemons' directories.
- A path in backticks in any .md file must exist, if it has a `/` and a known ending.
- A function in backticks (`name()`) in any .md file must be in the code, or in a system header that the code uses.
- A README.md of the daemons has no chapter "Tried" or "Figures": these are in docs/tried.md.
- Each verb of holdfastctl has a heading in docs/verbs.md.
- Each kind of event that the gateway's code gives is in docs/control-protocol.md and in the table of docs/operations.md.
Prints one line for each breach, which says how to correct it. Exit: 0 if there is no breach, else 1.
"""
import fnmatch
import glob
import os
import re
import sys

TOP = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
ROOTS = ("", "hostagent", "gateway", "hostagent/lib", "tests", "tests/unit")
SKIPPED = ("README.md", "meson.build", "__pycache__")
FUNCTION = re.compile(r"`(\w+)\(\)`")
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.*-]+\.(?:c|h|py|sh|md|S|ini))`")


def tokens(readme):
    return set(re.findall(r"[\w.*-]+", readme))


def is_named(name, words):
    stem = name.rsplit(".", 1)[0]
    if any(w == name or w == stem or w.rsplit(".", 1)[0] == stem for w in words):
        return True
    if any(w.startswith("_") and stem.endswith(w) for w in words):
        return True
    patterns = (w.replace("NAME", "*") for w in words if "*" in w or "NAME" in w)
    return any(len(p) > 3 and fnmatch.fnmatch(name, p) for p in patterns)


def unnamed():
    for house in "tests", "deploy", "certs", "docs":
        for where, dirs, names in os.walk(os.path.join(TOP, house)):
            dirs[:] = [d for d in dirs if d not in ("corpus", "__pycache__")]
            if "README.md" not in names:
                continue
            with open(os.path.join(where, "README.md")) as f:
                words = tokens(f.read())
            for name in sorted(names + dirs):
                if name not in SKIPPED and not is_named(name, words):
                    yield "%s/README.md: does not name %s; give it a line that says its job" % (
                        os.path.relpath(where, TOP), name)


def exists(path, document):
    places = [os.path.dirname(document)] + [os.path.join(TOP, r) for r in ROOTS]
    return any(glob.glob(os.path.join(p, path)) for p in places)


def called():
    words = set()
    for house in "gateway", "hostagent", "ebpf", "tests", "deploy", "certs":
        for path in glob.glob("%s/%s/**/*" % (TOP, house), recursive=True):
            if os.path.isfile(path) and not path.endswith(".md"):
                with open(path, errors="replace") as f:
                    words.update(re.findall(r"\b(\w+) ?\(", f.read()))
    return words


def gone():
    functions = called()
    for document in sorted(glob.glob(TOP + "/**/*.md", recursive=True)):
        if "/build" in document[len(TOP):]:
            continue
        with open(document) as f:
            for number, line in enumerate(f, 1):
                lost = [path for path in PATH.findall(line) if not exists(path, document)]
                lost += ["%s()" % name for name in FUNCTION.findall(line) if name not in functions]
                for name in (name for name in lost if "NAME" not in name):
                    yield "%s:%d: names %s, which is not there; say where it is now" % (
                        os.path.relpath(document, TOP), number, name)


def laboratory():
    for house in "gateway", "hostagent":
        for path in sorted(glob.glob("%s/%s/**/README.md" % (TOP, house), recursive=True)):
            with open(path) as f:
                for title in re.findall(r"^#+ (Tried|Figures)", f.read(), re.MULTILINE):
                    yield '%s: move the chapter "%s" to docs/tried.md' % (os.path.relpath(path, TOP), title)


def kinds_of_events():
    for path in glob.glob(TOP + "/gateway/**/*.c", recursive=True):
        with open(path) as f:
            code = f.read()
        yield from re.findall(r'vm_event\(\s*\w+,\s*"(\w+)"', code)
        yield from re.findall(r'event = "(\w+)"', code)
        for call in re.findall(r"fleet_event\(([^;]*)\);", code):
            yield from re.findall(r',\s*"(\w+)",', call)


def untold():
    with open(TOP + "/docs/operations.md") as f:
        rows = " ".join(line.split("|")[1] for line in f if line.startswith("| `"))
    with open(TOP + "/docs/control-protocol.md") as f:
        listed = re.search(r"`kind`: ([\w, \n]*)", f.read()).group(1)
    for kind in sorted(set(kinds_of_events())):
        if "`%s`" % kind not in rows:
            yield "docs/operations.md: \"Events and alarms\" has no row for events of the kind %s" % kind
        if kind not in re.findall(r"\w+", listed):
            yield "docs/control-protocol.md: the list of kinds of events lacks %s" % kind


def untold_verbs():
    with open(TOP + "/gateway/ctl/verbs.c") as f:
        verbs = re.findall(r'^\t\{"([a-z ]+)", "[a-z-]+", (?:true|false),', f.read(), re.MULTILINE)
    with open(TOP + "/docs/verbs.md") as f:
        headings = [line[4:].strip() for line in f if line.startswith("### ")]
    for verb in verbs or ["(none was found in gateway/ctl/verbs.c)"]:
        if verb not in headings:
            yield "docs/verbs.md: has no heading \"### %s\"; say what it is for, prints and refuses" % verb


breaches = list(unnamed()) + list(gone()) + list(laboratory()) + list(untold()) + list(untold_verbs())
for breach in breaches:
    print(breach)
sys.exit(bool(breaches))
