#!/usr/bin/env python3
"""Seeds for the fuzz targets, in FOLDER/TARGET/: python3 fuzz/make_corpus.py FOLDER

Small well-formed files of every dtype and rank, and one file for each way in which
a header can be wrong.
"""
import json
import os
import struct
import sys

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
         "U8": 1, "BOOL": 1}


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def seeds():
    yield file_of({})
    yield file_of(b"{}      ")
    yield file_of({"__metadata__": {"format": "pt", "step": "3"}})
    for dtype, size in SIZES.items():
        yield file_of({"a": tensor(dtype, [3], 0, 3 * size)}, bytes(range(3 * size)))
    for dims in range(10):
        yield file_of({"a": tensor("U8", [1] * dims, 0, 1)}, b"\x07")
    yield file_of({"a": tensor("F32", [2, 0, 5], 0, 0), "b": tensor("F32", [1], 0, 4), "c": tensor("F32", [0], 4, 4)},
                  bytes(4))
    yield file_of({"b": tensor("F32", [2], 8, 16), "a": tensor("F16", [4], 0, 8), "__metadata__": {"k": "v"}},
                  bytes(range(16)))
    yield file_of({"\u00e9\u4e2d\U0001f600\"\\": tensor("BF16", [1], 0, 2)}, b"\x80\x3f")
    good = tensor("F32", [2], 0, 8)
    for wrong in ({"dtype": "F33"}, {"dtype": 3}, {"shape": 2}, {"shape": [2.0]}, {"shape": [-2]}, {"shape": [3]},
                  {"shape": [2 ** 63 - 1]}, {"shape": [2 ** 63]}, {"shape": [2 ** 32, 2 ** 32]}, {"shape": ["2"]},
                  {"shape": [None]}, {"data_offsets": 8}, {"data_offsets": [8]}, {"data_offsets": [8, 0]},
                  {"data_offsets": [-8, 0]}, {"data_offsets": [8, 16]}, {"data_offsets": [0, 2 ** 64]},
                  {"data_offsets": [4, 12]}, {"extra": 1}):
        yield file_of({"a": {**good, **wrong}}, bytes(8))
    yield file_of({"a": good, "b": tensor("F32", [2], 4, 12)}, bytes(12))
    yield file_of({"a": good, "b": tensor("F32", [2], 12, 20)}, bytes(20))
    yield file_of(b'{"a":1,"a":2}')
    yield file_of(b'{"a\\u0000":{}}')
    yield file_of({"__metadata__": {"k": 3}})
    yield file_of({"__metadata__": []})
    yield file_of(b'{"a":' + b"[" * 3000)
    for length in (0, 1, 9, 10 ** 8, 10 ** 8 + 1, 2 ** 63, 2 ** 64 - 1):
        yield file_of({"a": good}, bytes(8), length)
    whole = file_of({"a": good}, bytes(8))
    for end in range(0, len(whole), 7):
        yield whole[:end]


def main():
    folder = os.path.join(sys.argv[1], "fuzz_safetensors")
    os.makedirs(folder, exist_ok=True)
    for number, content in enumerate(seeds()):
        with open(os.path.join(folder, f"seed_{number:03}"), "wb") as file:
            file.write(content)


if __name__ == "__main__":
    main()
