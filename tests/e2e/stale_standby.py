"""Act as a standby that acknowledges epochs in an old term: stale_standby.py ADDRESS:PORT PKI_DIR
TERM EPOCH

Opens beta's stream in TERM as the real standby would, then acknowledges EPOCH + 1 in term 0. Exits
with 0 if the gateway refuses the acknowledgement with "stale-term". Must run in the standby's
namespace while beta's agent does not run.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/netns"))
import hfagent as a  # noqa: E402 (sys.path must be set first)

address, pki, term, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
host, port = address.split(":")
world = a.World((host, int(port)), f"{pki}/ca.crt")


def open_stream():
    """Try to open a stream; the caller must check the answer. The gateway refuses the stream as long
    as it counts the dead agent's connection as alive."""
    conn = a.Conn(world, "beta", f"{pki}/host/beta")
    conn.send(a.HELLO, a.hello(2, 2, "web1"), term=term, epoch=epoch)
    world.run(lambda: conn.last(a.WELCOME) or conn.closed, "an answer to HELLO")
    return conn


stream = open_stream()
while not stream.last(a.WELCOME):
    code, text = stream.last(a.REFUSED).failure()
    if a.REFUSED_NAMES[code] != "duplicate":
        sys.exit(f"beta's stream was refused: {text}")
    stream = open_stream()
stream.send(a.EPOCH_ACK, term=0, epoch=epoch + 1)
world.run(lambda: stream.closed, "the end of the stream")
code, text = stream.last(a.REFUSED).failure()
print(f"refused: {text}")
sys.exit(0 if a.REFUSED_NAMES[code] == "stale-term" else 1)
