"""replace_frames.py - how long the frames of bench_replace waited, from what frame_watch.py has recorded.

usage: replace_frames.py FRAMES ROWS
Prints the ROWS of bench_replace again, one JSON object per line. A row counts from its begin_ns until the next row begins.
Each row gets
  out_wait_ms    the longest wait of a frame of the guest in the hold: from the tap until it leaves the host. A frame that
                 TCP sends again is another frame. Of a frame that the host cuts into segments, the first one counts
  in_wait_ms     the longest time from the arrival of a TCP segment for the guest until the guest answers: until the first
                 frame with its acknowledgement comes out of the guest. So it contains the guest's own work
  frames_out, frames_in   how many frames these are
  frames_dropped how many frames of the guest never left the host, and how many segments were never answered
  frames_again   how many TCP segments with data were sent again, in either direction
The last row counts until the recording ends. Frames of its last second are left out: they may be under way.
Exit: 1 if the recording is not whole.
"""
import bisect
import collections
import json
import socket
import struct
import sys

UNDER_WAY_NS = 10**9


class Frame:
    """What is needed of a frame; flow is None if it is not of TCP."""

    def __init__(self, line):
        words = line.split()
        self.ns, self.place, self.size, head = int(words[0]), words[1], int(words[2]), bytes.fromhex(words[3])
        self.flow = None
        if head[12:14] != b"\x08\x00":
            self.key = self.size, head
            return
        at = 14 + 4 * (head[14] & 15)
        # The host fills in checksums, and cuts long frames: the key has nothing that these change in the first segment.
        self.key = head[18:20], head[23], head[26:34]
        if head[23] == socket.IPPROTO_TCP:
            source, destination, self.seq, self.ack = struct.unpack(">HHII", head[at:at + 12])
            options = 4 * (head[at + 12] >> 4)
            self.data = struct.unpack(">H", head[16:18])[0] - (at - 14) - options
            self.flow = head[26:30], source, head[30:34], destination
            self.has_ack = bool(head[at + 13] & 0x10)
            self.key += self.flow, self.seq, self.ack, head[at + 20:at + options]

    def other_way(self):
        return self.flow[2], self.flow[3], self.flow[0], self.flow[1]


def read(path):
    with open(path, encoding="ascii") as lines:
        words = [line for line in lines if not line.startswith("ready")]
    if words and words[-1].startswith("missed"):
        sys.exit(f"replace_frames: the kernel had no room for frames: {words[-1]}")
    return sorted(map(Frame, words), key=lambda frame: frame.ns)


def pair_out(frames):
    """Returns (ns, wait_ns) of each frame of the guest; wait_ns is None if it never left its host."""
    waiting, pairs = collections.defaultdict(collections.deque), []
    for frame in frames:
        if frame.place == "held":
            waiting[frame.key].append(frame.ns)
        elif frame.place == "left" and waiting.get(frame.key):
            ns = waiting[frame.key].popleft()
            pairs.append((ns, frame.ns - ns))
    return pairs + [(ns, None) for queue in waiting.values() for ns in queue]


def pair_in(frames):
    """Returns (ns, wait_ns) of each TCP segment with data for the guest; wait_ns is None if it was not answered."""
    first, answers, segments, pairs = {}, collections.defaultdict(list), [], []
    for frame in frames:
        if not frame.flow:
            continue
        if frame.place == "arrived" and frame.data > 0:
            begin = first.setdefault(frame.flow, frame.seq)
            segments.append((frame.ns, frame.flow, (frame.seq + frame.data - begin) & 0xFFFFFFFF))
        elif frame.place == "held" and frame.has_ack and frame.other_way() in first:
            flow = frame.other_way()
            ack = (frame.ack - first[flow]) & 0xFFFFFFFF
            if not answers[flow] or ack > answers[flow][-1][0]:
                answers[flow].append((ack, frame.ns))
    for ns, flow, end in segments:
        at = bisect.bisect_left(answers[flow], (end, 0))
        pairs.append((ns, max(0, answers[flow][at][1] - ns) if at < len(answers[flow]) else None))
    return pairs


def sent_again(frames):
    """Returns when TCP segments with data were sent again."""
    seen, again = set(), []
    for frame in frames:
        if frame.place == "left" or not frame.flow or frame.data == 0:
            continue
        key = frame.flow, frame.seq, frame.data
        if key in seen:
            again.append(frame.ns)
        seen.add(key)
    return again


def longest_ms(pairs):
    waits = [wait_ns for _, wait_ns in pairs if wait_ns is not None]
    return max(waits) / 1e6 if waits else None


def main():
    frames = read(sys.argv[1])
    with open(sys.argv[2], encoding="ascii") as lines:
        rows = [json.loads(line) for line in lines]
    if not frames:
        sys.exit("replace_frames: no frame was recorded")
    last_ns = frames[-1].ns - UNDER_WAY_NS
    out, into, again = pair_out(frames), pair_in(frames), sent_again(frames)
    for number, row in enumerate(rows):
        begin_ns = row["begin_ns"]
        end_ns = min(last_ns, rows[number + 1]["begin_ns"] if number + 1 < len(rows) else last_ns)
        sent = [pair for pair in out if begin_ns <= pair[0] < end_ns]
        got = [pair for pair in into if begin_ns <= pair[0] < end_ns]
        row |= {"out_wait_ms": longest_ms(sent), "in_wait_ms": longest_ms(got),
                "frames_out": len(sent), "frames_in": len(got),
                "frames_dropped": sum(wait_ns is None for _, wait_ns in sent + got),
                "frames_again": sum(begin_ns <= ns < end_ns for ns in again)}
        print(json.dumps(row))


main()
