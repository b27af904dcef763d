#!/usr/bin/env python3
"""From the start of the process to the first translation, warm, and the memory that it takes.

    bench/start_up.py MODEL [LINE]

MODEL is a translator in f32; an int8 one is made of it beside. The median of RUNS processes each, in alternation, after
one that nothing is taken from: milliseconds by the clock and of processor time, largest resident memory. ATTN names
the command (build/attn). Needs nothing but Python.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

ATTN, RUNS = os.environ.get("ATTN", "build/attn"), int(os.environ.get("RUNS", "50"))


def run(folder, line, threads):
    """Milliseconds by the clock and of the processors, MB."""
    begin = time.perf_counter()
    child = subprocess.Popen([ATTN, "translate", "--model", folder, "--threads", threads], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    child.stdin.write(line.encode() + b"\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    taken = time.perf_counter() - begin
    child.stdin.close()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or not answer.strip():
        sys.exit(f"attn translate failed on {folder}")
    return 1e3 * taken, 1e3 * (used.ru_utime + used.ru_stime), used.ru_maxrss / 1024


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    line = sys.argv[2] if len(sys.argv) == 3 else "a man in a blue shirt is standing on a ladder cleaning a window ."
    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "int8")
        if subprocess.run([ATTN, "quantize", "--model", sys.argv[1], "--output", small], stdout=subprocess.DEVNULL).returncode:
            sys.exit(1)
        cases = [("f32", sys.argv[1], "1"), ("f32", sys.argv[1], "2"), ("int8", small, "1"), ("int8", small, "2")]
        runs = [[] for _ in cases]
        for i in range(RUNS + 1):
            for case, found in zip(cases, runs):
                figures = run(case[1], line, case[2])
                found += [figures] if i else []
        print("| type | threads | first translation, ms | the fastest | processor time, ms | resident memory, MB |")
        print("|---|---:|---:|---:|---:|---:|")
        for (kind, _, threads), found in zip(cases, runs):
            clock, processor, memory = (statistics.median(column) for column in zip(*found))
            print(f"| {kind} | {threads} | {clock:.1f} | {min(found)[0]:.1f} | {processor:.1f} | {memory:.1f} |")


if __name__ == "__main__":
    main()
