#!/usr/bin/env python3
"""A small byte-level BPE tokenizer.json, as GPT-2's, and what the tokenizers library makes of it.

    python3 tests/vectors/make_bpe.py   (tokenizers 0.23)

Writes bpe_tokenizer/ with tokenizer.json and expected.json: texts, ids, and what they decode to.
"""
import json
import os
import random

from tokenizers import ByteLevelBPETokenizer, Tokenizer

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpe_tokenizer")
TEXT = ["the small house stands by the lake, and she sees the sea", "they're late; it's 1999 or 2001, isn't it?",
        "def f(x):\n    return x + 1\n", "Größe und Länge, naïve café", "我们在湖边，天气很好", "мир и море",
        "the house by the sea is not small, the lake isn't the sea"] * 3
TEXTS = ["the small house", " the house", "  the   house  ", "", " ", "\n\n", "a\n b\n  c\t\td", "they'll they'LL 'tis it's we've I'm",
         "x=1;y=22 333a", "Größe naïve cafe\u0301", "我们 在湖边。", "emoji 😀👍🏽 ok", "a\u00a0b\u3000c\u2028d", "١٢٣ ⅷ ½ Ⅳ", "𠀀𠀁 ǅ ʰ",
         "!!!??? ... -- (a)[b]{c}", "\u0000"[:0] + "tab\tend ", " 's", "'s 't're", "ﬁ ª º", "end   ", "   \n  start", "\u200bzero\u200dwidth"]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(TEXT, vocab_size=330, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False)
    path = os.path.join(FOLDER, "tokenizer.json")
    made.save(path, pretty=False)
    with open(os.path.join(FOLDER, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
                   "unk_token": "<|endoftext|>"}, f)
    tokenizer, rng, texts = Tokenizer.from_file(path), random.Random(3), list(TEXTS)
    alphabet = list("ab 'st19.,\n\té我湖😀 ½²") + ["the", " house", "  "]
    for _ in range(60):
        texts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 25))))
    cases = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    for _ in range(30):  # bytes that are no characters
        ids = [rng.randrange(1, tokenizer.get_vocab_size()) for _ in range(rng.randint(1, 8))]
        cases.append({"text": None, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    with open(os.path.join(FOLDER, "expected.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, indent=0)


main()
