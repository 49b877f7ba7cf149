#!/usr/bin/env python3
"""rooms.py - checks the #include lines of each room against its use-rule.

usage: tests/lint/rooms.py [--graph] [DIR]   DIR: the top of a tree (default: this tree)
A room is a directory of hostagent/, gateway/ or ebpf/ with a README.md. Its README has two paragraphs
	May include: `lib/base`, `loop/`, `port/port.h`.

	Used by: `control`, `gateway`.
The first names rooms (with all below them) and single headers, relative to the daemon's directory or to the top, or says
`nothing`. The second names the rooms that include one of its headers (tests do not count), or says "any room" or "nothing". A room may always include its own files; a header named *_private.h only its own room may include. The README
must also name each file of the room.
Without --graph: prints each breach and how to correct it, one per line. Exit 0: no breach; 1: a breach.
--graph: prints the arrows between rooms with their number of #include lines, and the circles among them; then the circles
of modules within each room. A module is x.c with x.h. A circle within a room is allowed: its README says what the room's
private header is for.
"""
import collections
import os
import re
import sys

GRAPH = "--graph" in sys.argv[1:]
NAMES = [a for a in sys.argv[1:] if a != "--graph"]
TOP = os.path.abspath(NAMES[0] if NAMES else os.path.join(os.path.dirname(__file__), "../.."))
HOUSES = ("hostagent", "gateway", "ebpf")
RULE = re.compile(r"^May include: (.*?)(?:\n\n|\Z)", re.M | re.S)
USERS = re.compile(r"^Used by: (.*?)(?:\n\n|\Z)", re.M | re.S)


def sources():
    """Yield the path of every .c and .h file below HOUSES, relative to the top of the tree."""
    for house in HOUSES:
        for where, _, names in os.walk(os.path.join(TOP, house)):
            for name in names:
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(where, name), TOP)


def resolve(path, name, known):
    """Return the file of this tree that `#include "name"` in the file @path includes, or None if the
    tree has no such file."""
    house = path.split("/")[0]
    for root in (os.path.dirname(path), house, "hostagent/lib", "hostagent", ""):
        found = os.path.normpath(os.path.join(root, name))
        if found in known:
            return found
    return None


def includes():
    """Yield (including file, line number, included file) for every #include of a file of this tree."""
    known = set(sources())
    for path in sorted(known):
        with open(os.path.join(TOP, path)) as f:
            for number, line in enumerate(f, 1):
                m = re.match(r'#include "([^"]+)"', line)
                target = resolve(path, m[1], known) if m else None
                if target:
                    yield path, number, target


def read_readme(room):
    try:
        with open(os.path.join(TOP, room, "README.md")) as f:
            return f.read()
    except FileNotFoundError:
        return ""


def read_rule(room, readme):
    """Return the list of what @room may include, as paths from the top of the tree. Return None if the
    text of its README does not say."""
    return read_names(RULE, room, readme)


def read_names(paragraph, room, readme):
    m = paragraph.search(readme)
    if not m:
        return None
    house = room.split("/")[0]
    allowed = []
    for name in re.findall(r"`([^`]+)`", m[1]):
        name = name.rstrip("/")
        below = os.path.join(house, name)
        allowed.append(below if os.path.exists(os.path.join(TOP, below)) else name)
    return allowed


def is_allowed(target, room, allowed):
    if os.path.dirname(target) == room:
        return True
    return any(target == a or target.startswith(a + "/") for a in allowed)


def wrong_users(readmes):
    """Yield a fault for each room whose README names other users than it has."""
    users = {room: set() for room in readmes}
    for path, _, target in includes():
        users[os.path.dirname(target)].add(os.path.dirname(path))
    for room, readme in sorted(readmes.items()):
        said, found = read_names(USERS, room, readme), users[room] - {room}
        if said is None:
            yield f'{room}/README.md: has no paragraph "Used by: ..."; write which rooms include its headers'
        elif "Used by: any room" not in readme and set(said) != found:
            yield (f"{room}/README.md: says \"Used by: {', '.join(sorted(said))}\"; it is used by "
                   f"{', '.join(sorted(found)) or 'nothing'}: correct the line, or take the new #include away")


def check():
    faults = []
    rules, readmes = {}, {}
    for path in sorted(sources()):
        room = os.path.dirname(path)
        if room not in readmes:
            readmes[room] = read_readme(room)
            rules[room] = read_rule(room, readmes[room])
            if rules[room] is None:
                faults.append(f"{room}/README.md: has no paragraph \"May include: ...\"; write what its files include")
            for name in rules[room] or []:
                if not os.path.exists(os.path.join(TOP, name)):
                    faults.append(f"{room}/README.md: may include {name}, which is not there; correct the name")
        stem, extension = os.path.splitext(os.path.basename(path))
        named = {stem + extension, stem + ".h/.c", stem + ".[ch]"}
        if not any(n in readmes[room] for n in named):
            faults.append(f"{room}/README.md: does not name {stem}{extension}; give it a line that says its job")
    faults.extend(wrong_users(readmes))
    for path, number, target in includes():
        room = os.path.dirname(path)
        if target.endswith("_private.h") and os.path.dirname(target) != room:
            faults.append(f"{path}:{number}: includes {target}, which is private to its room: use that room's public "
                          "header, or add there what is needed")
        elif rules[room] is not None and not is_allowed(target, room, rules[room]):
            faults.append(f"{path}:{number}: includes {target}; {room}/README.md does not allow it: let the caller "
                          "hand over what is needed, or move the file to a room that may")
    return faults


def circles(arrows):
    """Return groups of rooms that include one another (Tarjan's strongly connected components with
    more than one member)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in arrows.get(v, ()):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            group = []
            while not group or group[-1] != v:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for v in sorted(arrows):
        if v not in index:
            visit(v)
    return found


def print_circles_within(rings):
    within = collections.defaultdict(list)
    for ring in rings:
        within[os.path.dirname(ring[0])].append(" ".join(os.path.basename(module) for module in ring))
    for room in sorted(within):
        print(f"within {room}: {'; '.join(within[room])}")


def print_graph():
    count, modules = collections.Counter(), collections.defaultdict(set)
    for path, _, target in includes():
        a, b = os.path.dirname(path), os.path.dirname(target)
        if a != b:
            count[a, b] += 1
        module, other = os.path.splitext(path)[0], os.path.splitext(target)[0]
        if module != other:
            modules[module].add(other)
    arrows = collections.defaultdict(set)
    for a, b in count:
        arrows[a].add(b)
    for a in sorted(arrows):
        print(a, "->", ", ".join(f"{b} ({count[a, b]})" for b in sorted(arrows[a])))
    rings = circles(arrows)
    print(f"{len(count)} arrows between rooms, {len(rings)} circles")
    for ring in rings:
        print("circle:", " ".join(ring))
    print_circles_within(circles(modules))


def main():
    if len(NAMES) > 1 or not os.path.isdir(TOP):
        print(__doc__, file=sys.stderr)
        return 2
    if GRAPH:
        print_graph()
        return 0
    faults = check()
    for fault in faults:
        print(fault)
    return bool(faults)


sys.exit(main())
