#!/usr/bin/env python3
"""Translates standard input line by line through libattn, with ctypes alone.

    examples/translate.py MODEL [LIBRARY] <IN >OUT

LIBRARY is libattn.so's path where the system does not find it. Prints each line's
score, a tab, and the translation.
"""
import ctypes
import sys

ABI_VERSION = 1


def open_library(path):
    attn = ctypes.CDLL(path)
    found = attn.attn_abi_version()
    if found != ABI_VERSION:
        sys.exit(f"{path} has the ABI version {found}, this program was written to {ABI_VERSION}")
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    attn.attn_last_error.restype = ctypes.c_char_p
    attn.attn_model_load.argtypes = [ctypes.c_char_p, ctypes.POINTER(pointer)]
    attn.attn_model_free.argtypes = [pointer]
    attn.attn_translate.argtypes = [pointer, ctypes.POINTER(ctypes.c_char_p), size, pointer, ctypes.POINTER(pointer)]
    attn.attn_translation_text.argtypes = [pointer, size]
    attn.attn_translation_text.restype = ctypes.c_char_p
    attn.attn_translation_score.argtypes = [pointer, size, ctypes.c_int]
    attn.attn_translation_score.restype = ctypes.c_double
    attn.attn_translation_free.argtypes = [pointer]
    return attn


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    attn = open_library(sys.argv[2] if len(sys.argv) == 3 else "libattn.so.0")

    def check(status):
        if status:
            sys.exit(attn.attn_last_error().decode())

    lines = [line.rstrip("\n").encode() for line in sys.stdin]
    model, result = ctypes.c_void_p(), ctypes.c_void_p()
    check(attn.attn_model_load(sys.argv[1].encode(), ctypes.byref(model)))
    texts = (ctypes.c_char_p * len(lines))(*lines)
    check(attn.attn_translate(model, texts, len(lines), None, ctypes.byref(result)))
    for i in range(len(lines)):
        print(f"{attn.attn_translation_score(result, i, 0):.6f}\t{attn.attn_translation_text(result, i).decode()}")
    attn.attn_translation_free(result)
    attn.attn_model_free(model)


if __name__ == "__main__":
    main()
