#!/usr/bin/env python3
"""A small MarianMT tokenizer as a foreign folder has it - two SentencePiece models,
unigram and BPE, and a vocab.json of other ids - and what transformers makes of it.

    python3 tests/vectors/make_tokenizer.py   (transformers, sentencepiece)

Writes marian_tokenizer/ with expected.json beside the tokenizer's files.
"""
import io
import json
import os
import random
import tempfile

import sentencepiece
from transformers import MarianTokenizer

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "marian_tokenizer")
SOURCE = ["the small house stands by the lake", "a house by the sea is not small", "she sees the lake and the sea",
          "who stands there by the house?", "it is late, and the lake is still.", "the sea is not the lake"]
TARGET = ["das kleine Haus steht am See", "ein Haus am Meer ist nicht klein", "sie sieht den See und das Meer",
          "wer steht da am Haus?", "es ist spät, und der See ist still.", "das Meer ist nicht der See", "我们在湖边"]
TEXTS = ["the small house", "  the   house  by the sea ", "", " ", "unknown Ω letters ЖЖЖ here", "ﬁsh Ａ ｂ", "the.house",
         ">>deu<< the house", "late?still.", "▁the house", "x\u00a0y\u3000z", "我们 the 湖边"]


def train(lines, kind, size, rules):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type=kind, vocab_size=size, hard_vocab_limit=False,
        character_coverage=1.0, num_threads=1, minloglevel=2, **rules)
    return model.getvalue()


def main():
    os.makedirs(FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, "rules.tsv")  # the usual rules take 240 kB
        with open(rules, "w", encoding="utf-8") as f:
            f.write("FB01\t66 69\nFF21\t41\nFF42\t62\nA0\t20\n3000\t20\n")
        source = train(SOURCE, "unigram", 60, {"normalization_rule_tsv": rules})
    target = train(TARGET, "bpe", 90, {"normalization_rule_name": "identity"})
    for name, model in (("source.spm", source), ("target.spm", target)):
        with open(os.path.join(FOLDER, name), "wb") as f:
            f.write(model)

    pieces = {">>deu<<": None, "<pad>": None}
    for model in (source, target):
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        for i in range(processor.get_piece_size()):
            pieces[processor.id_to_piece(i)] = None
    del pieces["<s>"]
    pieces = list(pieces)
    random.Random(3).shuffle(pieces)
    with open(os.path.join(FOLDER, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({piece: i for i, piece in enumerate(pieces)}, f, indent=2)
    with open(os.path.join(FOLDER, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"target_lang": "deu", "source_lang": "eng", "model_max_length": 512}, f)

    tokenizer = MarianTokenizer.from_pretrained(FOLDER)
    tokenizer.punc_normalizer = lambda text: text
    rng = random.Random(5)
    sequences = [[rng.randrange(len(pieces)) for _ in range(rng.randint(0, 12))] for _ in range(12)]
    unknown = tokenizer.unk_token_id  # transformers leaves <unk> out; not compared
    sequences = [[i for i in s if i != unknown] for s in sequences]
    expected = {
        "size": len(pieces), "eos": tokenizer.eos_token_id, "unk": unknown, "pad": tokenizer.pad_token_id,
        "encoded": [{"text": t, "source": tokenizer(t)["input_ids"][:-1],
                     "target": tokenizer(text_target=t)["input_ids"][:-1]} for t in TEXTS],
        "decoded": [{"ids": s, "text": tokenizer.decode(s, skip_special_tokens=True, use_source_tokenizer=False,
                                                        clean_up_tokenization_spaces=False)} for s in sequences],
    }
    with open(os.path.join(FOLDER, "expected.json"), "w", encoding="utf-8") as f:
        json.dump(expected, f, ensure_ascii=False, indent=0)
        f.write("\n")


main()
