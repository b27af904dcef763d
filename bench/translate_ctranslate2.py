#!/usr/bin/env python3
"""attn and CTranslate2 translating with the same weights, alternately.

    python3 bench/translate_ctranslate2.py --build build [--models tiny base] [--rounds 5]

Makes MarianMTModels with random weights, saves them to a folder (which attn opens) and
converts them for CTranslate2. Every translation is forced to one length on both sides:
LENGTH decoder steps a sentence. Prints, for each model, type, beam and batch, the median
target tokens a second of both and their ratio. bf16 has no peer on many processors: its ratio is
to CTranslate2's f32. One thread is timed by its process's processor time, which holds on a
machine that others use, more by the clock. Two threads are both programs' own way of spreading
sentences (CTranslate2: inter_threads=2); "of one": attn's rate by the clock, divided by that of one thread with
the same sentences, which takes turns with it."""
import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time

import ctranslate2
import torch
from ctranslate2.converters import transformers as convert
from transformers import MarianConfig, MarianMTModel

SHAPES = {"tiny": (4, 128, 256, 4), "base": (6, 512, 2048, 8)}
SENTENCES = {("tiny", 32): 128, ("tiny", 1): 24, ("base", 32): 32, ("base", 1): 6}
VOCABULARY, LENGTH = 8000, 32


def word(i):
    return "</s>" if i == 0 else "<unk>" if i == 1 else "<pad>" if i == VOCABULARY - 1 else f"w{i}"


class Words:
    """What the converter wants to know of a tokenizer."""

    eos_token, unk_token = "</s>", "<unk>"

    def get_vocab(self):
        return {word(i): i for i in range(VOCABULARY)}


def make_model(name, folder):
    layers, width, inner, heads = SHAPES[name]
    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=VOCABULARY, d_model=width, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=inner,
        decoder_ffn_dim=inner, max_position_embeddings=512, activation_function="relu", scale_embedding=True,
        static_position_embeddings=True, pad_token_id=VOCABULARY - 1, eos_token_id=0,
        decoder_start_token_id=VOCABULARY - 1, forced_eos_token_id=None, num_beams=1, dropout=0.0)
    model = MarianMTModel(config).eval()
    plain, peer = os.path.join(folder, name), os.path.join(folder, name + "-peer")
    model.save_pretrained(plain)
    with open(os.path.join(plain, "vocab.json"), "w") as f:
        json.dump(Words().get_vocab(), f)
    with open(os.path.join(plain, "tokenizer_config.json"), "w") as f:
        json.dump({"attn_tokenizer": "whitespace", "join_continuation": False}, f)
    spec = convert.MarianMTLoader()(model, Words())
    spec.validate()
    os.makedirs(peer)
    spec.save(peer)
    return plain, peer


class Attn:
    def __init__(self, program, model, text, compute, beam, batch, threads):
        command = [program, model, text, compute, beam, LENGTH, batch, threads]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        bufsize=1)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("bench_translate did not start")

    def run(self):
        self.process.stdin.write("\n")
        cpu, clock, _ = self.process.stdout.readline().split()
        return float(cpu), float(clock)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    def __init__(self, model, sentences, compute, beam, batch, threads):
        self.translator = ctranslate2.Translator(model, device="cpu", compute_type={"f32": "float32", "int8": "int8"}[compute],
                                                 inter_threads=threads, intra_threads=1)
        self.sentences, self.beam, self.batch, self.threads = sentences, beam, batch, threads

    def run(self):
        cpu, clock = time.process_time(), time.perf_counter()
        step = self.batch or len(self.sentences)
        for i in range(0, len(self.sentences), step):
            self.translator.translate_batch(self.sentences[i:i + step], beam_size=self.beam, max_batch_size=32,
                                            min_decoding_length=LENGTH, max_decoding_length=LENGTH)
        return time.process_time() - cpu, time.perf_counter() - clock


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--build", default="build", help="attn's build folder, with bench_translate")
    arguments.add_argument("--models", nargs="+", default=list(SHAPES), choices=SHAPES)
    arguments.add_argument("--types", nargs="+", default=["f32", "int8", "bf16"])
    arguments.add_argument("--beams", nargs="+", type=int, default=[1, 5])
    arguments.add_argument("--batches", nargs="+", type=int, default=[32, 1])
    arguments.add_argument("--threads", nargs="+", type=int, default=[1])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--keep", help="a folder for the models, made there once")
    options = arguments.parse_args()
    subprocess.run(["cmake", "--build", options.build, "--target", "bench_translate"], check=True, stdout=subprocess.DEVNULL)
    program = os.path.join(options.build, "bench_translate")
    print(f"{'model':6}{'type':6}{'beam':>5}{'batch':>6}{'threads':>8}{'attn':>10}{'peer':>10}{'ratio':>7}{'of one':>9}   target tokens/s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        for name in options.models:
            plain, peer = os.path.join(folder, name), os.path.join(folder, name + "-peer")
            if not os.path.exists(peer):
                plain, peer = make_model(name, folder)
            for threads in options.threads:
                for compute in options.types:
                    for beam in options.beams:
                        for batch in options.batches:
                            compare(program, plain, peer, name, compute, beam, batch, threads, options.rounds, temporary)


def compare(program, plain, peer, name, compute, beam, batch, threads, rounds, folder):
    chance = random.Random(7)
    count = SENTENCES[name, batch] * (threads if batch > 1 else 1)
    sentences = [[word(chance.randrange(2, VOCABULARY - 1)) for _ in range(chance.randrange(16, 33))] for _ in range(count)]
    text = os.path.join(folder, "text")
    with open(text, "w") as f:
        f.writelines(" ".join(s) + "\n" for s in sentences)
    step = batch if threads == 1 else 0
    runs = [Attn(program, plain, text, compute, beam, step, threads),
            Peer(peer, [s + ["</s>"] for s in sentences], "f32" if compute == "bf16" else compute, beam, step, threads)]
    if threads > 1:  # the same work with one
        runs.append(Attn(program, plain, text, compute, beam, step, 1))
    for r in runs:
        r.run()
    times = [[r.run() for r in runs] for _ in range(rounds)]
    for r in runs[::2]:
        r.close()
    tokens = count * LENGTH
    which = 0 if threads == 1 else 1
    mine, peers = (tokens / statistics.median(of_round[i][which] for of_round in times) for i in (0, 1))
    one = f"{mine * statistics.median(of_round[2][1] for of_round in times) / tokens:9.2f}" if threads > 1 else ""
    print(f"{name:6}{compute:6}{beam:5}{batch:6}{threads:8}{mine:10.0f}{peers:10.0f}{mine / peers:7.2f}{one}", flush=True)


if __name__ == "__main__":
    main()
