#!/usr/bin/env python3
"""PyTorch's scaled_dot_product_attention and ours on the same shapes, in alternation in one
run on the same threads: share of oneDNN's 2048-cubed roof of each, and their ratio.

    python3 bench/attention_torch.py [--attn build/attn] [-t THREADS] [-s SECONDS] [CASE...]"""
import argparse
import json
import subprocess
import time

import torch
import torch.nn.functional as F

CASES = {  # name: batch, heads, kv heads, queries, keys, d, causal
    "4x8x512": (4, 8, 8, 512, 512, 64, False),
    "1x8x4096": (1, 8, 8, 4096, 4096, 64, False),
    "1x8x4096-causal": (1, 8, 8, 4096, 4096, 64, True),
    "4x8x1024-causal": (4, 8, 8, 1024, 1024, 64, True),
    "64x8x32": (64, 8, 8, 32, 32, 64, False),
    "1x16/4x2048-causal": (1, 16, 4, 2048, 2048, 128, True),
    "16x8x33x97": (16, 8, 8, 33, 97, 80, False),
}


def ours(program, case, dtype, seconds, threads):
    """The roof, and seconds of forward and backward."""
    line = subprocess.run([program, "bench", "attention", case, "--json", "--dtype", dtype, "--seconds", str(seconds),
                           "--threads", str(threads)], check=True, capture_output=True, text=True).stdout
    row = json.loads(line)
    return row["roof"], (row["forward_seconds"], row["backward_seconds"])


def clock(threads):
    """One thread's own time, where others use the machine too."""
    return time.thread_time() if threads == 1 else time.perf_counter()


def fastest(work, seconds, threads):
    best, end = 1e9, time.perf_counter() + seconds
    work()
    while True:
        start = clock(threads)
        work()
        best = min(best, clock(threads) - start)
        if time.perf_counter() > end:
            return best


def torch_times(shape, dtype, seconds, threads):
    b, h, hk, nq, nk, d, causal = shape
    make = lambda heads, n: torch.randn(b, n, heads, d, dtype=dtype).transpose(1, 2).requires_grad_()
    q, k, v = make(h, nq), make(hk, nk), make(hk, nk)
    gradient = torch.randn(b, h, nq, d, dtype=dtype)
    attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=h != hk)
    with torch.no_grad():
        forward = fastest(attend, seconds, threads)
    out = attend()
    backward = fastest(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True), seconds, threads)
    return forward, backward


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--attn", default="build/attn", help="the command")
    parser.add_argument("-t", type=int, default=1)
    parser.add_argument("-s", type=float, default=0.5)
    parser.add_argument("-r", type=int, default=2, help="rounds of alternation")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(options.t)
    print(f"torch {torch.__version__}, {options.t} threads; share of the GEMM roof, forward / backward")
    for dtype, kind in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        for name in options.cases or CASES:
            b, h, hk, nq, nk, d, causal = CASES[name]
            pairs = b * h * (nq * (nq + 1) / 2 if causal else nq * nk)
            work = (4 * pairs * d, 10 * pairs * d)
            mine, theirs, top = [1e9, 1e9], [1e9, 1e9], 0.0
            for _ in range(options.r):
                roof, times = ours(options.attn, name, dtype, options.s, options.t)
                top = max(top, roof)
                mine = [min(a, c) for a, c in zip(mine, times)]
                theirs = [min(a, c) for a, c in zip(theirs, torch_times(CASES[name], kind, options.s, options.t))]
            ratio = [t / m for t, m in zip(theirs, mine)]
            print(f"{name:20} {dtype:4} roof {top / 1e9:4.0f} GF/s  attn {work[0] / mine[0] / top:.2f} / "
                  f"{work[1] / mine[1] / top:.2f}  torch {work[0] / theirs[0] / top:.2f} / {work[1] / theirs[1] / top:.2f}"
                  f"  times faster {ratio[0]:.2f} / {ratio[1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
