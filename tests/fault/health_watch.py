"""health_watch.py FILE VM CTL... - asks for a VM's health word without a pause, until it is ended.

CTL is the command line of holdfastctl with its options. For each answer of `vm show`, FILE gets a line
    ASKED ANSWERED WORD CONTRADICTION
with CLOCK_REALTIME in ns before the question and after the answer. WORD is "-" if there was no answer. CONTRADICTION
says what the same answer has that forbids SAFE, or "-".
"""
import json
import subprocess
import sys
import time

STALE_MS = 1000
ANSWER_S = 15  # a gateway that is stopped does not answer


def forbids(vm):
    """Yield what is in the answer that must not be there when the word is SAFE."""
    if vm["state"] != "PROTECTED":
        yield f"state={vm['state']}"
    for host in vm["hosts"]:
        if not host["connected"]:
            yield f"{host['name']}:not-connected"
        elif host["report_age_ms"] is None or host["report_age_ms"] >= STALE_MS:
            yield f"{host['name']}:report-age={host['report_age_ms']}"
    if vm["stats"].get("disks") != "in-step":
        yield f"disks={vm['stats'].get('disks')}"
    if vm["complete_epoch"] < vm["committed_epoch"]:
        yield f"complete={vm['complete_epoch']},committed={vm['committed_epoch']}"


def ask(words):
    """Return the word and the contradiction."""
    try:
        answer = subprocess.run(words, capture_output=True, timeout=ANSWER_S, check=False).stdout
        vm = json.loads(answer)
        vm = vm.get("vm", vm)
        return vm["health"]["word"], ";".join(forbids(vm)) or "-"
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return "-", "-"


def main():
    name, ctl = sys.argv[2], sys.argv[3:]
    with open(sys.argv[1], "w", encoding="ascii", buffering=1) as out:
        while True:
            asked = time.time_ns()
            word, contradiction = ask([*ctl, "--json", "vm", "show", name])
            out.write(f"{asked} {time.time_ns()} {word} {contradiction}\n")
            time.sleep(0.02)  # leave the machine to the guest


main()
