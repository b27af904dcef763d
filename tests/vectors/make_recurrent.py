#!/usr/bin/env python3
"""Tiny recurrent encoders and decoders with attention, and what PyTorch computes with them.

    python3 tests/vectors/make_recurrent.py [tests/vectors/recurrent_tiny]

Needs torch and safetensors (the committed files: 2.15 and 0.8). Writes CELL_SCORE.safetensors
for gru and lstm, and for additive, dot and general scores. The encoder is torch.nn.GRU or LSTM
(bidirectional); the decoder's steps are written out from the papers (Bahdanau et al. 2015;
Luong et al. 2015, 3.1 and 3.3). Sequences go through one by one, without padding.

    NAME                        the weights, f32, under the names of a model folder
    source_ids, source_offsets [4], decoder_input_ids, labels, target_offsets [4]   I32
    encoder_output [S, hidden], decoder_output [T, width], loss [1]
    attention.SEQUENCE          weights [1, queries, keys]
    gradient.NAME               of the label-smoothed loss (0.1), sum / T

Everything is computed in f64 from the f32 weights and rounded once.
"""
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

VOCABULARY, EOS, PAD, WIDTH, HIDDEN, LAYERS = 23, 0, 22, 4, 6, 2
SOURCES = [[5, 9, 12, 20, 7, EOS], [17, 3, EOS], [11, 2, 8, 4, 15, 19, 6, EOS]]
TARGETS = [[14, 6, 3, EOS], [21, 10, 7, 18, 2, 13, EOS], [16, EOS]]


def shapes(cell, score):
    gates, states = (3, 1) if cell == "gru" else (4, 2)
    half = HIDDEN // 2
    yield "model.shared.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        for end in ("", "_reverse"):
            yield f"model.encoder.rnn.weight_ih_l{layer}{end}", (gates * half, HIDDEN if layer else WIDTH)
            yield f"model.encoder.rnn.weight_hh_l{layer}{end}", (gates * half, half)
            yield f"model.encoder.rnn.bias_ih_l{layer}{end}", (gates * half,)
            yield f"model.encoder.rnn.bias_hh_l{layer}{end}", (gates * half,)
        yield f"model.decoder.rnn.weight_ih_l{layer}", (gates * HIDDEN, HIDDEN if layer else WIDTH)
        yield f"model.decoder.rnn.weight_hh_l{layer}", (gates * HIDDEN, HIDDEN)
        yield f"model.decoder.rnn.bias_ih_l{layer}", (gates * HIDDEN,)
        yield f"model.decoder.rnn.bias_hh_l{layer}", (gates * HIDDEN,)
    yield "model.decoder.bridge.weight", (LAYERS * states * HIDDEN, HIDDEN)
    yield "model.decoder.bridge.bias", (LAYERS * states * HIDDEN,)
    yield "model.decoder.feed.weight", (gates * HIDDEN, WIDTH)
    if score != "dot":
        yield "model.decoder.attention.key.weight", (HIDDEN, HIDDEN)
    if score == "additive":
        yield "model.decoder.attention.key.bias", (HIDDEN,)
        yield "model.decoder.attention.query.weight", (HIDDEN, HIDDEN)
        yield "model.decoder.attention.energy", (HIDDEN,)
    yield "model.decoder.combine.weight", (WIDTH, 2 * HIDDEN)
    yield "model.decoder.combine.bias", (WIDTH,)
    yield "final_logits_bias", (1, VOCABULARY)


def encode(w, cell, ids):
    kind = torch.nn.GRU if cell == "gru" else torch.nn.LSTM
    rnn = kind(WIDTH, HIDDEN // 2, num_layers=LAYERS, bidirectional=True).double()
    prefix = "model.encoder.rnn."
    state = {name[len(prefix):]: value for name, value in w.items() if name.startswith(prefix)}
    embedded = w["model.shared.weight"][torch.tensor(ids)] * WIDTH ** 0.5
    return torch.func.functional_call(rnn, state, (embedded,))[0]


def score_keys(w, score, memory):
    d = "model.decoder.attention."
    if score == "dot":
        return memory
    return F.linear(memory, w[d + "key.weight"], w.get(d + "key.bias"))


def scores(w, score, state, keys):
    d = "model.decoder.attention."
    if score == "additive":
        return torch.tanh(F.linear(state, w[d + "query.weight"]) + keys) @ w[d + "energy"]
    return keys @ state


def decode(w, cell, score, memory, ids):
    half = HIDDEN // 2
    ends = torch.cat([memory[-1, :half], memory[0, half:]])
    first = torch.tanh(F.linear(ends, w["model.decoder.bridge.weight"], w["model.decoder.bridge.bias"]))
    states = list(first.view(LAYERS, -1, HIDDEN))
    keys, fed, results, attention = score_keys(w, score, memory), memory.new_zeros(WIDTH), [], []
    for token in ids:
        x = torch.cat([w["model.shared.weight"][token] * WIDTH ** 0.5, fed])
        for layer in range(LAYERS):
            own = [w[f"model.decoder.rnn.{n}_l{layer}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            if layer == 0:
                own[0] = torch.cat([own[0], w["model.decoder.feed.weight"]], 1)
            if cell == "gru":
                h = torch.gru_cell(x[None], states[layer][0][None], *own)[0]
                states[layer] = h[None]
            else:
                h, c = torch.lstm_cell(x[None], [s[None] for s in states[layer]], *own)
                states[layer] = torch.cat([h, c])
                h = h[0]
            x = h
        weights = scores(w, score, x, keys).softmax(0)
        joined = torch.cat([weights @ memory, x])
        fed = torch.tanh(F.linear(joined, w["model.decoder.combine.weight"], w["model.decoder.combine.bias"]))
        results.append(fed)
        attention.append(weights)
    return torch.stack(results), torch.stack(attention)


def offsets(sequences):
    return torch.tensor([0, *map(len, sequences)]).cumsum(0).to(torch.int32)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "recurrent_tiny")
    os.makedirs(folder, exist_ok=True)
    inputs = [[PAD] + target[:-1] for target in TARGETS]
    for cell in ("gru", "lstm"):
        for score in ("additive", "dot", "general"):
            torch.manual_seed(20150407)
            weights = {name: 0.6 * torch.randn(shape) for name, shape in shapes(cell, score)}
            w = {name: value.double().requires_grad_() for name, value in weights.items()}
            memories = [encode(w, cell, source) for source in SOURCES]
            decoded = [decode(w, cell, score, memory, ids) for memory, ids in zip(memories, inputs)]
            logits = F.linear(torch.cat([x for x, _ in decoded]), w["model.shared.weight"], w["final_logits_bias"][0])
            labels = torch.tensor(sum(TARGETS, []))
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
            loss.backward()
            floats = {"encoder_output": torch.cat(memories), "decoder_output": torch.cat([x for x, _ in decoded]),
                      "loss": loss[None]}
            floats |= {f"attention.{s}": weight[None] for s, (_, weight) in enumerate(decoded)}
            floats |= {"gradient." + name: value.grad for name, value in w.items()}
            expected = weights | {name: t.detach().float().contiguous() for name, t in floats.items()}
            expected |= {"source_ids": torch.tensor(sum(SOURCES, []), dtype=torch.int32),
                         "source_offsets": offsets(SOURCES), "target_offsets": offsets(TARGETS),
                         "decoder_input_ids": torch.tensor(sum(inputs, []), dtype=torch.int32),
                         "labels": labels.to(torch.int32)}
            path = os.path.join(folder, f"{cell}_{score}.safetensors")
            save_file(expected, path)
            os.chmod(path, 0o644)
            print(cell, score, f"loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
