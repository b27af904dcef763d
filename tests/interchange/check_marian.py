#!/usr/bin/env python3
"""Translators from and to transformers and CTranslate2, live.

    check_marian.py ATTN FOLDER

ATTN is the command, FOLDER one to work in. Needs torch, transformers, sentencepiece and
ctranslate2. Prints a line for each thing that was checked; exits 1 if one is wrong.

Export: a model that `attn train` made opens in transformers and, through its converter, in
CTranslate2, each with its tokenizer, and translates the same: 99 % of 200 sentences to the
letter, greedily and with a beam of 4, the rest ties of f32 rounding. (CTranslate2 ends a
beam search sooner than transformers do: a patience of 2 makes up for that.)
Import: a random MarianMTModel that transformers saved is translated greedily by attn,
token for token, for 200 inputs. Old pickles are refused, and the way to convert them that
the refusal names works.
"""
import json
import os
import random
import re
import shutil
import subprocess
import sys

import ctranslate2
import torch
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

SENTENCES, LONGEST, SHARE = 200, 60, 0.99
ATTN, FOLDER = os.path.abspath(sys.argv[1]), sys.argv[2]
failures = 0


def check(right, what):
    global failures
    print(("ok      " if right else "WRONG   ") + what, flush=True)
    failures += not right


def attn(*arguments, **more):
    return subprocess.run([ATTN, *arguments], capture_output=True, text=True, **more)


def translate(model, lines, *options):
    done = attn("translate", "--model", model, "--json", "--max-length", str(LONGEST), *options, input="\n".join(lines) + "\n")
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def make_corpus(draw):
    """A small language: eighty words of syllables, and their translations in another order."""
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = sorted({"".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(80)})
    others = {word: "".join(reversed(word)).capitalize() for word in words}
    lines = [draw.choices(words, k=draw.randint(1, 9)) for _ in range(3000)]
    return [" ".join(line) + "." for line in lines], [" ".join(others[w] for w in line) + "!" for line in lines]


def train(folder):
    source, target = make_corpus(random.Random(1))
    for name, lines in (("s", source), ("t", target)):
        with open(os.path.join(FOLDER, name), "w") as file:
            file.write("\n".join(lines) + "\n")
    done = attn("train", "--source", os.path.join(FOLDER, "s"), "--target", os.path.join(FOLDER, "t"), "--model", folder,
                "--vocabulary", "300", "--layers", "2", "--width", "64", "--heads", "4", "--feed-forward", "128",
                "--updates", "600", "--warmup", "100", "--rate", "0.003", "--batch-tokens", "2048")
    if done.returncode:
        sys.exit(done.stderr)
    return source[:SENTENCES]


def same(ours, theirs):
    return sum(a == b for a, b in zip(ours, theirs)) / len(ours)


def generate(model, tokenizer, line, beam):
    with torch.no_grad():
        return model.generate(**tokenizer(line, return_tensors="pt"), num_beams=beam, max_new_tokens=LONGEST, max_length=None,
                              length_penalty=1.0, early_stopping=False, do_sample=False, forced_eos_token_id=None)[0].tolist()


def check_export():
    folder = os.path.join(FOLDER, "trained")
    lines = train(folder)
    model, tokenizer = MarianMTModel.from_pretrained(folder).eval(), MarianTokenizer.from_pretrained(folder)
    converted = os.path.join(FOLDER, "converted")
    ctranslate2.converters.TransformersConverter(folder).convert(converted, force=True)
    peer = ctranslate2.Translator(converted, compute_type="float32")
    for beam in (1, 4):
        ours = [row["text"] for row in translate(folder, lines, "--beam", str(beam))]
        theirs = [tokenizer.decode(generate(model, tokenizer, line, beam), skip_special_tokens=True) for line in lines]
        share = same(ours, theirs)
        check(share >= SHARE, f"transformers, beam {beam}: {100 * share:.1f} % of {SENTENCES} translations are the same")
        pieces = [tokenizer.convert_ids_to_tokens(tokenizer(line)["input_ids"]) for line in lines]
        found = peer.translate_batch(pieces, beam_size=beam, max_decoding_length=LONGEST, length_penalty=1.0,
                                    patience=2 if beam > 1 else 1)
        theirs = [tokenizer.decode(tokenizer.convert_tokens_to_ids(row.hypotheses[0]), skip_special_tokens=True) for row in found]
        share = same(ours, theirs)
        check(share >= SHARE, f"CTranslate2, beam {beam}: {100 * share:.1f} % of {SENTENCES} translations are the same")


def check_import():
    trained, folder = os.path.join(FOLDER, "trained"), os.path.join(FOLDER, "foreign")
    tokenizer = MarianTokenizer.from_pretrained(trained)
    size = len(json.load(open(os.path.join(trained, "vocab.json"))))
    torch.manual_seed(3)
    pad = tokenizer.pad_token_id
    config = MarianConfig(vocab_size=size, d_model=48, encoder_layers=3, decoder_layers=2, encoder_attention_heads=4,
                          decoder_attention_heads=3, encoder_ffn_dim=96, decoder_ffn_dim=80, max_position_embeddings=128,
                          activation_function="swish", scale_embedding=True, pad_token_id=pad, eos_token_id=0,
                          decoder_start_token_id=pad, forced_eos_token_id=None, num_beams=1, init_std=0.3)
    model = MarianMTModel(config).eval()
    with torch.no_grad():
        model.final_logits_bias.normal_(0, 2)
        model.final_logits_bias[0, 0] += 3
        model.final_logits_bias[0, pad] = -1000
    model.generation_config.bad_words_ids = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lines = [line for line in open(os.path.join(FOLDER, "s")).read().splitlines()[500:500 + SENTENCES]]
    rows = translate(folder, lines, "--beam", "1")
    equal = 0
    for row, line in zip(rows, lines):
        ids = generate(model, tokenizer, line, 1)[1:]
        ids = ids[:ids.index(0)] if 0 in ids else ids[:LONGEST - 1]
        equal += tokenizer.convert_tokens_to_ids([t["piece"] for t in row["tokens"][:-1]]) == ids
    check(equal == SENTENCES, f"a model from transformers: {equal} of {SENTENCES} greedy translations are the same, token for token")

    pickled = os.path.join(FOLDER, "pickled")
    shutil.copytree(folder, pickled)
    os.remove(os.path.join(pickled, "model.safetensors"))
    torch.save(model.state_dict(), os.path.join(pickled, "pytorch_model.bin"))
    refused = attn("translate", "--model", pickled, input="x\n")
    command = re.search(r"in Python: (.*)$", refused.stderr.strip())
    check(refused.returncode == 1 and "pytorch_model.bin" in refused.stderr and command is not None, "a pickle is refused")
    if command:
        done = subprocess.run([sys.executable, "-c", command[1]], capture_output=True, text=True)
        check(done.returncode == 0 and attn("translate", "--model", pickled, input="x\n").returncode == 0,
              "and converted by the way that the refusal names " + done.stderr[-300:])


def main():
    torch.set_num_threads(1)
    check_export()
    check_import()
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
