#!/usr/bin/env python3
"""Compare the rows of docs/guests.md with tests/bench/guests.table: guests.py [TREE]

A row of the page reads `| what | result | NAMES |`, with the names of variants in backticks. Each variant must
be in exactly one row, and the row's result must be the result that the table expects. Prints each breach.
Exit: 0 none, 1 some.
"""
import os
import re
import sys


def of_table(path):
    variants = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, want = re.split(r"\t+", line.rstrip("\n"))[:2]
                variants[name] = want.split()[0]
    return variants


def of_page(path):
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) == 3 and cells[1] in ("served", "refused"):
                rows += [(name, cells[1]) for name in re.findall(r"`([^`]+)`", cells[2])]
    return rows


def breaches(tree):
    table = of_table(os.path.join(tree, "tests/bench/guests.table"))
    page = of_page(os.path.join(tree, "docs/guests.md"))
    names = [name for name, _ in page]
    for name, result in page:
        if name not in table:
            yield f"docs/guests.md: names {name}, which guests.table does not have"
        elif table[name] != result:
            yield f"docs/guests.md: says that {name} is {result}, but guests.table expects {table[name]}"
    for name in table:
        if names.count(name) != 1:
            yield f"docs/guests.md: names {name} {names.count(name)} times, not once"


found = list(breaches(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SRC", ".")))
for text in found:
    print(text)
sys.exit(bool(found))
