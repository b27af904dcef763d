#!/usr/bin/env python3
"""Time and memory of training for a token, by the length of the sequence and the attention.

    bench/long_inputs.py [--attn build/attn] [--svg docs/long_inputs.svg]

A language model of the llama family on a made-up text, in windows, linear and full attention.
Time: processor time (user and system) of a run with more updates, less that of a run with one, a
token; every update has the same number of tokens, as sequences of the length. Memory: the peak of a
run with one sequence an update, less that of one whose sequence is 64 tokens, a token. Processor
time, because it is hardly changed by others on the machine; with one thread it is the time that
would pass on a free one. Prints a table and draws it. Standard library alone.
"""
import argparse
import math
import os
import random
import shutil
import statistics
import tempfile

LENGTHS = (1024, 2048, 4096, 8192, 16384)
KINDS = ("full", "window:256", "linear")
COLOURS = {"full": "#b5482f", "window:256": "#2f6db5", "linear": "#3c8d40"}
SHORT = 64


def write_text(path):
    words = random.Random(1)
    with open(path, "w") as out:
        out.write("".join(words.choice("abcdefghijklmnopqrstuvwxyz .,\n") for _ in range(400_000)))


def run(options, text, kind, length, tokens, updates):
    """Processor seconds and peak bytes of one training."""
    model = os.path.join(os.path.dirname(text), "model")
    shutil.rmtree(model, ignore_errors=True)
    arguments = [options.attn, "train", "--task", "language", "--family", "llama", "--corpus", text, "--model", model,
                 "--attention", kind, "--block", length, "--batch-tokens", tokens, "--updates", updates, "--layers", options.layers,
                 "--width", options.width, "--heads", options.heads, "--feed-forward", 4 * options.width, "--threads", options.threads,
                 "--valid-share", 0, "--average", 0, "--quiet"]
    child = os.fork()
    if child == 0:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.execv(options.attn, [str(a) for a in arguments])
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"attn train --attention {kind} --block {length} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def measure(options, text):
    """{kind: [(microseconds, bytes) a token, by length]}"""
    times = {(kind, length): [] for kind in KINDS for length in LENGTHS}
    memory = {}
    for _ in range(options.rounds):
        for length in LENGTHS:
            for kind in KINDS:
                least, _ = run(options, text, kind, length, options.tokens, 1)
                most, _ = run(options, text, kind, length, options.tokens, 1 + options.updates)
                times[kind, length].append((most - least) / (options.updates * options.tokens) * 1e6)
    for kind in KINDS:
        _, small = run(options, text, kind, SHORT, SHORT, 1)
        for length in LENGTHS:
            memory[kind, length] = (run(options, text, kind, length, length, 1)[1] - small) / length
    return {kind: [(statistics.median(times[kind, n]), memory[kind, n]) for n in LENGTHS] for kind in KINDS}


def print_table(figures):
    print("| tokens a sequence | " + " | ".join(f"{k}, µs a token" for k in KINDS) + " | " +
          " | ".join(f"{k}, KiB a token" for k in KINDS) + " |")
    print("|---:" * (1 + 2 * len(KINDS)) + "|")
    for i, n in enumerate(LENGTHS):
        row = [f"{figures[k][i][0]:.1f}" for k in KINDS] + [f"{figures[k][i][1] / 1024:.1f}" for k in KINDS]
        print(f"| {n:,} | " + " | ".join(row) + " |")


def step_of(largest):
    """A round distance of grid lines, about four of them."""
    size = 10 ** math.floor(math.log10(largest / 4))
    return next(size * m for m in (1, 2, 5, 10) if size * m * 4 >= largest)


def draw_panel(left, title, figures, which, unit):
    width, height, top = 330, 240, 56
    largest = max(point[which] for k in KINDS for point in figures[k]) * unit
    step = step_of(largest)
    most = step * math.ceil(largest / step)
    x = [left + width * i / (len(LENGTHS) - 1) for i in range(len(LENGTHS))]
    out = [f'<text x="{left}" y="{top - 22}" class="title">{title}</text>']
    for line in range(round(most / step) + 1):
        y = top + height * (1 - line * step / most)
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{line * step:g}</text>')
    for i, n in enumerate(LENGTHS):
        out.append(f'<text x="{x[i]:.1f}" y="{top + height + 20}" text-anchor="middle">{n:,}</text>')
    out.append(f'<text x="{left + width / 2}" y="{top + height + 42}" text-anchor="middle">tokens a sequence</text>')
    for kind in KINDS:
        points = [(x[i], top + height * (1 - figures[kind][i][which] * unit / most)) for i in range(len(LENGTHS))]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[kind]}" stroke-width="2.5"/>')
        out.extend(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{COLOURS[kind]}"/>' for a, b in points)
    return out


def draw(figures, path):
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="860" height="372" viewBox="0 0 860 372" font-family="sans-serif" font-size="12">',
           "<title>Training a language model: time and memory for a token, by the length of the sequence</title>",
           "<style>text { fill: #333 } .title { font-size: 14px; font-weight: bold } .grid { stroke: #ddd }</style>",
           '<rect width="860" height="372" fill="white"/>']
    out += draw_panel(60, "processor time, µs a token", figures, 0, 1)
    out += draw_panel(490, "memory, KiB a token", figures, 1, 1 / 1024)
    for i, kind in enumerate(KINDS):
        out.append(f'<rect x="{290 + 110 * i}" y="350" width="14" height="4" fill="{COLOURS[kind]}"/>')
        out.append(f'<text x="{310 + 110 * i}" y="357">{kind}</text>')
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attn", default="build/attn")
    parser.add_argument("--svg", default="docs/long_inputs.svg")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=16384, help="an update, where time is measured")
    parser.add_argument("--updates", type=int, default=3, help="measured, after a first one")
    parser.add_argument("--rounds", type=int, default=1, help="whose median is taken")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.attn = os.path.abspath(options.attn)
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text.txt")
        write_text(text)
        figures = measure(options, text)
    print_table(figures)
    draw(figures, options.svg)


main()
