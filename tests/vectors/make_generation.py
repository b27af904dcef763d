#!/usr/bin/env python3
"""What transformers generates with the tiny MarianMTModel, greedily and with beams.

    python3 tests/vectors/make_generation.py >tests/vectors/generation.txt

Needs torch and transformers (the committed file: 2.15 and 5.23). Reads marian_tiny
beside this script. Sources are random; those whose search runs into the length limit
are left out (of greedy search, the last token there): transformers counts the </s> that it forces there as certain, which is
a choice, not a model's probability. Random weights favour a few tokens; so the bias
of the logits is replaced by minus their mean, with </s> favoured a little. Everything is computed in f64, so that rounding
decides nothing. The file's lines:

    bias VALUE...                                        final_logits_bias of all cases
    case BEAM PENALTY MAX_LENGTH HYPOTHESES SOURCE...    SOURCE ends with </s> = 0
    SCORE ID...                                          ids without start and </s>

MAX_LENGTH counts </s>, not the start token (transformers' max_new_tokens).
"""
import os
import random
import sys

import torch
from transformers import MarianMTModel

EOS, PAD, EOS_BIAS = 0, 36, 1.0


def set_bias(model, draw):
    with torch.no_grad():
        model.final_logits_bias.zero_()
        total = 0
        for _ in range(200):
            source = [draw.randrange(1, PAD) for _ in range(8)] + [EOS]
            target = [PAD] + [draw.randrange(1, PAD) for _ in range(12)]
            total = total + model(torch.tensor([source]), decoder_input_ids=torch.tensor([target])).logits[0].mean(0)
        bias = -total / 200
        bias[EOS] += EOS_BIAS
        model.final_logits_bias.copy_(bias.float().double())


def main():
    torch.set_num_threads(1)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "marian_tiny")
    model = MarianMTModel.from_pretrained(folder).double().eval()
    draw = random.Random(7)
    set_bias(model, draw)
    print("bias", *(f"{v:.9g}" for v in model.final_logits_bias[0].tolist()))
    wanted = [(1, 1.0, 8), (2, 1.0, 6), (4, 1.0, 10), (5, 0.6, 6), (4, 0.0, 4), (3, 2.0, 4), (6, 1.3, 2)]
    for beam, penalty, count in wanted:
        limit = 12 if beam == 1 else 40
        tries = 0
        print(beam, penalty, file=sys.stderr)
        while count > 0:
            tries += 1
            if tries > 400:
                sys.exit(f"beam {beam}: no more sources that end by themselves")
            source = [draw.randrange(1, PAD) for _ in range(draw.randint(1, 14))] + [EOS]
            with torch.no_grad():
                out = model.generate(
                    torch.tensor([source]), num_beams=beam, length_penalty=penalty, max_new_tokens=limit,
                    early_stopping=False, num_return_sequences=beam, bad_words_ids=[[PAD]],
                    forced_eos_token_id=None, do_sample=False, output_scores=True, return_dict_in_generate=True)
            rows = []
            for i, sequence in enumerate(out.sequences.tolist()):
                ids = sequence[1:]
                if EOS not in ids and beam > 1:
                    break
                ids = ids[:ids.index(EOS) if EOS in ids else limit - 1]
                with torch.no_grad():
                    logits = model(torch.tensor([source]), decoder_input_ids=torch.tensor([[PAD] + ids])).logits[0]
                log_p = torch.log_softmax(logits, -1)[torch.arange(len(ids) + 1), torch.tensor(ids + [EOS])].sum().item()
                score = log_p / (len(ids) + 1) ** penalty
                if beam > 1:
                    assert abs(score - out.sequences_scores[i].item()) < 1e-5, (score, out.sequences_scores[i])
                rows.append((score, ids))
            if len(rows) < beam or (beam == 1 and not rows[0][1]):
                continue
            print("case", beam, penalty, limit, len(rows), *source)
            for score, ids in rows:
                print(f"{score:.9f}", *ids)
            count -= 1


if __name__ == "__main__":
    main()
