#!/usr/bin/env python3
"""Tiny random GPT2LMHeadModel, LlamaForCausalLM and MistralForCausalLM, made by transformers, and
what they compute.

    python3 tests/vectors/make_language.py [tests/vectors]

Needs torch, transformers and safetensors (the committed files: 2.15, 5.23, 0.8). Writes
the model folders gpt2_tiny, llama_tiny (grouped heads, untied output), mistral_tiny (each token
sees itself and the two before it) and in each expected.safetensors, three texts packed one behind the other, text s in rows
offsets[s] .. offsets[s + 1] - 1:

    ids [T], labels [T], offsets [4]   I32
    logits [T, vocabulary]
    loss []                            cross-entropy, sum / T
    gradient.NAME                      d loss / d NAME, for every parameter
    prompts [200, 5], greedy [200, 20] I32: what generate gives without sampling

The weights are f32; logits, loss and gradients are computed in f64 from them and rounded
once, greedy in f32 as generate does. No greedy step is decided by less than 1e-5.
"""
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

torch.set_num_threads(1)  # small matrices
VOCABULARY, PROMPT, NEW = 41, 5, 20
TEXTS = [[5, 9, 12, 30, 7, 22, 3, 40], [17, 3, 8, 17, 3], [33, 2, 11, 4, 25, 19, 6, 28, 1]]


def make(kind):
    torch.manual_seed(20190214)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_inner=24, n_positions=32, bos_token_id=0,
            eos_token_id=0, attn_implementation="eager"))
    else:
        shape = dict(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, intermediate_size=24, max_position_embeddings=32, rms_norm_eps=1e-6,
                     rope_parameters={"rope_theta": 500.0, "rope_type": "default"}, bos_token_id=0, eos_token_id=0,
                     tie_word_embeddings=False, attn_implementation="eager")
        model = (LlamaForCausalLM(LlamaConfig(**shape)) if kind == "llama"
                 else MistralForCausalLM(MistralConfig(sliding_window=3, **shape)))
    with torch.no_grad():  # no parameter may be 0 or 1, or its use would not be tested
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn_like(parameter)
            if "ln_" in name and name.endswith("weight") or "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_((0.1 if name.endswith("bias") else 0.4) * noise)
    return model.eval()


def greedy(model):
    torch.manual_seed(7)
    prompts = torch.randint(1, VOCABULARY, (400, PROMPT))
    ids, sure = prompts, torch.ones(400, dtype=torch.bool)
    for _ in range(NEW):
        logits = model(ids).logits[:, -1]
        top = logits.topk(2).values
        sure &= top[:, 0] - top[:, 1] > 1e-5
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    prompts, ids = prompts[sure][:200], ids[sure][:200]
    whole = model.generate(prompts, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert len(ids) == 200 and torch.equal(whole, ids)
    return prompts.int(), ids[:, PROMPT:].int()


def main(folder):
    for kind in ("gpt2", "llama", "mistral"):
        model = make(kind)
        path = os.path.join(folder, kind + "_tiny")
        model.save_pretrained(path)
        expected = {}
        with torch.no_grad():
            expected["prompts"], expected["greedy"] = greedy(model)
        model = model.double()
        logits = torch.cat([model(torch.tensor([text[:-1]])).logits[0] for text in TEXTS])
        labels = torch.tensor([t for text in TEXTS for t in text[1:]])
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(labels)
        loss.backward()
        expected["ids"] = torch.tensor([t for text in TEXTS for t in text[:-1]]).int()
        expected["labels"] = labels.int()
        expected["offsets"] = torch.tensor([0] + [len(text) - 1 for text in TEXTS]).cumsum(0).int()
        expected["logits"] = logits.detach().float()
        expected["loss"] = loss.detach().float()
        for name, parameter in model.named_parameters():
            expected["gradient." + name] = parameter.grad.float()
        save_file({k: v.contiguous() for k, v in expected.items()}, os.path.join(path, "expected.safetensors"))


main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
