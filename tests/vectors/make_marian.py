#!/usr/bin/env python3
"""A tiny random MarianMTModel, made by transformers, and what PyTorch computes with it.

    python3 tests/vectors/make_marian.py [tests/vectors/marian_tiny]

Needs torch, transformers and safetensors (the committed files: 2.15, 5.23, 0.8).
Writes a model folder (config.json, generation_config.json, model.safetensors) and
expected.safetensors. Its arrays are packed: three sequences one behind the other,
without padding, sequence s in rows offsets[s] .. offsets[s + 1] - 1.

    source_ids [S], source_offsets [4], decoder_input_ids [T], labels [T],
    target_offsets [4]                       I32
    encoder_output [S, width]                after the last encoder layer
    decoder_output [T, width]                before the projection to the vocabulary
    logits [T, vocabulary]
    loss []                                  label-smoothed cross-entropy (0.1), sum / T
    gradient.NAME                            d loss / d NAME, for every parameter and
                                             for final_logits_bias, which is trained too
    adam_losses [20]                         the loss before each of 20 updates of Adam
                                             (rate 1e-3, betas 0.9 and 0.98, eps 1e-9)
    encoder_attention.LAYER.SEQUENCE, decoder_attention.LAYER.SEQUENCE,
    cross_attention.LAYER.SEQUENCE           weights [heads, queries, keys]

The weights are f32; everything is computed in f64 from them and rounded once. One
thing differs from transformers' training: its embedding drops the gradient of <pad>
where <pad> is looked up (padding_idx). Here <pad> is the decoder's first input, and
the gradient is the whole derivative.

The gradient of every k_proj.bias is 0 (it moves all scores of a query alike): what
is found there is rounding, and Adam turns rounding into steps that change no output.
"""
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import MarianConfig, MarianMTModel

VOCABULARY, EOS, PAD = 37, 0, 36
SOURCES = [[5, 9, 12, 30, 7, 22, EOS], [17, 3, 8, EOS], [33, 2, 11, 4, 25, 19, 6, 28, EOS]]
TARGETS = [[14, 6, 29, 3, EOS], [21, 10, 35, 7, 18, 2, 31, EOS], [27, 16, EOS]]


def make_model():
    torch.manual_seed(20170612)
    config = MarianConfig(
        vocab_size=VOCABULARY, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        activation_function="swish", scale_embedding=True, static_position_embeddings=True, dropout=0.1,
        pad_token_id=PAD, eos_token_id=EOS, forced_eos_token_id=EOS, decoder_start_token_id=PAD)
    config._attn_implementation = "eager"  # the one that returns its weights
    model = MarianMTModel(config).eval()
    with torch.no_grad():  # no parameter may be 0 or 1, or its use would not be tested
        for name, parameter in sorted(model.named_parameters()):
            if "embed_positions" in name:
                continue
            noise = torch.randn_like(parameter)
            if name.endswith("layer_norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_((0.1 if name.endswith("bias") else 0.3) * noise)
        model.final_logits_bias.copy_(0.2 * torch.randn_like(model.final_logits_bias))
    return model


def padded(sequences, value):
    longest = max(map(len, sequences))
    return torch.tensor([s + [value] * (longest - len(s)) for s in sequences])


def packed(rows, lengths):
    return torch.cat([row[:length] for row, length in zip(rows, lengths)])


def offsets(lengths):
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def label_smoothed(logits, labels, tokens):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, label_smoothing=0.1,
                           reduction="sum") / tokens


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "marian_tiny")
    model = make_model()
    model.save_pretrained(folder)

    source_lengths, target_lengths = [len(s) for s in SOURCES], [len(t) for t in TARGETS]
    tokens = sum(target_lengths)
    decoder_inputs = [[PAD] + t[:-1] for t in TARGETS]
    labels = padded(TARGETS, -100)
    batch = dict(input_ids=padded(SOURCES, PAD), attention_mask=(padded(SOURCES, -1) >= 0).long(),
                 decoder_input_ids=padded(decoder_inputs, PAD),
                 decoder_attention_mask=(padded(TARGETS, -1) >= 0).long())

    with torch.no_grad():
        single = model(**batch).logits
    model = model.double()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    model.final_logits_bias.requires_grad_(True)

    out = model(**batch, output_attentions=True, output_hidden_states=True)
    loss = label_smoothed(out.logits, labels, tokens)
    loss.backward()
    print(f"loss {loss.item():.6f}; f32 and f64 logits differ by at most "
          f"{(packed(single, target_lengths) - packed(out.logits, target_lengths)).abs().max().item():.1e}")

    trained = {n: p for n, p in model.named_parameters() if "embed_positions" not in n}
    trained["final_logits_bias"] = model.final_logits_bias
    floats = {
        "encoder_output": packed(out.encoder_last_hidden_state, source_lengths),
        "decoder_output": packed(out.decoder_hidden_states[-1], target_lengths),
        "logits": packed(out.logits, target_lengths),
        "loss": loss,
    }
    for name, parameter in trained.items():
        floats["gradient." + name] = parameter.grad.clone()
    for kind, layers, queries, keys in (("encoder", out.encoder_attentions, source_lengths, source_lengths),
                                        ("decoder", out.decoder_attentions, target_lengths, target_lengths),
                                        ("cross", out.cross_attentions, target_lengths, source_lengths)):
        for layer, weights in enumerate(layers):
            for s, (query, key) in enumerate(zip(queries, keys)):
                floats[f"{kind}_attention.{layer}.{s}"] = weights[s, :, :query, :key]

    adam = torch.optim.Adam(trained.values(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9)
    losses = []
    for _ in range(20):
        adam.zero_grad()
        loss = label_smoothed(model(**batch).logits, labels, tokens)
        loss.backward()
        losses.append(loss.item())
        adam.step()
    floats["adam_losses"] = torch.tensor(losses, dtype=torch.float64)

    expected = {name: t.detach().to(torch.float32).contiguous() for name, t in floats.items()}
    expected |= {
        "source_ids": torch.tensor(sum(SOURCES, []), dtype=torch.int32),
        "source_offsets": offsets(source_lengths),
        "decoder_input_ids": torch.tensor(sum(decoder_inputs, []), dtype=torch.int32),
        "labels": torch.tensor(sum(TARGETS, []), dtype=torch.int32),
        "target_offsets": offsets(target_lengths),
    }
    save_file(expected, os.path.join(folder, "expected.safetensors"))
    for name in os.listdir(folder):  # safetensors makes its files 0600
        os.chmod(os.path.join(folder, name), 0o644)


if __name__ == "__main__":
    main()
