#!/usr/bin/env python3
"""columns.py - finds lines of C that are too wide.

usage: tests/lint/columns.py FILE...
Prints "FILE:LINE: N columns" for each line of more than 100 columns. A tab goes to the next multiple of 8. Drawings,
tables and examples in a comment (text that is indented behind the `*`) may have 112 columns.
Exit: 0 if no line is too wide, else 1.
"""
import re
import sys

CODE, DRAWING = 100, 112


def limit(line):
    return DRAWING if re.match(r"\s*\*(\t| {2})", line) else CODE


bad = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            width = len(line.expandtabs(8))
            if width > limit(line):
                print("%s:%d: %d columns" % (path, number, width))
                bad = 1
sys.exit(bad)
