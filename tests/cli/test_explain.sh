#!/bin/bash
# What answers rest on, for each task of texts: rollout computed anew from the weights that are
# printed, a classifier's gradients against differences, and what is said to bad input.
#     test_explain.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8 ATTN=$attn
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_explain_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

awk 'BEGIN { srand(5); split("red green blue", names, " "); for (i = 0; i < 300; i++) {
     k = 1 + int(rand() * 3); print names[k] "\tplease ask w" k " now" } }' >classes.tsv
cut -f2 classes.tsv >plain.txt
awk 'BEGIN { srand(6); for (i = 0; i < 300; i++) { a = int(rand() * 6); b = int(rand() * 6); print "s" a " s" b "\tt" a " t" b } }' >pairs.tsv
small=(--layers 2 --width 16 --heads 2 --feed-forward 32 --batch-tokens 256 --rate 0.01 --warmup 5 --threads 2 --updates 30)
"$attn" train --task classify --corpus classes.tsv --model attention "${small[@]}" 2>log || { cat log; wrong "classify"; }
"$attn" train --task classify --corpus classes.tsv --model cls --pooling cls "${small[@]}" 2>log || { cat log; wrong "classify"; }
"$attn" train --task language --corpus plain.txt --model language --block 24 "${small[@]}" 2>log || { cat log; wrong "language"; }
"$attn" train --corpus pairs.tsv --model transformer --tokenizer whitespace --valid-bleu-lines 0 "${small[@]}" 2>log || { cat log; wrong "translate"; }
"$attn" train --corpus pairs.tsv --model recurrent --architecture recurrent --tokenizer whitespace --valid-bleu-lines 0 --layers 1 \
  --width 16 --hidden 16 --batch-tokens 256 --rate 0.01 --warmup 5 --updates 30 2>log || { cat log; wrong "recurrent"; }

cat >check.py <<'EOF'
import json, math, os, struct, subprocess, sys

def explain(model, text, *more):
    return json.loads(subprocess.run([os.environ["ATTN"], "explain", "--model", model, "--json", *more, text], check=True,
                                     capture_output=True, text=True).stdout)

def mean(heads):
    return [[sum(h[i][j] for h in heads) / len(heads) for j in range(len(heads[0][0]))] for i in range(len(heads[0]))]

def times(a, b):
    return [[sum(x * b[k][j] for k, x in enumerate(row)) for j in range(len(b[0]))] for row in a]

def half(a, b):
    return [[(x + y) / 2 for x, y in zip(p, q)] for p, q in zip(a, b)]

def identity(n):
    return [[float(i == j) for j in range(n)] for i in range(n)]

def same(found, wanted, what):
    for a, b in zip(found, wanted):
        assert len(a) == len(b) and all(abs(x - y) < 2e-5 for x, y in zip(a, b)), (what, a, b)
        assert abs(sum(a) - 1) < 1e-4, (what, a)

def check(model, text, *more):
    e = explain(model, text, *more)
    n, rolled = len(e["tokens"]), identity(len(e["tokens"]))
    for heads in e["attention"]:
        assert all(abs(sum(row) - 1) < 1e-4 for head in heads for row in head), model
        rolled = times(half(mean(heads), identity(n)), rolled)
    if e["cross"]:
        seen = [[0.0] * n for _ in e["answers"]]
        for layer, heads in enumerate(e["cross"]):
            if layer < len(e["decoder_self"]):
                seen = half(seen, times(mean(e["decoder_self"][layer]), seen))
            seen = half(seen, times(mean(heads), rolled))
        wanted = [[x / sum(row) for x in row] for row in seen]
    elif "pooling" in e:
        wanted = times([e["pooling"]], rolled)
    else:
        wanted = [rolled[0 if model == "cls" else -1]]
    same(e["rollout"], wanted, model)
    assert all(any(abs(g) > 1e-6 for g in row) for row in e["gradient_times_input"]), model
    assert all(p < 0 for p in e["log_probabilities"]), model
    return e

# x is LayerNorm's result: its gain and bias scaled together scale every row.
def scaled(folder, factor):
    path = os.path.join(folder, "model.safetensors")
    data = bytearray(open(path, "rb").read())
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    for name in ("bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias"):
        begin, end = (8 + length + at for at in header[name]["data_offsets"])
        values = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
        data[begin:end] = struct.pack(f"<{len(values)}f", *(v * factor for v in values))
    open(path, "wb").write(data)

for model in ("attention", "cls"):
    text = "please ask w2 now"
    e = check(model, text)
    other = check(model, text, "--label", "red")
    assert other["answers"] == ["red"]
    kept = open(os.path.join(model, "model.safetensors"), "rb").read()
    ends = []
    for factor in (0.99, 1.01):
        scaled(model, factor)
        ends.append(explain(model, text, "--label", e["answers"][0])["log_probabilities"][0])
        open(os.path.join(model, "model.safetensors"), "wb").write(kept)
    expected, found = (ends[1] - ends[0]) / 0.02, sum(e["gradient_times_input"][0])
    assert abs(expected - found) < 2e-3 + 0.02 * abs(expected), (model, expected, found)
check("language", "please ask ")
check("transformer", "s1 s2", "--attribution")
e = check("transformer", "s1 s2", "--attribution", "--target", "t3 t4 t5")
assert e["answers"] == [" t3", " t4", " t5", "</s>"], e["answers"]
check("recurrent", "s1 s2", "--attribution")
EOF
python3 check.py || wrong "check.py"

"$attn" explain --model attention 'please ask w2 now' >out || wrong "the table"
grep -q 'gradient x input' out && grep -q 'Jain & Wallace 2019' out && grep -q '^ask ' out || wrong "the table: $(cat out)"
[ "$(grep -c '[+-][0-9.]*$' out)" -eq 6 ] || wrong "a line for each of 6 tokens was expected: $(cat out)"
"$attn" explain --model language --layer 0 --head 1 'please ask ' | grep -q '^answer' || wrong "a layer's table"
"$attn" explain --model language $'ask w1\nask' | grep -q '^\\n  ' || wrong "an end of a line in the table"
expect 1 'label "violet"' "$attn" explain --model attention --label violet 'ask'
expect 1 'layer 7' "$attn" explain --model attention --layer 7 'ask'
expect 1 'head 5' "$attn" explain --model attention --head 5 'ask'
expect 2 '--html is a page' "$attn" explain --model attention --png page.png 'ask'
for model in attention language "transformer --attribution"; do
  rm -f page.html
  "$attn" explain --model $model --html page.html 'please <b>' >out 2>err || wrong "$model: a page: $(cat err)"
  python3 - page.html <<'PAGE' || wrong "$model: the page's numbers"
import json, re, sys
page = open(sys.argv[1], encoding="utf-8").read()
data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))
assert page.endswith("</html>\n") and "<b>" not in page
assert len(data["rollout"]) == len(data["answers"]) and all(len(row) == len(data["tokens"]) for row in data["rollout"])
PAGE
done
expect 1 'nowhere/page.html' "$attn" explain --model attention --html nowhere/page.html 'ask'
expect 1 'no answer of one' "$attn" explain --model language --target x 'ask'
expect 1 'blank' "$attn" explain --model transformer --attribution ' '
printf '\n' | "$attn" explain --model attention >out 2>err || wrong "an empty text"
grep -q 'empty' err || wrong "an empty text is not told of"

[ $failures -eq 0 ] || exit 1
echo "explain: all as expected"
