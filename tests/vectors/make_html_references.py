#!/usr/bin/env python3
"""Prints src/data/html_reference_names.c: HTML's named character references (WHATWG HTML, 13.5), as Python's
html.entities has them.

    python3 tests/vectors/make_html_references.py >src/data/html_reference_names.c
"""
from html.entities import html5


def escaped(text):
    return "".join(chr(b) if 32 < b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())


def main():
    print("/* HTML's named character references (WHATWG HTML, 13.5), in the order of their bytes, and what they stand")
    print(" * for in UTF-8. Made by tests/vectors/make_html_references.py. */")
    print('#include "data/html_references.h"\n\n/* clang-format off */')
    print("const html_reference_name html_reference_names[] = {")
    line = "   "
    for name in sorted(html5):
        entry = f' {{"{name}", "{escaped(html5[name])}"}},'
        if len(line) + len(entry) > 128:
            print(line)
            line = "   "
        line += entry
    print(line)
    print("};\n/* clang-format on */\n")
    print("const size_t html_reference_name_count = sizeof html_reference_names / sizeof *html_reference_names;")


if __name__ == "__main__":
    main()
