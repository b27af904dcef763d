#!/usr/bin/env python3
"""Prints the ranges of src/base/utf8_width.c from Python's Unicode database:
python3 tests/vectors/make_utf8_width.py >ranges"""
import sys
import unicodedata

# Blocks where unassigned codepoints are wide by default (UAX 11, section 5).
WIDE_BLOCKS = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFD), (0x30000, 0x3FFFD)]


def width(c):
    category = unicodedata.category(chr(c))
    if c == 0xAD:
        return 1
    if category in ("Mn", "Me", "Cf", "Cc", "Zl", "Zp") or 0x1160 <= c <= 0x11FF:
        return 0
    if any(a <= c <= b for a, b in WIDE_BLOCKS):
        return 2
    # Python says 'F' of what is unassigned.
    return 2 if category != "Cn" and unicodedata.east_asian_width(chr(c)) in "WF" else 1


def ranges(wanted):
    start = None
    for c in range(0x110001):
        match = c < 0x110000 and not 0xD800 <= c <= 0xDFFF and width(c) == wanted
        if match and start is None:
            start = c
        elif not match and start is not None:
            yield start, c - 1
            start = None


def main():
    print("Unicode", unicodedata.unidata_version, file=sys.stderr)
    for name, wanted in (("zero", 0), ("wide", 2)):
        print(f"static const codepoint_range {name}_ranges[] = {{")
        items = [f"{{0x{a:04X}, 0x{b:04X}}}" for a, b in ranges(wanted)]
        for i in range(0, len(items), 5):
            print("    " + ", ".join(items[i:i + 5]) + ",")
        print("};")


main()
