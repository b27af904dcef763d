#!/usr/bin/env python3
"""Writes pairs that only attention solves, as source<TAB>target, one a line:

  reverse   a string of letters, and the same backwards
  copy      a string of letters, and the same again
  lookup    FEWEST to KEYS pairs of a key and a value in random order, then "?" and at most QUESTIONS
            of the keys: the target is each of them and its value. There are NAMES keys and as many values

    examples/make_pairs.py TASK --pairs N [--shortest A] [--longest B] [--keys K] [--fewest F] [--questions Q]
                           [--names M] [--seed S] >FILE

No source is written twice. Lengths are letters (reverse, copy) or keys (lookup); beyond the
training's, a second file measures how far what was learned carries."""
import argparse
import random
import sys

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(rng, arguments):
    return [rng.choice(LETTERS) for _ in range(rng.randint(arguments.shortest, arguments.longest))]


def pair(task, rng, arguments):
    if task == "lookup":
        keys = rng.sample(range(arguments.names), rng.randint(arguments.fewest, arguments.keys))
        values = [rng.randrange(arguments.names) for _ in keys]
        asked = rng.sample(range(len(keys)), rng.randint(1, min(arguments.questions, len(keys))))
        words = [word for key, value in zip(keys, values) for word in (f"k{key}", f"v{value}")]
        return words + ["?"] + [f"k{keys[i]}" for i in asked], [word for i in asked for word in (f"k{keys[i]}", f"v{values[i]}")]
    source = letters(rng, arguments)
    return source, source[::-1] if task == "reverse" else source


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["reverse", "copy", "lookup"])
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--shortest", type=int, default=1)
    parser.add_argument("--longest", type=int, default=20)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--fewest", type=int, help="default: KEYS")
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--names", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.fewest = arguments.keys if arguments.fewest is None else arguments.fewest
    if arguments.pairs < 1 or not 1 <= arguments.shortest <= arguments.longest or arguments.questions < 1:
        parser.error("at least one pair and question, and 1 <= shortest <= longest were expected")
    if not 1 <= arguments.fewest <= arguments.keys <= arguments.names:
        parser.error("1 <= fewest <= keys <= names was expected")
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
