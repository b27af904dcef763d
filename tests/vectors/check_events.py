#!/usr/bin/env python3
"""Reads a run's event files with TensorBoard itself and says what it found.

    attn train ... --model DIR
    python3 tests/vectors/check_events.py DIR [--pictures FOLDER] [--serve]

Needs tensorboard (2.21 was used). Three of its readers have to agree that every file is
whole: the record loader (checksums), the event accumulator (which plugin gets what), and,
with --serve, the server that a browser talks to. Exits 1 at the first disagreement.
--pictures keeps the attention pictures, FOLDER/<tag>-<step>.png.
"""
import argparse
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.util import tensor_util

SCALARS = {"train/loss", "train/learning_rate", "train/gradient_norm", "train/target_tokens_per_second",
           "train/peak_memory_MiB", "validation/loss", "validation/token_accuracy"}


def check(condition, sentence):
    if not condition:
        sys.exit("check_events: " + sentence)


def read_records(folder):
    """Every record of every file, through the loader that checks lengths and checksums."""
    files = sorted(name for name in os.listdir(folder) if "tfevents" in name)
    check(files, f"no event files in {folder}")
    for name in files:
        path = os.path.join(folder, name)
        events = list(event_file_loader.LegacyEventFileLoader(path).Load())
        check(events and events[0].file_version == "brain.Event:2", f"{name} does not begin with its version")
        # What was read must be the whole file: the loader stops quietly where a record is torn.
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            records, at = 0, 0
            while at < size:
                file.seek(at)
                at += struct.unpack("<Q", file.read(8))[0] + 16
                records += 1
        check(at == size and records == len(events), f"{name}: {len(events)} of {records} records were read")
        print(f"{name}: {len(events)} records, {size} bytes")


def png_size(bytes_):
    check(bytes_[:8] == b"\x89PNG\r\n\x1a\n", "an image is not a PNG file")
    return struct.unpack(">II", bytes_[16:24])


def read_summary(folder, pictures):
    """Scalars, texts and images as the plugins get them."""
    accumulator = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    check(SCALARS <= set(tags["scalars"]), f"missing curves: {sorted(SCALARS - set(tags['scalars']))}")
    for tag in tags["scalars"]:
        points = accumulator.Scalars(tag)
        steps = [p.step for p in points]
        check(steps == sorted(set(steps)), f"{tag}: steps repeat or go back: {steps[:20]}")
        print(f"  {tag}: {len(points)} points, step {steps[-1]}: {points[-1].value:.6g}")
    check(all(math.isfinite(p.value) for p in accumulator.Scalars("validation/loss")), "a validation loss is not finite")
    texts = accumulator.PluginTagToContent("text")
    check("cross_attention/tokens" in texts, "the tokens of the attention pictures are missing")
    for tag in sorted(texts):
        last = accumulator.Tensors(tag)[-1]
        text = tensor_util.make_ndarray(last.tensor_proto).item().decode("utf-8")
        print(f"  {tag}: {len(accumulator.Tensors(tag))} texts, step {last.step}:")
        print("".join(f"    | {line}\n" for line in text.splitlines()[:6]), end="")
    check(tags["images"], "there are no images")
    for tag in tags["images"]:
        images = accumulator.Images(tag)
        for image in images:
            check(png_size(image.encoded_image_string) == (image.width, image.height), f"{tag}: its size is not the PNG's")
            if pictures:
                name = f"{tag.replace('/', '-')}-{image.step:06d}.png"
                with open(os.path.join(pictures, name), "wb") as file:
                    file.write(image.encoded_image_string)
        print(f"  {tag}: {len(images)} pictures of {images[-1].width} x {images[-1].height}")
    return tags


def fetch(address, path, **query):
    with urllib.request.urlopen(f"{address}/data/plugin/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return answer.read()


def ask_server(folder, tags):
    """The same through HTTP, which is what a browser sees."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0",
                                   "--host", "127.0.0.1"], stdout=log, stderr=subprocess.STDOUT)
        try:
            address, runs = None, {}
            for _ in range(120):
                time.sleep(0.5)
                log.seek(0)
                found = re.search(r"http://[0-9.]+:\d+", log.read())
                address = found.group(0) if found else None
                runs = json.loads(fetch(address, "images/tags")) if address else {}
                if runs:
                    break
            check(runs, "the server found no images within a minute")
            run = next(iter(runs))
            served = json.loads(fetch(address, "scalars/tags"))[run]
            check(set(served) == set(tags["scalars"]), "the server has other curves than the accumulator")
            points = json.loads(fetch(address, "scalars/scalars", run=run, tag="train/loss"))
            texts = json.loads(fetch(address, "text/tags"))[run]
            html = json.loads(fetch(address, "text/text", run=run, tag=texts[0]))
            check(html, f"the server shows no text {texts[0]}")
            tag = next(iter(runs[run]))
            image = json.loads(fetch(address, "images/images", run=run, tag=tag, sample=0))[-1]
            png_size(fetch(address, "images/individualImage", **dict(urllib.parse.parse_qsl(image["query"]))))
            print(f"  server: {len(served)} curves, train/loss of {len(points)} points, "
                  f"{len(texts)} texts, {len(runs[run])} image tags")
        finally:
            server.terminate()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--pictures")
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    folder = os.path.join(arguments.model, "events")
    if arguments.pictures:
        os.makedirs(arguments.pictures, exist_ok=True)
    read_records(folder)
    tags = read_summary(folder, arguments.pictures)
    if arguments.serve:
        ask_server(folder, tags)
    print("check_events: all of it was read")


if __name__ == "__main__":
    main()
