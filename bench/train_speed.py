#!/usr/bin/env python3
"""Training speed and memory of attn beside PyTorch, alternately on one machine.

    python3 bench/train_speed.py --source train.en --target train.de --python VENV/bin/python

Each round runs every contestant once for a few updates: attn and train_torch.py in each
precision, PyTorch with the C library's allocator as it comes and once more keeping freed
memory (MALLOC_MMAP_MAX_=0: fewer page faults, more memory); with --marian also Marian, in
f32 with a worker a thread. All leave the first updates out. Prints for each contestant the
median over rounds of the median target tokens per second, the fastest update or half second
that it ever had (what is left of the figure where others use the machine), the model FLOPs'
share of the matrix-product roof that PyTorch measured, at both speeds, and the largest
resident memory of the process as the kernel counted it; then the ratios.
Standard library alone: PyTorch is needed only by the interpreter named with --python."""
import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRESS = re.compile(r"^update (\d+) .*target-tokens/s (\d+(?:\.\d+)?)", re.MULTILINE)
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


class Failed(Exception):
    pass


def run(command, extra_environment):
    """(standard output, standard error, peak resident bytes) of a command of its own process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)]
        environment = {**os.environ, **extra_environment}
        try:
            pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        _, status, usage = os.wait4(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        if os.waitstatus_to_exitcode(status) != 0:
            last = texts[1].strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"{' '.join(command[:2])} ended with {os.waitstatus_to_exitcode(status)}: {last[0]}")
        return texts[0], texts[1], usage.ru_maxrss * 1024


def shared_arguments(o):
    names = ["source", "target", "layers", "width", "feed_forward", "heads", "dropout", "batch_tokens", "threads"]
    return [part for n in names for part in (f"--{n.replace('_', '-')}", str(getattr(o, n)))]


class Torch:
    def __init__(self, precision, keep):
        self.precision, self.environment = precision, KEEP_MEMORY if keep else {}
        self.name = f"PyTorch {precision}{' keeping memory' if keep else ''}"

    def measure(self, o):
        command = [o.python, str(HERE / "train_torch.py"), *shared_arguments(o), "--precision", self.precision]
        command += ["--skip", str(o.skip), "--updates", str(o.updates), "--json"]
        out, _, peak = run(command, self.environment)
        result = json.loads(out)
        return {"speed": result["target_tokens_per_second"], "fastest": result["target_tokens_per_second_fastest"], "peak": peak,
                "roof": result["roof_flops"], "flops": result["flops_per_target_token"]}


class Attn:
    def __init__(self, precision):
        self.precision, self.name = precision, f"attn {precision}"

    def measure(self, o):
        with tempfile.TemporaryDirectory() as folder:
            command = [o.attn, "train", *shared_arguments(o), "--precision", self.precision]
            command += ["--model", os.path.join(folder, "model"), "--tokenizer", "whitespace", "--vocabulary", "1000000"]
            command += ["--updates", str(o.skip + o.updates), "--valid-share", "0", "--log-every", "0"]
            _, err, peak = run(command, {})
        # A line covers the updates since the one before it.
        speeds = [float(speed) for update, speed in PROGRESS.findall(err) if int(update) > o.skip]
        if not speeds:
            raise Failed(f"attn printed no progress after update {o.skip}; raise --updates")
        return {"speed": statistics.median(speeds), "fastest": max(speeds), "peak": peak}


class Marian:
    """Its own post-norm Transformer of the same size, f32, synchronous updates."""

    SPEED = re.compile(r"Up\. (\d+) .* ([\d.]+) words/s")
    precision, name = "f32", "Marian f32"

    def measure(self, o):
        layers, batch = str(o.layers), str(o.batch_tokens)
        with tempfile.TemporaryDirectory() as folder:
            model, words = os.path.join(folder, "model.npz"), os.path.join(folder, "words.yml")
            command = [*o.marian.split(), "--type", "transformer", "--model", model, "--train-sets", o.source, o.target]
            command += ["--vocabs", words, words, "--tied-embeddings-all", "--dim-emb", str(o.width)]
            command += ["--enc-depth", layers, "--dec-depth", layers, "--transformer-dim-ffn", str(o.feed_forward)]
            command += ["--transformer-heads", str(o.heads), "--transformer-dropout", str(o.dropout)]
            command += ["--label-smoothing", "0.1", "--learn-rate", "0.0005", "--lr-warmup", "400", "--clip-norm", "1"]
            command += ["--mini-batch-words", batch, "--mini-batch", "4000", "--sync-sgd", "--cpu-threads", str(o.threads)]
            command += ["--workspace", "2000", "--after", f"{o.skip + o.updates}u", "--disp-freq", "1u", "--max-length", "256"]
            _, err, peak = run(command, {})
        speeds = [float(speed) for update, speed in self.SPEED.findall(err) if int(update) > o.skip]
        if not speeds:
            raise Failed("Marian printed no words/s")
        return {"speed": statistics.median(speeds), "fastest": max(speeds), "peak": peak}


def options():
    parser = argparse.ArgumentParser(description="Measure attn's training beside PyTorch's.")
    parser.add_argument("--source", required=True, help="source sentences, split at white space")
    parser.add_argument("--target", required=True)
    parser.add_argument("--attn", default=str(HERE.parent / "build" / "attn"), help="the command (default: build/attn)")
    parser.add_argument("--python", default="python3", help="an interpreter that has PyTorch")
    parser.add_argument("--precision", choices=["f32", "bf16"], action="append", help="may be repeated (default: both)")
    parser.add_argument("--marian", help='the command that trains with Marian, for instance "marian" or "pymarian"')
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", type=int, default=5, help="first updates of a run, not measured")
    parser.add_argument("--updates", type=int, default=25, help="updates of a run that are measured")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--feed-forward", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def measure_all(o, contestants):
    """{contestant: [measurement of each round]}; one that fails in the first round is dropped with a word."""
    found = {}
    for number in range(o.rounds):
        for contestant in list(contestants):
            try:
                m = contestant.measure(o)
            except Failed as failure:
                print(f"{contestant.name}: left out: {failure}", file=sys.stderr)
                contestants.remove(contestant)
                found.pop(contestant, None)
                continue
            found.setdefault(contestant, []).append(m)
            print(f"round {number + 1}/{o.rounds}  {contestant.name}: {m['speed']:.0f} tokens/s, "
                  f"{m['peak'] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
    return found


def print_table(found):
    roofs, flops = {}, 0.0  # the best that any round of a precision saw
    for contestant, measurements in found.items():
        if isinstance(contestant, Torch):
            roofs[contestant.precision] = max([roofs.get(contestant.precision, 0)] + [m["roof"] for m in measurements])
            flops = measurements[0]["flops"]
    print(f"{'':32} {'target tokens/s':>15} {'(low':>7} {'high)':>7} {'of roof':>8} {'fastest':>8} {'of roof':>8} {'peak MiB':>9}")
    for contestant, measurements in found.items():
        speeds = [m["speed"] for m in measurements]
        speed, peak = statistics.median(speeds), statistics.median(m["peak"] for m in measurements)
        fastest, roof = max(m["fastest"] for m in measurements), roofs.get(contestant.precision)
        shares = [f"{s * flops / roof:8.3f}" if roof else f"{'-':>8}" for s in (speed, fastest)]
        print(f"{contestant.name:32} {speed:15.0f} {min(speeds):7.0f} {max(speeds):7.0f} {shares[0]} {fastest:8.0f} {shares[1]} "
              f"{peak / 2**20:9.0f}")
    for precision, roof in roofs.items():
        print(f"roof {precision}: {roof / 1e9:.0f} GF/s; {flops / 1e6:.1f} MFLOP a target token")


def print_ratios(found):
    """Of the same round, since the machine's mood is then the same; the median over rounds."""
    for a in (c for c in found if isinstance(c, Attn)):
        for t in (c for c in found if not isinstance(c, Attn)):
            pairs = list(zip(found[a], found[t]))
            speed = statistics.median(x["speed"] / y["speed"] for x, y in pairs)
            memory = statistics.median(x["peak"] / y["peak"] for x, y in pairs)
            fastest = max(x["fastest"] for x in found[a]) / max(y["fastest"] for y in found[t])
            print(f"{a.name} / {t.name}: speed {speed:.2f} (fastest {fastest:.2f}), memory {memory:.2f}")


def main():
    o = options()
    contestants = []
    for precision in o.precision or ["f32", "bf16"]:
        contestants += [Attn(precision), Torch(precision, keep=False), Torch(precision, keep=True)]
    if o.marian:
        contestants.append(Marian())
    found = measure_all(o, contestants)
    if not found:
        sys.exit("train_speed.py: nothing could be measured")
    print_table(found)
    print_ratios(found)


if __name__ == "__main__":
    main()
