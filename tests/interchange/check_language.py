#!/usr/bin/env python3
"""Language models from transformers, live.

    check_language.py ATTN FOLDER

ATTN is the command, FOLDER one to work in. Needs torch, transformers and tokenizers. Random
GPT-2 and Llama models with a byte-level BPE tokenizer, saved by transformers: attn generates
greedily the same text for 200 prompts each. Prints a line for each thing that was checked;
exits 1 if one is wrong."""
import os
import random
import subprocess
import sys

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PROMPTS, TOKENS = 200, 12
ATTN, FOLDER = os.path.abspath(sys.argv[1]), sys.argv[2]
END = "<|endoftext|>"


def make_prompts():
    draw = random.Random(5)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(300)]
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) + draw.choice([".", "!", ", "]) for _ in range(2000)]


def make_tokenizer(lines):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(lines, vocab_size=500, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token=END, eos_token=END)


def make_models(size, end):
    common = dict(vocab_size=size, bos_token_id=end, eos_token_id=end, initializer_range=0.3)
    yield "GPT-2", GPT2LMHeadModel(GPT2Config(n_embd=48, n_layer=3, n_head=4, n_positions=128, **common))
    yield "Llama", LlamaForCausalLM(LlamaConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                                                num_key_value_heads=2, max_position_embeddings=128, **common))


def continue_with(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        ids = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False,
                             max_new_tokens=TOKENS, pad_token_id=tokenizer.eos_token_id)[0].tolist()
    ids = ids[inputs["input_ids"].shape[1]:]
    text = tokenizer.decode([i for i in ids if i != tokenizer.eos_token_id], clean_up_tokenization_spaces=False)
    return text.replace("\0", "\ufffd")  # texts of C end at a NUL: attn shows one as U+FFFD


def main():
    torch.set_num_threads(1)
    torch.manual_seed(4)
    wrong = 0
    lines = make_prompts()
    tokenizer = make_tokenizer(lines)
    for name, model in make_models(len(tokenizer), tokenizer.eos_token_id):
        folder = os.path.join(FOLDER, name)
        model.eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        equal = shown = 0
        for prompt in lines[:PROMPTS]:
            done = subprocess.run([ATTN, "generate", "--model", folder, "--prompt", prompt, "--no-prompt", "--temperature", "0",
                                   "--max-tokens", str(TOKENS), "--threads", "1"], capture_output=True)
            if done.returncode:
                sys.exit(done.stderr.decode())
            found = done.stdout.decode(errors="replace")
            found = found[:-1] if found.endswith("\n") else found
            expected = continue_with(model, tokenizer, prompt)
            equal += found == expected
            if found != expected and shown < 3:
                print(f"        {prompt!r}: {found!r}, {expected!r} was expected")
                shown += 1
        print(f"{'ok     ' if equal == PROMPTS else 'WRONG  '} {name}: {equal} of {PROMPTS} texts are continued the same", flush=True)
        wrong += equal != PROMPTS
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
