#!/usr/bin/env python3
"""Prints the table of src/base/utf8_lower.c from Python's Unicode database:
python3 tests/vectors/make_utf8_lower.py >ranges"""
mappings = [(c, ord(chr(c).lower()) - c) for c in range(0x80, 0x110000)
            if len(chr(c).lower()) == 1 and chr(c).lower() != chr(c)]
runs = []  # first, last, stride, delta
for c, delta in mappings:
    if runs:
        first, last, stride, d = runs[-1]
        if d == delta and (c - last == stride or (first == last and c - last in (1, 2))):
            runs[-1] = [first, c, c - last, d]
            continue
    runs.append([c, c, 1, delta])
items = ["{0x%04X, 0x%04X, %d, %d}" % tuple(r) for r in runs]
for i in range(0, len(items), 4):
    print("    " + ", ".join(items[i:i + 4]) + ",")
