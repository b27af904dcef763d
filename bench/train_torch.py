#!/usr/bin/env python3
"""The peer: attn's translator, written as one would write it well in PyTorch.

Same model, same data, same update as `attn train`: post-norm Transformer (Vaswani et al.
2017), sinusoidal positions in two halves, one embedding table for source, target and
output, scaled by sqrt(width), relu, dropout on embeddings and residuals alone, label
smoothing, Adam with clipping by norm. Eager, scaled_dot_product_attention, padded batches
of pairs sorted by length. What costs little and helps is done: queries, keys and values
in one product, no mask where a batch has no padding, no logits for padding, dropout and
relu and sums in place, the fused Adam, denormals flushed.

    python3 bench/train_torch.py --source train.en --target train.de

Texts are split at white space; the vocabulary is every word of both sides. Prints the
median target tokens per second over the measured updates, what share of the machine's
matrix-product roof (2048^3, this precision, this process) the model's FLOPs are, and
the peak resident memory. With --minutes it trains for that long and reports losses."""
import argparse
import collections
import json
import math
import random
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

EOS, UNK = 0, 1
IGNORED = -100


# --- data --------------------------------------------------------------------------


def read_pairs(source, target):
    with open(source, encoding="utf-8") as s, open(target, encoding="utf-8") as t:
        pairs = [(a.split(), b.split()) for a, b in zip(s, t, strict=True)]
    return [(a, b) for a, b in pairs if a and b]


def count_words(pairs):
    """{word: id}; </s> is 0, <unk> 1, then words by falling count. <pad> is len + 2."""
    counts = collections.Counter(word for pair in pairs for side in pair for word in side)
    return {word: i + 2 for i, (word, _) in enumerate(sorted(counts.items(), key=lambda c: (-c[1], c[0])))}


def encode(pairs, words, longest):
    """Ids with </s> at the end of both sides, as attn's batches have them."""
    coded = [([words.get(w, UNK) for w in s] + [EOS], [words.get(w, UNK) for w in t] + [EOS]) for s, t in pairs]
    return [(s, t) for s, t in coded if len(s) <= longest and len(t) <= longest]


def pad_rows(rows, filler):
    length = max(map(len, rows))
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


class Batch:
    """Tensors of one update, made before the clock starts."""

    def __init__(self, pairs, pad, dtype):
        self.source = pad_rows([s for s, _ in pairs], pad)
        self.target_input = pad_rows([[pad] + t[:-1] for _, t in pairs], pad)  # starts with <pad>, as Marian does
        labels = pad_rows([t for _, t in pairs], IGNORED).flatten()
        real = labels != IGNORED
        self.source_tokens = sum(len(s) for s, _ in pairs)
        self.target_tokens = int(real.sum())
        self.kept = None if bool(real.all()) else real.nonzero().squeeze(1)
        self.labels = labels if self.kept is None else labels[self.kept]
        padding = self.source == pad
        self.source_bias = None  # [sequences, 1, 1, source length], -inf on padding
        if padding.any():
            bias = torch.zeros(padding.shape, dtype=dtype).masked_fill_(padding, -math.inf)
            self.source_bias = bias[:, None, None, :]


def make_batches(pairs, tokens, pad, dtype):
    """Neighbours in length together, so that little is padded: about `tokens` real target tokens each.
    Source lengths rise and fall in turn from one target length to the next, so that they never jump."""
    batches, current, count = [], [], 0
    for pair in sorted(pairs, key=lambda p: (len(p[1]), len(p[0]) * (-1) ** len(p[1]))):
        if current and count + len(pair[1]) > tokens:
            batches.append(Batch(current, pad, dtype))
            current, count = [], 0
        current.append(pair)
        count += len(pair[1])
    return batches + [Batch(current, pad, dtype)] if current else batches


# --- model -------------------------------------------------------------------------


def linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    def __init__(self, width, heads, cross):
        super().__init__()
        self.heads, self.cross = heads, cross
        if cross:
            self.query, self.key_value = linear(width, width), linear(width, 2 * width)
        else:
            self.query_key_value = linear(width, 3 * width)
        self.output = linear(width, width)

    def split(self, x, parts):
        """[n, length, parts * width] -> parts views [n, heads, length, head width]."""
        n, length, columns = x.shape
        return x.view(n, length, parts, self.heads, columns // (parts * self.heads)).permute(2, 0, 3, 1, 4).unbind()

    def forward(self, x, memory=None, bias=None, causal=False):
        if self.cross:
            (query,) = self.split(self.query(x), 1)
            key, value = self.split(self.key_value(memory), 2)
        else:
            query, key, value = self.split(self.query_key_value(x), 3)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, is_causal=causal)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Encoder layer, or with cross-attention decoder layer; post-norm."""

    def __init__(self, o, decoder):
        super().__init__()
        self.dropout, self.decoder = o.dropout, decoder
        self.attention = Attention(o.width, o.heads, cross=False)
        self.attention_norm = nn.LayerNorm(o.width)
        if decoder:
            self.cross = Attention(o.width, o.heads, cross=True)
            self.cross_norm = nn.LayerNorm(o.width)
        self.inner, self.outer = linear(o.width, o.feed_forward), linear(o.feed_forward, o.width)
        self.final_norm = nn.LayerNorm(o.width)

    def add_norm(self, norm, x, f):
        # Without dropout, F.dropout returns f itself, which is as fresh: in place is safe both ways.
        return norm(F.dropout(f, self.dropout, self.training).add_(x))

    def forward(self, x, bias, memory=None):
        attended = self.attention(x, causal=True) if self.decoder else self.attention(x, bias=bias)
        x = self.add_norm(self.attention_norm, x, attended)
        if self.decoder:
            x = self.add_norm(self.cross_norm, x, self.cross(x, memory, bias))
        return self.add_norm(self.final_norm, x, self.outer(F.relu(self.inner(x), inplace=True)))


def sinusoids(positions, width):
    """sin in the first half of the columns, cos in the second, as MarianMT."""
    angle = torch.arange(positions)[:, None] / 10000 ** (2 * torch.arange(width // 2)[None, :] / width)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Transformer(nn.Module):
    def __init__(self, o, vocabulary):
        super().__init__()
        self.scale, self.dropout, self.smoothing = math.sqrt(o.width), o.dropout, o.label_smoothing
        self.table = nn.Parameter(torch.randn(vocabulary, o.width) / self.scale)
        self.register_buffer("positions", sinusoids(o.max_tokens, o.width))
        self.encoder = nn.ModuleList(Layer(o, decoder=False) for _ in range(o.layers))
        self.decoder = nn.ModuleList(Layer(o, decoder=True) for _ in range(o.layers))

    def embed(self, ids):
        x = F.embedding(ids, self.table).mul_(self.scale).add_(self.positions[: ids.shape[1]])
        return F.dropout(x, self.dropout, self.training)

    def forward(self, batch):
        """Cross-entropy a target token: smoothed while training."""
        memory = self.embed(batch.source)
        for layer in self.encoder:
            memory = layer(memory, batch.source_bias)
        x = self.embed(batch.target_input)
        for layer in self.decoder:
            x = layer(x, batch.source_bias, memory)
        x = x.flatten(0, 1)
        if batch.kept is not None:
            x = x.index_select(0, batch.kept)
        logits = F.linear(x, self.table)
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.smoothing if self.training else 0.0)


def update_flops(o, vocabulary, source_tokens, target_tokens):
    """Products of forward and backward, the backward's twice the forward's; attention's scores, logits for
    padding and padding itself are not counted. attn counts the same."""
    attention, ffn = o.width * o.width, 2 * o.width * o.feed_forward
    encoder = o.layers * (4 * attention + ffn) * source_tokens
    decoder = o.layers * ((6 * attention + ffn) * target_tokens + 2 * attention * source_tokens)
    return 3 * 2 * (encoder + decoder + o.width * vocabulary * target_tokens)


# --- training ----------------------------------------------------------------------


def learning_rate(o, update):
    """Linear warm-up to the peak, then 1 / sqrt(update)."""
    return o.rate * (update / o.warmup if update < o.warmup else math.sqrt(max(o.warmup, 1) / update))


def matmul_roof(dtype):
    """FLOPs per second of a product of side 2048: the best of 24."""
    side = 2048
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    c, best = torch.empty(side, side, dtype=dtype), math.inf
    for _ in range(24):
        started = time.perf_counter()
        torch.mm(a, b, out=c)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


@torch.no_grad()
def mean_loss(model, batches, autocast):
    model.eval()
    total = 0.0
    for batch in batches:
        with autocast():
            total += float(model(batch)) * batch.target_tokens
    model.train()
    return total / sum(b.target_tokens for b in batches)


def endless(batches, seed):
    """Epoch after epoch, the batches of each in an order of its own."""
    epoch = 0
    while True:
        order = list(batches)
        random.Random(f"{seed} {epoch}").shuffle(order)
        yield from order
        epoch += 1


def train(o, model, batches, autocast):
    """One (target tokens, source tokens, seconds, loss) for each update."""
    optimizer = torch.optim.Adam(model.parameters(), lr=o.rate, betas=(0.9, 0.98), eps=1e-9, fused=True)
    parameters = list(model.parameters())
    updates, started, reported = [], time.perf_counter(), time.perf_counter()
    for number, batch in enumerate(endless(batches, o.seed), 1):
        begun = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(o, number)
        with autocast():
            loss = model(batch)
        loss.backward()
        if o.clip > 0:
            nn.utils.clip_grad_norm_(parameters, o.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ended = time.perf_counter()
        updates.append((batch.target_tokens, batch.source_tokens, ended - begun, float(loss.detach())))
        if ended - reported >= 10:
            print(f"update {number} loss {updates[-1][3]:.4f}", file=sys.stderr, flush=True)
            reported = ended
        if ended - started >= 60 * o.minutes if o.minutes else number >= o.skip + o.updates:
            return updates


def options():
    parser = argparse.ArgumentParser(description="Train attn's translator with PyTorch and print the speed.")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--valid-source")
    parser.add_argument("--valid-target")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--feed-forward", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--warmup", type=int, default=400)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=5, help="updates of warm-up that are not measured")
    parser.add_argument("--updates", type=int, default=30, help="updates that are measured")
    parser.add_argument("--minutes", type=float, default=0, help="train for so long instead")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    return parser.parse_args()


def main():
    o = options()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(o.seed)
    dtype = torch.bfloat16 if o.precision == "bf16" else torch.float32

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=o.precision == "bf16")

    text = read_pairs(o.source, o.target)
    words = count_words(text)
    vocabulary, pad = len(words) + 3, len(words) + 2
    batches = make_batches(encode(text, words, o.max_tokens), o.batch_tokens, pad, dtype)
    del text
    model = Transformer(o, vocabulary)
    updates = train(o, model, batches, autocast)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured = updates[min(o.skip, len(updates) - 1) :]
    seconds = sum(u[2] for u in measured)
    speed = statistics.median(u[0] / u[2] for u in measured)
    flops = sum(update_flops(o, vocabulary, u[1], u[0]) for u in measured) / seconds
    tail = measured[-50:]
    result = {
        "precision": o.precision,
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": vocabulary,
        "updates": len(measured),
        "target_tokens_per_second": speed,
        "target_tokens_per_second_fastest": max(u[0] / u[2] for u in measured),
        "target_tokens_per_second_overall": sum(u[0] for u in measured) / seconds,
        "flops_per_target_token": update_flops(
            o, vocabulary, sum(b.source_tokens for b in batches), sum(b.target_tokens for b in batches)
        )
        / sum(b.target_tokens for b in batches),
        "padded_share": 1
        - sum(b.source_tokens + b.target_tokens for b in batches)
        / sum(b.source.numel() + b.target_input.numel() for b in batches),
        "peak_bytes": peak,
        "loss": sum(u[0] * u[3] for u in tail) / sum(u[0] for u in tail),
    }
    if o.valid_source and o.valid_target:
        valid = encode(read_pairs(o.valid_source, o.valid_target), words, o.max_tokens)
        result["valid_loss"] = mean_loss(model, make_batches(valid, o.batch_tokens, pad, dtype), autocast)
    result["roof_flops"] = matmul_roof(dtype)
    result["share_of_roof"] = flops / result["roof_flops"]
    if o.json:
        print(json.dumps(result))
        return
    print(f"PyTorch {torch.__version__}, {o.precision}, {o.threads} threads, {result['parameters']} parameters")
    print(f"target tokens/s    {speed:.0f} (median of {len(measured)} updates)")
    print(f"share of roof      {result['share_of_roof']:.3f} of {result['roof_flops'] / 1e9:.0f} GF/s")
    print(f"peak memory        {peak / 2**20:.0f} MiB")
    print(f"loss               {result['loss']:.4f} (smoothed, last {len(tail)} updates)")
    if "valid_loss" in result:
        print(f"validation loss    {result['valid_loss']:.4f}")


if __name__ == "__main__":
    main()
