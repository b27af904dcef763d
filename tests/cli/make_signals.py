"""Writes small labelled sets of pictures and sounds, and files that are damaged.

    make_signals.py FOLDER

Pictures: a bright bar, upright (0) or lying (1), at a random place: IDX files, and PNG files in
a folder for each class. Sounds: low and high tones with noise, as WAV, and a TSV.
"""
import random
import struct
import sys
import wave
import zlib
from math import pi, sin
from pathlib import Path

SIDE = 12


def bar(label, rng):
    at = rng.randrange(1, SIDE - 2)
    pixels = bytearray(rng.randrange(40) for _ in range(SIDE * SIDE))
    for i in range(SIDE):
        for j in (at, at + 1):
            pixels[i * SIDE + j if label == 0 else j * SIDE + i] = 255
    return bytes(pixels)


def png(width, height, rows, colour_type, bits=8):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b""))


def grey_png(pixels, width=SIDE):
    height = len(pixels) // width
    return png(width, height, [pixels[i * width:(i + 1) * width] for i in range(height)], 0)


def idx_set(folder, name, count, rng):
    labels = [rng.randrange(2) for _ in range(count)]
    pictures = b"".join(bar(label, rng) for label in labels)
    (folder / f"{name}-images").write_bytes(struct.pack(">IIII", 0x803, count, SIDE, SIDE) + pictures)
    (folder / f"{name}-labels").write_bytes(struct.pack(">II", 0x801, count) + bytes(labels))


def tone(path, hertz, rate, seconds, rng, loud=8000):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        samples = (int(loud * sin(2 * pi * hertz * i / rate)) + rng.randrange(-200, 200) if loud else 0
                   for i in range(int(rate * seconds)))
        out.writeframes(b"".join(struct.pack("<h", s) for s in samples))


def sounds(folder, name, count, rng):
    lines = []
    (folder / "wav").mkdir(exist_ok=True)
    for i in range(count):
        high = rng.randrange(2)
        path = f"wav/{name}{i}.wav"
        tone(folder / path, rng.uniform(1200, 1800) if high else rng.uniform(200, 500), 4000, rng.uniform(0.1, 0.3), rng)
        lines.append(f"{path}\t{'high' if high else 'low'}\n")
    (folder / f"{name}.tsv").write_text("".join(lines))


def spoken(folder, name, count, rng):
    """One to three tones behind one another, and what they are."""
    lines = []
    for i in range(count):
        said = [rng.randrange(2) for _ in range(rng.randint(1, 3))]
        samples = []
        for high in said:
            hertz = rng.uniform(1200, 1800) if high else rng.uniform(200, 500)
            samples += [int(8000 * sin(2 * pi * hertz * j / 4000)) for j in range(600)] + [0] * 300
        path = f"wav/{name}{i}.wav"
        with wave.open(str(folder / path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(4000)
            out.writeframes(b"".join(struct.pack("<h", s + rng.randrange(-200, 200)) for s in samples))
        lines.append(f"{path}\t{' '.join('high' if high else 'low' for high in said)}\n")
    (folder / f"{name}.tsv").write_text("".join(lines))


def main():
    folder = Path(sys.argv[1])
    rng = random.Random(7)
    idx_set(folder, "train", 400, rng)
    idx_set(folder, "test", 100, rng)
    for label, name in enumerate(("upright", "lying")):
        (folder / "classes" / name).mkdir(parents=True)
        for i in range(40):
            (folder / "classes" / name / f"{i}.png").write_bytes(grey_png(bar(label, rng)))
    sounds(folder, "sounds", 60, rng)
    sounds(folder, "heard", 20, rng)
    spoken(folder, "said", 120, rng)
    spoken(folder, "unheard", 20, rng)
    whole = grey_png(bar(0, rng))
    (folder / "upright.png").write_bytes(whole)
    (folder / "cut.png").write_bytes(whole[:len(whole) // 2])
    (folder / "pixel.png").write_bytes(grey_png(b"\x80", 1))
    (folder / "wide.png").write_bytes(grey_png(bytes(30000), 30000))
    (folder / "clear.png").write_bytes(png(2, 2, [bytes(8)] * 2, 6))
    (folder / "huge.png").write_bytes(png(1 << 20, 1 << 20, [b"\0"], 0))
    tone(folder / "silence.wav", 440, 8000, 0.3, rng, loud=0)
    tone(folder / "long.wav", 300, 4000, 5, rng)
    tone(folder / "other_rate.wav", 300, 22050, 0.2, rng)
    data = (folder / "silence.wav").read_bytes()
    (folder / "rate0.wav").write_bytes(data[:24] + struct.pack("<II", 0, 0) + data[32:])
    (folder / "rate10m.wav").write_bytes(data[:24] + struct.pack("<II", 10000000, 20000000) + data[32:])
    (folder / "cut.wav").write_bytes(data[:30])
    (folder / "empty.wav").write_bytes(data[:40] + struct.pack("<I", 0))


main()
