#!/usr/bin/env python3
"""Prints the tables of src/base/utf8_marks.c from Python's Unicode database:
python3 tests/vectors/make_utf8_marks.py >tables"""
import unicodedata


def ranges(wanted):
    runs = []
    for c in range(0x110000):
        if wanted(chr(c)):
            if runs and runs[-1][1] == c - 1:
                runs[-1][1] = c
            else:
                runs.append([c, c])
    return ["{0x%04X, 0x%04X}" % tuple(r) for r in runs]


def table(name, items, per_line):
    print(f"static const {name}[] = {{")
    for i in range(0, len(items), per_line):
        print("    " + ", ".join(items[i:i + per_line]) + ",")
    print("};")


def bases():
    """(codepoint, what its canonical decomposition leaves without marks), Hangul aside."""
    for c in range(0xC0, 0x110000):
        if 0xAC00 <= c <= 0xD7A3 or unicodedata.category(chr(c)) == "Mn":
            continue
        left = [ord(x) for x in unicodedata.normalize("NFD", chr(c)) if unicodedata.category(x) != "Mn"]
        if left != [c]:
            yield "{0x%04X, {%s}}" % (c, ", ".join("0x%04X" % x for x in left))


def punctuation(c):
    return unicodedata.category(c)[0] == "P" or (c < "\x7f" and c > " " and not c.isalnum())


table("range marks", ranges(lambda c: unicodedata.category(c) == "Mn"), 7)
table("range punctuation", ranges(punctuation), 7)
table("range formats", ranges(lambda c: unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")), 7)
table("base bases", list(bases()), 5)
