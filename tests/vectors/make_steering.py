#!/usr/bin/env python3
"""What transformers generates when it is steered, and what its filters of sampling leave.

    python3 tests/vectors/make_steering.py >tests/vectors/steering.txt

Needs torch and transformers (the committed file: 2.15 and 5.23). The model is marian_tiny
with the bias that generation.txt begins with, in f64. Searches that run into the length
limit are left out, as in make_generation.py. The file's lines:

    case BEAM PENALTY MAX_LENGTH REPETITION NGRAM HYPOTHESES PREFIX_COUNT PREFIX... SOURCE...
    SCORE ID...                      ids without start and </s>; of greedy search the
                                     score is the model's own log p / length
    filter TEMPERATURE TOP_K TOP_P LOGIT...
    PROBABILITY...                   after temperature, top-k and top-p, in this order
"""
import os
import random
import sys

import torch
from transformers import MarianMTModel
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

EOS, PAD = 0, 36
FOLDER = os.path.dirname(os.path.abspath(__file__))


def log_probability(model, source, ids):
    with torch.no_grad():
        logits = model(torch.tensor([source]), decoder_input_ids=torch.tensor([[PAD] + ids])).logits[0]
    return torch.log_softmax(logits, -1)[torch.arange(len(ids) + 1), torch.tensor(ids + [EOS])].sum().item()


def generate(model, source, prefix, beam, penalty, limit, repetition, ngram):
    with torch.no_grad():
        out = model.generate(
            torch.tensor([source]), decoder_input_ids=torch.tensor([[PAD] + prefix]), num_beams=beam,
            length_penalty=penalty, max_new_tokens=limit - len(prefix), early_stopping=False,
            num_return_sequences=beam, bad_words_ids=[[PAD]], forced_eos_token_id=None, do_sample=False,
            repetition_penalty=repetition, no_repeat_ngram_size=ngram, output_scores=True,
            return_dict_in_generate=True)
    rows = []
    for i, sequence in enumerate(out.sequences.tolist()):
        ids = sequence[1:]
        if EOS not in ids:
            return None
        ids = ids[:ids.index(EOS)]
        own = log_probability(model, source, ids) / (len(ids) + 1) ** penalty
        score = out.sequences_scores[i].item() if beam > 1 else own
        rows.append((score, ids))
    return rows if len(rows[0][1]) > len(prefix) else None


def cases(model, draw):
    wanted = [(1, 1.0, 1.3, 0), (1, 1.0, 1.0, 2), (1, 1.0, 2.0, 1), (4, 1.0, 1.3, 0), (4, 1.0, 1.0, 2),
              (3, 0.6, 1.2, 3), (5, 1.0, 0.8, 2)]
    for beam, penalty, repetition, ngram in wanted:
        found = 0
        for _ in range(600):
            source = [draw.randrange(1, PAD) for _ in range(draw.randint(1, 14))] + [EOS]
            rows = generate(model, source, [], beam, penalty, 40, repetition, ngram)
            if rows is None or generate(model, source, [], beam, penalty, 40, 1.0, 0) == rows:
                continue  # the limit ended it, or nothing was steered
            print("case", beam, penalty, 40, repetition, ngram, len(rows), 0, *source)
            for score, ids in rows:
                print(f"{score:.9f}", *ids)
            found += 1
            if found == 4:
                break
        print(beam, repetition, ngram, found, file=sys.stderr)
        assert found >= 3
    # A prefix: greedily. (In beam search transformers leaves the prefix's tokens out of the score.)
    found = 0
    while found < 4:
        source = [draw.randrange(1, PAD) for _ in range(draw.randint(1, 14))] + [EOS]
        prefix = [draw.randrange(1, PAD) for _ in range(draw.randint(1, 4))]
        rows = generate(model, source, prefix, 1, 1.0, 40, 1.0, 2)
        if rows is None:
            continue
        print("case", 1, 1.0, 40, 1.0, 2, 1, len(prefix), *prefix, *source)
        for score, ids in rows:
            print(f"{score:.9f}", *ids)
        found += 1


def filters(draw):
    for temperature, top_k, top_p in [(1, 0, 1), (0.5, 0, 1), (2, 5, 1), (1, 0, 0.9), (0.7, 8, 0.8), (1.5, 3, 0.1),
                                      (1, 100, 0.999), (1, 1, 1)]:
        logits = [round(draw.gauss(0, 2), 6) for _ in range(20)]
        scores = torch.tensor([logits], dtype=torch.float64)
        scores = TemperatureLogitsWarper(float(temperature))(None, scores)
        if top_k:
            scores = TopKLogitsWarper(min(top_k, 20))(None, scores)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(None, scores)
        print("filter", temperature, top_k, top_p, *logits)
        print(*(f"{p:.9g}" for p in scores.softmax(-1)[0].tolist()))


def main():
    torch.set_num_threads(1)
    model = MarianMTModel.from_pretrained(os.path.join(FOLDER, "marian_tiny")).double().eval()
    with open(os.path.join(FOLDER, "generation.txt")) as file:
        bias = [float(v) for v in file.readline().split()[1:]]
    with torch.no_grad():
        model.final_logits_bias.copy_(torch.tensor(bias).float().double())
    draw = random.Random(11)
    cases(model, draw)
    filters(draw)


if __name__ == "__main__":
    main()
