#!/usr/bin/env python3
"""Two tiny random classifiers of texts, and what PyTorch computes with them.

    python3 tests/vectors/make_bert.py [FOLDER]

bert_tiny is transformers' BertForSequenceClassification; bert_convolution has the same layers with
a convolution of three words below them and a learned attention over the words above. Needs
torch, transformers and safetensors (the committed files: 2.15, 5.23, 0.8). Each folder holds config.json,
model.safetensors and expected.safetensors:

    offsets [5] I32, ids [tokens] I32     packed texts, [CLS] .. [SEP]
    labels [4] I32
    logits [4, 3]
    attention.LAYER.TEXT [heads, n, n]    weights of each layer in each text
    pooling [tokens]                      bert_convolution: each token's share
    loss []                               cross-entropy, mean over the texts
    gradient.NAME                         d loss / d NAME, for every parameter

The weights are f32; everything is computed in f64 from them and rounded once.
"""
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

LABELS = ["blue", "green", "red"]
CLS, SEP, VOCABULARY, WIDTH, WINDOW = 2, 3, 20, 16, 3
LENGTHS = [5, 3, 9, 2]


class WithConvolution(nn.Module):
    """A classifier whose embedded words see their neighbours; pooled by attention (Yang et al. 2016)."""

    def __init__(self, config):
        super().__init__()
        whole = BertForSequenceClassification(config)
        self.bert, self.classifier = whole.bert, whole.classifier
        self.bert.pooler = None
        convolution = nn.Module()
        convolution.dense = nn.Linear(WINDOW * WIDTH, WIDTH)
        convolution.LayerNorm = nn.LayerNorm(WIDTH, eps=config.layer_norm_eps)
        self.bert.embeddings.convolution = convolution
        self.attention_pooling = nn.Module()
        self.attention_pooling.dense = nn.Linear(WIDTH, WIDTH)
        self.attention_pooling.query = nn.Parameter(torch.zeros(1, WIDTH))

    def forward(self, ids):
        x = self.bert.embeddings(ids)
        convolution = self.bert.embeddings.convolution
        kernel = convolution.dense.weight.reshape(WIDTH, WINDOW, WIDTH).permute(0, 2, 1)
        seen = F.conv1d(x.transpose(1, 2), kernel, convolution.dense.bias, padding=WINDOW // 2).transpose(1, 2)
        x = convolution.LayerNorm(x + F.gelu(seen))
        attentions = []
        for layer in self.bert.encoder.layer:
            attentions.append(layer.attention.self(x)[1])
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        u = torch.tanh(self.attention_pooling.dense(x))
        share = torch.softmax(u @ self.attention_pooling.query[0], -1)
        return self.classifier((share[..., None] * x).sum(1)), attentions, share[0]


class Plain(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.whole = BertForSequenceClassification(config)

    def forward(self, ids):
        output = self.whole(ids, output_attentions=True)
        return output.logits, output.attentions, None


def draw(model):
    with torch.no_grad():  # no parameter may be 0 or 1, or its use would not be tested
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn_like(parameter)
            parameter.copy_(1 + 0.2 * noise if "LayerNorm.weight" in name else 0.3 * noise)


def write(folder, model, config):
    os.makedirs(folder, exist_ok=True)
    draw(model)
    names = {name: name.removeprefix("whole.") for name, _ in model.named_parameters()}
    save_file({names[n]: p.detach().float().contiguous().clone() for n, p in model.named_parameters()},
              os.path.join(folder, "model.safetensors"), {"format": "pt"})
    settings = config.to_dict() | {"architectures": ["BertForSequenceClassification"]}
    if isinstance(model, WithConvolution):
        settings |= {"architectures": ["BertModel"], "model_type": "attn_bert", "attention": "full", "convolution": WINDOW,
                     "attn_pooling": "attention"}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as out:
        json.dump({k: v for k, v in settings.items() if v is not None}, out, indent=2, sort_keys=True)
        out.write("\n")
    model = model.double()
    texts = [torch.tensor([[CLS] + torch.randint(4, VOCABULARY, (n - 2,)).tolist() + [SEP]]) for n in LENGTHS]
    labels = torch.tensor([2, 0, 1, 1])
    expected, logits, shares = {}, [], []
    for i, ids in enumerate(texts):
        found, attentions, share = model(ids)
        logits.append(found)
        shares.append(share)
        for layer, weights in enumerate(attentions):
            expected[f"attention.{layer}.{i}"] = weights[0].float()
    loss = F.cross_entropy(torch.cat(logits), labels)
    loss.backward()
    expected |= {"ids": torch.cat(texts, 1)[0].int(), "labels": labels.int(), "logits": torch.cat(logits).float(),
                 "loss": loss.float(), "offsets": torch.tensor([0] + LENGTHS).cumsum(0).int()}
    if shares[0] is not None:
        expected["pooling"] = torch.cat(shares).float()
    for name, parameter in model.named_parameters():
        expected["gradient." + names[name]] = parameter.grad.float()
    save_file({name: value.detach().contiguous().clone() for name, value in expected.items()},
              os.path.join(folder, "expected.safetensors"))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.manual_seed(20181011)
    config = BertConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                        max_position_embeddings=12, hidden_act="gelu", id2label=dict(enumerate(LABELS)),
                        label2id={label: i for i, label in enumerate(LABELS)})
    config._attn_implementation = "eager"  # the one that returns its weights
    write(os.path.join(folder, "bert_tiny"), Plain(config).eval(), config)
    write(os.path.join(folder, "bert_convolution"), WithConvolution(config).eval(), config)


if __name__ == "__main__":
    main()
