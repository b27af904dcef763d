#!/usr/bin/env python3
"""A small GPT of characters, trained by attn and by PyTorch, alternately: tokens per second.

The model of nanoGPT's CPU example: 4 layers, width 128, 4 heads, feed-forward 512, block 64,
48 blocks an update, no dropout, tied embeddings, AdamW, clipping by norm. PyTorch is eager,
with scaled_dot_product_attention(is_causal), queries, keys and values in one product, the
fused AdamW and denormals flushed; its batches are cut before the clock starts, attn's within it.

    OMP_WAIT_POLICY=passive VENV/bin/python bench/language_torch.py --corpus input.txt [--rounds 5]

Where others use the machine too, PyTorch's threads lose most of their time waiting actively for
one another; OMP_WAIT_POLICY=passive spares it that.

Each round runs PyTorch in f32, in bf16 (autocast), and attn, for a few updates each, the first
ones left out. Prints the median of the rounds, by the clock and by processor time (which a busy
machine disturbs less), and the median of the rounds' ratios."""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
LAYERS, WIDTH, HEADS, HIDDEN, BLOCK, BATCH = 4, 128, 4, 512, 64, 48
PROGRESS = re.compile(r"^update (\d+) .*target-tokens/s (\d+(?:\.\d+)?)", re.MULTILINE)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.projection, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.inner, self.outer = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.projection(self.first(x)).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.outer(F.gelu(self.inner(self.second(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers, self.norm = nn.ModuleList(Layer() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, labels):
        x = self.tokens(ids) + self.places.weight
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy((self.norm(x) @ self.tokens.weight.T).flatten(0, 1), labels.flatten())


def run_torch(o, ids, vocabulary, autocast):
    torch.manual_seed(1)
    model = Gpt(vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    starts = torch.randint(len(ids) - BLOCK - 1, (o.skip + o.updates, BATCH))
    batches = [(torch.stack([ids[s:s + BLOCK] for s in row]), torch.stack([ids[s + 1:s + BLOCK + 1] for s in row]))
               for row in starts.tolist()]
    for i, (inputs, labels) in enumerate(batches):
        if i == o.skip:
            clock, processor = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(inputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tokens = o.updates * BATCH * BLOCK
    return tokens / (time.perf_counter() - clock), tokens / (time.process_time() - processor)


def attn_once(o, updates):
    """(clock seconds, processor seconds, what it said) of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [o.attn, "train", "--task", "language", "--corpus", o.corpus, "--model", os.path.join(folder, "m"),
                   "--layers", LAYERS, "--width", WIDTH, "--heads", HEADS, "--feed-forward", HIDDEN, "--block", BLOCK,
                   "--batch-tokens", BATCH * BLOCK, "--dropout", 0, "--optimizer", "adamw", "--weight-decay", 0.1,
                   "--rate", 0.001, "--schedule", "constant", "--warmup", 10, "--valid-share", 0, "--updates", updates,
                   "--threads", o.threads, "--precision", o.precision, "--log-every", 0]
        clock = time.perf_counter()
        pid = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        said = pid.stderr.read()
        _, status, usage = os.wait4(pid.pid, 0)
        pid.returncode = os.waitstatus_to_exitcode(status)
        if pid.returncode:
            sys.exit(f"attn ended with {pid.returncode}: {said.strip().splitlines()[-1:]}")
        return time.perf_counter() - clock, usage.ru_utime + usage.ru_stime, said


def run_attn(o, *_):
    """By the clock: its own count after the first updates; by processor time: a long run less a short one."""
    few, many = attn_once(o, o.skip), attn_once(o, o.skip + o.updates)
    speeds = [float(s) for update, s in PROGRESS.findall(many[2]) if int(update) > o.skip]
    return statistics.median(speeds), o.updates * BATCH * BLOCK / (many[1] - few[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", required=True, help="a plain text")
    parser.add_argument("--attn", default=str(HERE.parent / "build" / "attn"))
    parser.add_argument("--precision", default="auto", help="of attn (default: auto)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", type=int, default=5, help="first updates of a run, not measured")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    text = pathlib.Path(o.corpus).read_text(encoding="utf-8")
    letters = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[c] for c in text])
    runs = {"PyTorch f32": lambda: run_torch(o, ids, len(letters), False),
            "PyTorch bf16": lambda: run_torch(o, ids, len(letters), True),
            "attn": lambda: run_attn(o)}
    found = {name: [] for name in runs}
    for number in range(o.rounds):
        for name, run in runs.items():
            found[name].append(run())
            print(f"round {number + 1}/{o.rounds}  {name}: {found[name][-1][0]:.0f} tokens/s, "
                  f"{found[name][-1][1]:.0f} a processor second", file=sys.stderr, flush=True)
    for name, pairs in found.items():
        ratios = [tuple(a / p for a, p in zip(x, y, strict=True)) for x, y in zip(found["attn"], pairs, strict=True)]
        line = (f"{name:13} {statistics.median(p[0] for p in pairs):8.0f} tokens/s   "
                f"{statistics.median(p[1] for p in pairs):8.0f} a processor second")
        if name != "attn":
            line += f"   attn: {statistics.median(r[0] for r in ratios):.2f} and {statistics.median(r[1] for r in ratios):.2f} times"
        print(line)


if __name__ == "__main__":
    main()
