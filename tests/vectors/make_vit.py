#!/usr/bin/env python3
"""A tiny random ViTForImageClassification, made by transformers, and what PyTorch computes with it.

    python3 tests/vectors/make_vit.py [tests/vectors/vit_tiny]

Needs torch, transformers and safetensors (the committed files: 2.15, 5.23, 0.8). Writes a
model folder (config.json, model.safetensors) and expected.safetensors:

    pixels [3, 3, 12, 12] U8-valued F32   three pictures, channels first
    labels [3] I32
    logits [3, 4]
    attention.LAYER [3, heads, 10, 10]    weights of each layer
    loss []                               cross-entropy, mean over the pictures
    gradient.NAME                         d loss / d NAME, for every parameter

The weights are f32; everything is computed in f64 from them and rounded once.
"""
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification

LABELS = ["circle", "cross", "square", "star"]


def make_model():
    torch.manual_seed(20201022)
    config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                       hidden_act="gelu", image_size=12, patch_size=4, num_channels=3, layer_norm_eps=1e-6,
                       id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)})
    config._attn_implementation = "eager"  # the one that returns its weights
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():  # no parameter may be 0 or 1, or its use would not be tested
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn_like(parameter)
            parameter.copy_(1 + 0.2 * noise if "layernorm" in name and name.endswith("weight") else 0.3 * noise)
    return model


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "vit_tiny")
    model = make_model()
    model.save_pretrained(folder)
    stored = load_file(os.path.join(folder, "model.safetensors"))
    # transformers names some tensors anew when it saves: the values tell which is which
    names = {name: next(n for n, v in stored.items() if v.shape == p.shape and torch.equal(v, p))
             for name, p in model.named_parameters()}
    model = model.double()
    pixels = torch.randint(0, 256, (3, 3, 12, 12)).double()
    labels = torch.tensor([2, 0, 3])
    output = model(pixels / 127.5 - 1, output_attentions=True)
    loss = F.cross_entropy(output.logits, labels)
    loss.backward()
    expected = {"pixels": pixels.float(), "labels": labels.int(), "logits": output.logits.float(), "loss": loss.float()}
    for layer, weights in enumerate(output.attentions):
        expected[f"attention.{layer}"] = weights.float()
    for name, parameter in model.named_parameters():
        expected["gradient." + names[name]] = parameter.grad.float()
    save_file({name: value.detach().contiguous().clone() for name, value in expected.items()},
              os.path.join(folder, "expected.safetensors"))


if __name__ == "__main__":
    main()
