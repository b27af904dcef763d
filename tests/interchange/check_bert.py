#!/usr/bin/env python3
"""Classifiers and guessers of hidden words from and to transformers, live.

    check_bert.py ATTN FOLDER

ATTN is the command, FOLDER one to work in. Needs torch and transformers. Prints a line for each thing
that was checked; exits 1 if one is wrong.

Import: a random BertForSequenceClassification that transformers saved, with its tokenizer, gives 200
texts the same label, and every label the same probability within 1e-5. Export: so does a classifier
that `attn train --pooling cls` made, opened in transformers; and a model of hidden words opens there
with every tensor in its place, and is a beginning for a classifier (`--init`), as transformers' own is.
"""
import os
import random
import re
import subprocess
import sys

import torch
from transformers import (AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizer)

TEXTS, BOUND = 200, 1e-5
ATTN, FOLDER = os.path.abspath(sys.argv[1]), sys.argv[2]
failures = 0


def check(right, what):
    global failures
    print(("ok      " if right else "WRONG   ") + what, flush=True)
    failures += not right


def attn(*arguments, **more):
    done = subprocess.run([ATTN, *arguments], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def make_texts(draw, count):
    """Words of syllables, some with accents, capitals, marks, and characters of other scripts."""
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(80)]
    words += [word.capitalize() for word in words[:20]] + ["d\u00e9ja", "don't", "3.5", "\u4f60\u597d", "\u00dcbel", "(x)"]
    return words, [" ".join(draw.choices(words, k=draw.randint(1, 12))) + draw.choice(["", ".", "?!"]) for _ in range(count)]


def classify(folder, texts):
    """For each text its label and every label's probability: LABEL, a tab, P, a tab, LABEL=P LABEL=P ..."""
    rows = []
    for line in attn("classify", "--model", folder, "--all", "--threads", "1", input="\n".join(texts) + "\n").splitlines():
        label, _, rest = line.split("\t")
        rows.append((label, {name: float(p) for name, p in re.findall(r"(\S.*?)=([0-9.]+)(?: |$)", rest)}))
    return rows


def expected(model, tokenizer, texts):
    rows = []
    for text in texts:
        with torch.no_grad():
            p = model(**tokenizer(text, return_tensors="pt")).logits[0].double().softmax(0).tolist()
        names = model.config.id2label
        rows.append((names[p.index(max(p))], {names[i]: value for i, value in enumerate(p)}))
    return rows


def compare(folder, model, tokenizer, texts, what):
    found, wanted = classify(folder, texts), expected(model.eval(), tokenizer, texts)
    same = sum(a[0] == b[0] for a, b in zip(found, wanted))
    worst = max(abs(a[1][name] - p) for a, b in zip(found, wanted) for name, p in b[1].items())
    check(len(found) == len(texts) and same == len(texts) and worst < BOUND,
          f"{what}: {same} of {len(texts)} labels are the same, probabilities within {worst:.1e}")


def make_tokenizer(words):
    pieces = sorted({c for word in words for c in word.lower()} | set(".?!,'()"))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + pieces + ["##" + p for p in pieces]
    vocabulary += sorted({word.lower() for word in words[:50]} - set(pieces))
    path = os.path.join(FOLDER, "vocab.txt")
    with open(path, "w") as file:
        file.write("\n".join(vocabulary) + "\n")
    return BertTokenizer(path), len(vocabulary)


def check_import(words, texts):
    folder = os.path.join(FOLDER, "foreign")
    tokenizer, size = make_tokenizer(words)
    torch.manual_seed(6)
    names = ["sports", "news", "weather", "none of them"]
    config = BertConfig(vocab_size=size, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
                        max_position_embeddings=64, initializer_range=0.3, id2label=dict(enumerate(names)),
                        label2id={name: i for i, name in enumerate(names)}, pad_token_id=0)
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    compare(folder, model, tokenizer, texts, "a classifier from transformers")


def check_export(texts):
    corpus, folder = os.path.join(FOLDER, "labelled.tsv"), os.path.join(FOLDER, "trained")
    with open(corpus, "w") as file:
        file.writelines(f"{'long' if len(text) > 30 else 'short'}\t{text}\n" for text in texts)
    shape = ["--layers", "2", "--width", "32", "--heads", "2", "--feed-forward", "64", "--vocabulary", "300"]
    attn("train", "--task", "classify", "--pooling", "cls", "--corpus", corpus, "--model", folder, "--updates", "150", *shape)
    model, tokenizer = BertForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    compare(folder, model, tokenizer, texts[:TEXTS], "a classifier made here, in transformers")


def check_masked(texts):
    corpus, folder = os.path.join(FOLDER, "plain.txt"), os.path.join(FOLDER, "masked")
    with open(corpus, "w") as file:
        file.writelines(text + "\n" for text in texts)
    attn("train", "--task", "masked", "--corpus", corpus, "--model", folder, "--updates", "100", "--layers", "2", "--width", "32",
         "--heads", "2", "--feed-forward", "64", "--vocabulary", "300")
    model, report = BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(texts[0], return_tensors="pt")
    with torch.no_grad():
        finite = bool(model.eval()(**ids).logits.isfinite().all())
    check(finite and not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"],
          "a model of hidden words made here, in transformers: every tensor is found, and none is left over")
    saved = os.path.join(FOLDER, "masked again")
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    labelled, begun = os.path.join(FOLDER, "labelled.tsv"), os.path.join(FOLDER, "begun")
    attn("train", "--task", "classify", "--pooling", "cls", "--corpus", labelled, "--init", saved, "--model", begun, "--updates", "20")
    opened = BertForSequenceClassification.from_pretrained(begun)
    compare(begun, opened, AutoTokenizer.from_pretrained(begun), texts[:TEXTS], "a classifier begun with transformers' hidden words")


def main():
    torch.set_num_threads(1)
    words, texts = make_texts(random.Random(7), 2000)
    check_import(words, texts[:TEXTS])
    check_export(texts)
    check_masked(texts)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
