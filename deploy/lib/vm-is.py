"""Test the state of a VM: vm-is.py EXPRESSION < output of `holdfastctl --json vm show`

EXPRESSION is a Python expression in which `vm` is the VM's object and `host` its hosts by name. What a host said before its
connection ended is left out, because it may be true no more: its agent_state is "away". Exit 0: true; 1: false.
"""
import json
import sys

try:
    vm = json.load(sys.stdin)
    vm = vm.get("vm", vm)
    for h in vm["hosts"]:
        if not h["connected"]:
            h.update(agent_state="away", verdict="none", text="")
    host = {h["name"]: h for h in vm["hosts"]}
    sys.exit(0 if eval(sys.argv[1], {"vm": vm, "host": host}) else 1)
except (ValueError, KeyError, AttributeError):
    sys.exit(1)
