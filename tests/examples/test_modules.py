"""The C programs examples/attention_*.c: every number that they print, computed again here, in
double precision and by nothing of attn (of the trained one: against attn explain).

Run by ctest, which gives the built programs' folder and the command in ATTN_EXAMPLES and ATTN."""
import json
import math
import os
import re
import subprocess
import tempfile
import unittest

PROGRAMS, ATTN = os.environ.get("ATTN_EXAMPLES"), os.environ.get("ATTN")


def run(name, *arguments):
    return subprocess.run([os.path.join(PROGRAMS, "attention_" + name), *arguments], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def fill(rows, columns, first, scale=1.0):
    values = [scale * math.sin(12.9898 * i * i + 78.233 * i) for i in range(first, first + rows * columns)]
    return [values[r * columns:(r + 1) * columns] for r in range(rows)]


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def linear(x, w):
    return [[dot(row, other) for other in w] for row in x]


def softmax(scores):
    powers = [math.exp(s - max(scores)) for s in scores]
    return [p / sum(powers) for p in powers]


def weights_of(q, k, causal=False):
    scale = 1 / math.sqrt(len(q[0]))
    return [softmax([dot(a, b) * scale if not causal or j <= i else -math.inf for j, b in enumerate(k)])
            for i, a in enumerate(q)]


def mixture(weights, v):
    return [[sum(w * row[c] for w, row in zip(line, v, strict=True)) for c in range(len(v[0]))] for line in weights]


def columns(x, first, count):
    return [row[first:first + count] for row in x]


def add_and_norm(x, f):
    result = []
    for a, b in zip(x, f, strict=True):
        row = [p + q for p, q in zip(a, b, strict=True)]
        mean = sum(row) / len(row)
        variance = sum((p - mean) ** 2 for p in row) / len(row)
        result.append([(p - mean) / math.sqrt(variance + 1e-5) for p in row])
    return result


@unittest.skipUnless(PROGRAMS, "ATTN_EXAMPLES does not name the programs")
class Modules(unittest.TestCase):
    def check(self, lines, expected, bound=1e-4):
        """expected: a heading, or a row of numbers."""
        self.assertEqual(len(lines), len(expected))
        for line, wanted in zip(lines, expected, strict=True):
            if isinstance(wanted, str):
                self.assertEqual(line, wanted)
            else:
                found = [float(word) for word in line.split()]
                self.assertEqual(len(found), len(wanted), line)
                for a, b in zip(found, wanted, strict=True):
                    self.assertAlmostEqual(a, b, delta=bound, msg=line)

    def test_three_vectors(self):
        q, k, v = [[2, 0], [0, 2], [1, 1]], [[1, 0], [0, 1], [1, 1]], [[10], [20], [30]]
        self.check(run("three_vectors"),
                   ["weights: a row for each query, a column for each key", *weights_of(q, k),
                    "output: each query's mixture of the values 10, 20, 30", *mixture(weights_of(q, k), v),
                    "weights with a causal mask", *weights_of(q, k, causal=True)])

    def test_projections(self):
        tokens, model, key, value, texts = 5, 4, 3, 2, 40
        w = [fill(r, model, 1000 * (a + 1), 0.5) for a, r in enumerate((key, key, value))]
        data = []
        for text in range(texts):
            x = fill(tokens, model, 100 * text)
            data.append([[*row[:2], float(t == text % tokens), 1.0] for t, row in enumerate(x)])
        lines = run("projections")
        self.assertEqual(len(lines), 4)
        for step in range(601):
            loss, d = 0.0, [[[0.0] * model for _ in rows] for rows in w]
            for text, x in enumerate(data):
                q, k, v = (linear(x, rows) for rows in w)
                a = weights_of(q, k)
                wanted = x[text % tokens][:2]
                error = [[o - t for o, t in zip(row, wanted, strict=True)] for row in mixture(a, v)]
                loss += sum(dot(row, row) for row in error) / (2 * texts * tokens)
                d_o = [[e / (texts * tokens) for e in row] for row in error]
                d_v = mixture(list(zip(*a, strict=True)), d_o)
                d_a = linear(d_o, v)
                d_s = [[p * (g - dot(ps, gs)) / math.sqrt(key) for p, g in zip(ps, gs, strict=True)]
                       for ps, gs in zip(a, d_a, strict=True)]
                for rows, gradient in zip(d, (mixture(d_s, k), mixture(list(zip(*d_s, strict=True)), q), d_v), strict=True):
                    for row, token in zip(gradient, x, strict=True):
                        for i, g in enumerate(row):
                            for j, number in enumerate(token):
                                rows[i][j] += g * number
            if step % 200 == 0:
                found = re.fullmatch(r"round +(\d+)  loss ([\d.]+)  weight on the marked vector ([\d.]+)", lines[step // 200])
                self.assertTrue(found, lines)
                self.assertEqual(int(found[1]), step)
                self.assertAlmostEqual(float(found[2]), loss, delta=1.1e-4)
                self.assertAlmostEqual(float(found[3]), a[0][4], delta=1e-3)  # of the last text
            w = [[[p - 0.5 * g for p, g in zip(row, gradient, strict=True)] for row, gradient in zip(rows, more, strict=True)]
                 for rows, more in zip(w, d, strict=True)]
        self.assertGreater(a[0][4], 0.9)  # it has learned where to look

    def test_multi_head(self):
        x = fill(4, 8, 0)
        qkv = linear(x, fill(24, 8, 100))
        expected, joined = [], [[] for _ in x]
        for head in range(2):
            weights = weights_of(columns(qkv, 4 * head, 4), columns(qkv, 8 + 4 * head, 4))
            expected += [f"weights of head {head}", *weights]
            joined = [a + b for a, b in zip(joined, mixture(weights, columns(qkv, 16 + 4 * head, 4)), strict=True)]
        self.check(run("multi_head"), [*expected, "output of width 8", *linear(joined, fill(8, 8, 1000))])

    def test_encoder_layer(self):
        x = fill(3, 4, 0)
        qkv, joined = linear(x, fill(12, 4, 100)), [[] for _ in x]
        for head in range(2):
            weights = weights_of(columns(qkv, 2 * head, 2), columns(qkv, 4 + 2 * head, 2))
            joined = [a + b for a, b in zip(joined, mixture(weights, columns(qkv, 8 + 2 * head, 2)), strict=True)]
        x = add_and_norm(x, linear(joined, fill(4, 4, 200)))
        hidden = [[max(h, 0) for h in row] for row in linear(x, fill(8, 4, 300))]
        self.check(run("encoder_layer"), ["after self-attention", *x, "after the feed-forward",
                                          *add_and_norm(x, linear(hidden, fill(4, 8, 400)))])

    def test_over_gru(self):
        x, w, u, h, states = fill(5, 3, 0), fill(12, 3, 100), fill(12, 4, 200), [0.0] * 4, []
        for token in x:
            a, b = linear([token], w)[0], linear([h], u)[0]
            r, z = ([1 / (1 + math.exp(-a[g + i] - b[g + i])) for i in range(4)] for g in (0, 4))
            n = [math.tanh(a[8 + i] + r[i] * b[8 + i]) for i in range(4)]
            h = [(1 - z[i]) * n[i] + z[i] * h[i] for i in range(4)]
            states.append(h)
        asked, kept = linear([h], fill(6, 4, 300))[0], linear(states, fill(6, 4, 400))
        weights = softmax([dot([math.tanh(p + q) for p, q in zip(asked, row, strict=True)], fill(1, 6, 500)[0]) for row in kept])
        self.check(run("over_gru"), ["states of the GRU", *states, "weights of the last state's question", weights,
                                     "what it gets", *mixture([weights], states)])

    @unittest.skipUnless(ATTN and PROGRAMS and os.path.exists(os.path.join(PROGRAMS, "attention_reverse")), "the operator alone is built")
    def test_reverse(self):
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model")
            lines = run("reverse", model, "a b c d e")
            self.assertEqual(lines[0], "a b c d e -> e d c b a")
            out = subprocess.run([ATTN, "explain", "--model", model, "--json", "a b c d e"], check=True, capture_output=True,
                                 text=True).stdout
        expected = []
        for name, key in (("encoder", "encoder_self"), ("decoder", "decoder_self"), ("decoder to encoder", "cross")):
            for layer, heads in enumerate(json.loads(out)[key]):
                for head, rows in enumerate(heads):
                    expected += [f"{name}, layer {layer}, head {head}", *rows]
        self.check(lines[1:], expected, bound=6e-4)
        rows = [row for row in expected if not isinstance(row, str)]
        self.assertEqual(len(rows), 2 * 2 * 3 * 6)
        for row in rows:
            self.assertAlmostEqual(sum(row), 1, delta=1e-4)


if __name__ == "__main__":
    unittest.main()
