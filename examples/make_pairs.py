#!/usr/bin/env python3
"""Writes pairs that only attention solves, as source<TAB>target, one a line:

  reverse   a string of letters, and the same backwards
  copy      a string of letters, and the same again
  lookup    KEYS pairs of a key and a value in random order, then "?" and one of the keys:
            the target is its value

    examples/make_pairs.py TASK --pairs N [--shortest A] [--longest B] [--keys K] [--seed S] >FILE

No source is written twice. Lengths are letters (reverse, copy); beyond the training's, a
second file measures how far what was learned carries."""
import argparse
import random
import sys

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(rng, arguments):
    return [rng.choice(LETTERS) for _ in range(rng.randint(arguments.shortest, arguments.longest))]


def pair(task, rng, arguments):
    if task == "lookup":
        keys = rng.sample(range(2 * arguments.keys), arguments.keys)
        values = [rng.randrange(2 * arguments.keys) for _ in keys]
        asked = rng.randrange(arguments.keys)
        words = [word for key, value in zip(keys, values) for word in (f"k{key}", f"v{value}")]
        return words + ["?", f"k{keys[asked]}"], [f"v{values[asked]}"]
    source = letters(rng, arguments)
    return source, source[::-1] if task == "reverse" else source


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["reverse", "copy", "lookup"])
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--shortest", type=int, default=1)
    parser.add_argument("--longest", type=int, default=20)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.pairs < 1 or not 1 <= arguments.shortest <= arguments.longest or arguments.keys < 1:
        parser.error("at least one pair, one key, and 1 <= shortest <= longest were expected")
    rng, seen, tries = random.Random(f"{arguments.task} {arguments.seed}"), set(), 0
    while len(seen) < arguments.pairs:
        source, target = pair(arguments.task, rng, arguments)
        tries += 1
        if tries > 20 * arguments.pairs + 1000:
            parser.error(f"there are too few different ones: {len(seen)} of {arguments.pairs} were found")
        if tuple(source) in seen:
            continue
        seen.add(tuple(source))
        sys.stdout.write(" ".join(source) + "\t" + " ".join(target) + "\n")


main()
