"""plot - draws results of the benchmarks as SVG pictures.

usage: plot.py seal JSON               pause by dirty pages, copied in the pause and ahead of it
       plot.py latency JSON            a client's p50 and p99 by kind of epochs, load by load
       plot.py bandwidth JSON          how many times fewer bytes than raw pages, by workload and coder
       plot.py codec NAME=JSON...      bytes against speed of each coder, mean of all traces named
       plot.py codec-traces NAME=JSON...   encode, update and decode as fractions of compare, by trace
JSON: a file of `tests/bench/run NAME --json FILE`. The SVG goes to stdout. It uses no libraries, so
that the plots in docs/ can be made anywhere.
"""
import json
import math
import statistics
import sys

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 40, 52
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000"]


def escape(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Axis:
    """Maps values to pixels, linearly or logarithmically, and says where the axis has its marks."""

    def __init__(self, values, low_px, high_px, log=False, zero=True):
        self.log, self.low_px, self.high_px = log, low_px, high_px
        low, high = min(values), max(values)
        if log:
            self.low = 10 ** math.floor(math.log10(low) + 1e-9)
            self.high = high * 1.15
        else:
            self.low = 0 if zero else low
            self.high = high * 1.08 if high > 0 else 1

    def at(self, value):
        if self.log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.low_px + part * (self.high_px - self.low_px)

    def marks(self):
        if self.log:
            decades = range(int(math.log10(self.low)), int(math.log10(self.high)) + 1)
            return [m * 10 ** d for d in decades for m in (1, 2, 5) if self.low <= m * 10 ** d <= self.high]
        step = 10 ** math.floor(math.log10(self.high / 4))
        while self.high / step > 8:
            step *= 2 if str(step / 10 ** math.floor(math.log10(step)))[0] != "2" else 2.5
        return [i * step for i in range(int(self.high / step) + 1)]


class Picture:
    def __init__(self, title, x_label, y_label):
        self.parts = []
        self.legend = []
        self.text(LEFT, 22, title, size=15)
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, anchor="middle")
        self.parts.append(f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
                          f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(y_label)}</text>')

    def text(self, x, y, text, anchor="start", size=12, colour="#222"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'fill="{colour}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour="#ddd", width=1, dash=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")

    def dot(self, x, y, colour, size=4):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                          f'fill="{colour}"/>')

    def y_axis(self, axis):
        for mark in axis.marks():
            self.line(LEFT, axis.at(mark), WIDTH - RIGHT, axis.at(mark))
            self.text(LEFT - 6, axis.at(mark) + 4, f"{mark:g}", anchor="end")

    def x_axis(self, axis, marks=None):
        for mark in marks or axis.marks():
            self.line(axis.at(mark), TOP, axis.at(mark), HEIGHT - BOTTOM)
            self.text(axis.at(mark), HEIGHT - BOTTOM + 16, f"{mark:g}", anchor="middle")

    def name(self, text, colour):
        y = TOP + 8 + 18 * len(self.legend)
        self.legend.append(text)
        self.box(WIDTH - RIGHT + 14, y - 9, 10, 10, colour)
        self.text(WIDTH - RIGHT + 30, y, text)

    def write(self):
        print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
              f'font-family="sans-serif" font-size="12">')
        print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
        print("\n".join(self.parts))
        print("</svg>")


def lines(title, x_label, y_label, series, points=()):
    """Draw lines and single points. @series is {name: [(x, y)]}, with x on a logarithmic axis; @points
    is [(name, x, y)]."""
    picture = Picture(title, x_label, y_label)
    xs = sorted({x for line in series.values() for x, _ in line})
    x_axis = Axis(xs, LEFT + 10, WIDTH - RIGHT - 10, log=True)
    y_axis = Axis([y for line in series.values() for _, y in line] + [p[2] for p in points],
                  HEIGHT - BOTTOM, TOP)
    picture.y_axis(y_axis)
    picture.x_axis(x_axis, xs)
    for (name, line), colour in zip(series.items(), COLOURS):
        for (x1, y1), (x2, y2) in zip(line, line[1:]):
            picture.line(x_axis.at(x1), y_axis.at(y1), x_axis.at(x2), y_axis.at(y2), colour, 2)
        for x, y in line:
            picture.dot(x_axis.at(x), y_axis.at(y), colour)
        picture.name(name, colour)
    for name, x, y in points:
        picture.dot(x_axis.at(x), y_axis.at(y), "#000", 5)
        picture.text(x_axis.at(x) + 8, y_axis.at(y) - 6, name)
    picture.write()


