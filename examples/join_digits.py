#!/usr/bin/env python3
"""Joins recordings of single digits to strings of 3 to 7 digits.

    join_digits.py RECORDINGS FOLDER

RECORDINGS holds WAV files named DIGIT_SPEAKER_INDEX.wav, 16 bits, one channel, one rate, as the
Free Spoken Digit Dataset does. Into FOLDER go digits.tsv and digits-test.tsv (file, digit), and
strings.tsv and strings-test.tsv (file, digits with spaces between) with their WAV files, 8,000 and
300. The test sets are made of the recordings with index 0 to 4, the others of the rest; a string's
digits are of one speaker, with 0 to 0.15 s of silence between.
"""
import random
import sys
import wave
from pathlib import Path

STRINGS, TEST_STRINGS, LEAST, MOST, LONGEST_PAUSE = 8000, 300, 3, 7, 0.15


def read(path):
    with wave.open(str(path)) as sound:
        if sound.getnchannels() != 1 or sound.getsampwidth() != 2:
            sys.exit(f"{path}: one channel of 16 bits was expected")
        return sound.getframerate(), sound.readframes(sound.getnframes())


def write(path, rate, samples):
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples)


def list_digits(recordings):
    """{is_test: {speaker: [(digit, path)]}}"""
    found = {False: {}, True: {}}
    for path in sorted(recordings.glob("*_*_*.wav")):
        digit, speaker, index = path.stem.split("_")
        found[int(index) < 5].setdefault(speaker, []).append((digit, path))
    if not found[False] or not found[True]:
        sys.exit(f"{recordings}: no files named DIGIT_SPEAKER_INDEX.wav, of index 0 to 4 and above")
    return found


def join(speakers, count, folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    names = sorted(speakers)
    for i in range(count):
        chosen = [rng.choice(speakers[names[i % len(names)]]) for _ in range(rng.randint(LEAST, MOST))]
        sounds = [read(path) for _, path in chosen]
        rate = sounds[0][0]
        if any(r != rate for r, _ in sounds):
            sys.exit(f"{chosen[0][1]}: its rate is not that of the others")
        pause = lambda: b"\0\0" * int(rng.uniform(0, LONGEST_PAUSE) * rate)
        path = folder / f"{i}.wav"
        write(path, rate, b"".join(samples + pause() for _, samples in sounds))
        lines.append(f"{path.resolve()}\t{' '.join(digit for digit, _ in chosen)}\n")
    return lines


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    recordings, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    for is_test, speakers in list_digits(recordings).items():
        end = "-test" if is_test else ""
        single = [f"{path.resolve()}\t{digit}\n" for name in sorted(speakers) for digit, path in speakers[name]]
        (folder / f"digits{end}.tsv").write_text("".join(single))
        strings = join(speakers, TEST_STRINGS if is_test else STRINGS, folder / f"strings{end}", rng)
        (folder / f"strings{end}.tsv").write_text("".join(strings))


main()