def bars(title, y_label, groups, log=False, rule=None):
    """Draw bars in groups. @groups is {group: {name: value}}; @rule is (value, text) of a horizontal
    line, or None."""
    picture = Picture(title, "", y_label)
    names = list(dict.fromkeys(n for g in groups.values() for n in g))
    values = [v for g in groups.values() for v in g.values()] + ([rule[0]] if rule else [])
    axis = Axis([v for v in values if v > 0], HEIGHT - BOTTOM, TOP, log=log)
    picture.y_axis(axis)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.84 / len(names)
    for i, (group, row) in enumerate(groups.items()):
        for k, name in enumerate(names):
            if row.get(name, 0) > 0:
                top = axis.at(row[name])
                picture.box(LEFT + room * i + room * 0.08 + width * k, top, width * 0.92,
                            HEIGHT - BOTTOM - top, COLOURS[k % len(COLOURS)])
        picture.text(LEFT + room * (i + 0.5), HEIGHT - BOTTOM + 16, group, anchor="middle",
                     size=12 if len(groups) < 8 else 10)
    for k, name in enumerate(names):
        picture.name(name, COLOURS[k % len(COLOURS)])
    if rule:
        picture.line(LEFT, axis.at(rule[0]), WIDTH - RIGHT, axis.at(rule[0]), "#000", 1, "5 4")
        picture.text(WIDTH - RIGHT + 6, axis.at(rule[0]) + 4, rule[1])
    picture.write()


def scatter(title, x_label, y_label, points):
    """Draw points. @points is [(name, x, y, is_ours)]."""
    picture = Picture(title, x_label, y_label)
    x_axis = Axis([p[1] for p in points], LEFT + 10, WIDTH - RIGHT - 10)
    y_axis = Axis([p[2] for p in points], HEIGHT - BOTTOM, TOP)
    picture.y_axis(y_axis)
    picture.x_axis(x_axis)
    labels = []
    for name, x, y, is_ours in sorted(points, key=lambda p: p[2]):
        picture.dot(x_axis.at(x), y_axis.at(y), COLOURS[0] if is_ours else COLOURS[1], 5)
        label_x, label_y = x_axis.at(x) + 8, y_axis.at(y) + 4
        while any(abs(label_x - a) < 60 and abs(label_y - b) < 13 for a, b in labels):
            label_y -= 13
        labels.append((label_x, label_y))
        picture.text(label_x, label_y, name)
    picture.name("ours", COLOURS[0])
    picture.name("rivals", COLOURS[1])
    picture.write()


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def load_named(arguments):
    return {name: load(path) for name, _, path in (a.partition("=") for a in arguments)}


def plot_seal(arguments):
    result = load(arguments[0])
    series = {"copied in the pause": [(r["dirty_pages"], r["pause_ms_p50"]) for r in result["rows"]]}
    if "precopy" in result and isinstance(result["precopy"], dict):
        series["copied ahead"] = [(r["dirty_pages"], r["pause_ms_p50"]) for r in result["precopy"]["rows"]]
    lines("Pause of the guest by dirty pages (TCG, p50)", "dirty pages", "ms", series,
          [("Remus, 2008", 1024, 4.5)])


def plot_latency(arguments):
    groups = {}
    for row in load(arguments[0])["rows"]:
        groups.setdefault(row["load"], {})[row["mode"]] = row["p50_ms"]
    bars("redis in the guest: p50 a client sees", "ms (logarithmic)", groups, log=True)


CODERS = {"zstd1_raw": "zstd -1 of the page", "lz4_raw": "LZ4 of the page", "xrle_plain": "plain XBZRLE",
          "lz4_xor": "LZ4 of the XOR", "ours": "ours, first stage"}


def plot_bandwidth(arguments):
    groups = {}
    for name, row in load(arguments[0])["workloads"].items():
        groups[name] = {title: row["traced_raw_to_" + key] for key, title in CODERS.items()}
        groups[name]["ours, as sent"] = row["raw_to_stream"]
        groups[name]["ours with LZ4"] = row["packed_raw_to_stream"]
    bars("Bytes of dirty pages for each byte sent", "times fewer (logarithmic)", groups, log=True,
         rule=(10, "Remus with gzip: about 10"))


def plot_codec(arguments):
    results = load_named(arguments).values()
    points = []
    for kind, is_ours in (("coders", True), ("baselines", False)):
        for name in next(iter(results))[kind]:
            rows = [r[kind][name] for r in results]
            points.append((name, statistics.harmonic_mean(max(r["encode_gbps"], 1e-3) for r in rows),
                           statistics.mean(r["ratio"] for r in rows), is_ours))
    for name in next(iter(results))["second_stage"]:
        rows = [r["second_stage"][name] for r in results]
        points.append(("+ " + name, statistics.harmonic_mean(max(r["encode_gbps"], 1e-3) for r in rows),
                       statistics.mean(r["ratio"] for r in rows), True))
    scatter("Coders of dirty pages: bytes against speed (cold pages, one core)",
            "GB/s of page data, harmonic mean of the traces", "bytes out / bytes in", points)


def plot_codec_traces(arguments):
    groups = {}
    for name, result in load_named(arguments).items():
        compare = result["compare_gbps"]
        groups[name] = {"encode": result["encode_gbps"] / compare,
                        "encode and update": result["encode_update_gbps"] / compare,
                        "decode": result["coders"][result["coder"]]["decode_gbps"] / compare,
                        "plain XBZRLE": result["baselines"]["xrle_plain"]["encode_gbps"] / compare}
    bars("Speed in parts of reading both pages", "of compare", groups, rule=(0.75, "aim for encode: 0.75"))


PLOTS = {"seal": plot_seal, "latency": plot_latency, "bandwidth": plot_bandwidth, "codec": plot_codec,
         "codec-traces": plot_codec_traces}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in PLOTS:
        sys.exit(__doc__.split("JSON:")[0])
    PLOTS[sys.argv[1]](sys.argv[2:])


main()
