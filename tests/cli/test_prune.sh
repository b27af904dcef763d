#!/bin/bash
# attn prune as a user runs it, with a toy model that is trained here in a moment (each word wN becomes
# tN): heads and weights, what the pruned folder is good for, and bad input.
#     test_prune.sh ATTN SOURCE_FOLDER
set -u
attn=$1
. "$(dirname "$(realpath "$0")")/expect.sh"
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_cli_XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# --- a model
awk 'BEGIN { srand(3); for (i = 0; i < 1500; i++) { n = 1 + int(rand() * 6); s = ""; t = "";
     for (j = 0; j < n; j++) { w = int(rand() * 20); s = s (j ? " " : "") "w" w; t = t (j ? " " : "") "t" w }
     print s >"s.txt"; print t >"t.txt" } }'
"$attn" train --source s.txt --target t.txt --model m --tokenizer whitespace --layers 2 --width 32 --heads 4 \
  --feed-forward 64 --dropout 0 --rate 0.01 --warmup 50 --batch-tokens 1024 --updates 150 2>log || { cat log; exit 1; }
head -200 s.txt >s200.txt
head -200 t.txt >t200.txt
paste s200.txt t200.txt >pairs.tsv
test_set=(--test-source s200.txt --test-target t200.txt --bleu none)

# --- the table alone
"$attn" prune --model m --corpus pairs.tsv >table || wrong "the table"
[ "$(grep -cE '^(encoder_self|decoder_self|cross) +[01] ' table)" -eq 6 ] || wrong "the table: $(cat table)"
grep -q 'heads    24 of 24 would be kept' table || wrong "the table's end: $(tail -1 table)"
"$attn" prune --model m --source s200.txt --target t200.txt --threads 1 | cmp -s - table || wrong "two files, or one thread, change the table"

# --- heads
"$attn" prune --model m --output p --heads 9 --corpus pairs.tsv "${test_set[@]}" >out || wrong "--heads"
[ "$(grep -o '\[[0-9.]*\]' out | wc -l)" -eq 9 ] || wrong "not 9 heads go: $(cat out)"
grep -q '^heads    15 of 24 kept' out || wrong "what is kept: $(cat out)"
grep -qE '^before +loss .* BLEU .* chrF2' out && grep -qE '^after +loss ' out || wrong "no quality: $(cat out)"
"$attn" evaluate --model p --source s200.txt --target t200.txt --bleu none >evaluated || wrong "evaluate"
loss=$(awk '/^loss/ { print $2 }' evaluated)
grep '^after' out | grep -q "loss $loss," || wrong "the loss after is not $loss: $(cat out)"
[ "$(stat -c %s p/model.safetensors)" -lt $(($(stat -c %s m/model.safetensors) - 9 * 4 * 8 * 32 * 4 + 2000)) ] ||
  wrong "9 heads of 4 x 8 x 32 weights are still in the file"
grep -q attn_heads m/config.json && wrong "a whole model's config.json says attn_heads"
grep -q attn_heads p/config.json || wrong "config.json says no attn_heads"
"$attn" prune --model m --output pj --heads 9 --corpus pairs.tsv --json >json || wrong "--json"
cmp -s p/model.safetensors pj/model.safetensors || wrong "the same pruning makes another file"
if command -v python3 >/dev/null; then
  python3 - json p/config.json <<'PYTHON' || wrong "--json: $(head -c 300 json)"
import json, sys
heads = json.load(open(sys.argv[1]))["heads"]
kept = json.load(open(sys.argv[2]))["attn_heads"]
for name, layers in kept.items():
    for layer, count in enumerate(layers):
        left = [h for h in heads if h["attention"] == name and h["layer"] == layer and not h["removed"]]
        assert len(left) == count >= 1, (name, layer)
gone = [h["importance"] for h in heads if h["removed"]]
assert len(gone) == 9 and len(heads) == 24
assert max(gone) <= min(h["importance"] for h in heads if not h["removed"]) or any(c == 1 for l in kept.values() for c in l)
PYTHON
fi

# --- what the pruned folder is good for
"$attn" translate --model p <s200.txt >translated || wrong "translate"
[ "$(wc -l <translated)" -eq 200 ] || wrong "translate: $(wc -l <translated) lines"
"$attn" translate --model p --threads 1 --batch-tokens 20 <s200.txt | cmp -s - translated || wrong "batches change results"
"$attn" translate --model p --scores --beam 1 <s200.txt >scored || wrong "--scores"
cut -f2 scored >hypotheses
"$attn" score --model p --source s200.txt --target hypotheses >again || wrong "score"
# a pair with a blank side scores 0, and so bad a model may translate to nothing
paste again scored | awk -F'\t' '$NF != "" && $1 != $2' >differing
[ ! -s differing ] || wrong "score differs from translate --scores: $(head -1 differing)"
[ "$(awk -F'\t' '$NF != ""' scored | wc -l)" -gt 150 ] || wrong "hardly anything is translated"
"$attn" translate --model p --model m <s200.txt >/dev/null || wrong "an ensemble with the whole model"
"$attn" info p >info || wrong "info"
grep -q 'kept, cross' info || wrong "info: $(cat info)"
echo 'w1 w2 w3' >one
"$attn" explain --model p --html e.html <one >/dev/null 2>err || wrong "explain"
"$attn" explain --model p --png e.png <one >/dev/null || wrong "explain --png"
"$attn" quantize --model p --output pq || wrong "quantize"
"$attn" translate --model pq <s200.txt >out || wrong "int8"
[ "$(paste -d'|' out translated | awk -F'|' '$1 == $2' | wc -l)" -gt 150 ] || wrong "int8 translates otherwise"
"$attn" prune --model p --output pp --heads 3 --corpus pairs.tsv >out || wrong "pruning again"
grep -q '^heads    12 of 15 kept' out || wrong "pruning again: $(cat out)"
"$attn" train --init p --source s.txt --target t.txt --model tuned --dropout 0 --rate 0.003 --warmup 10 \
  --batch-tokens 1024 --updates 60 2>log || wrong "training on: $(tail -1 log)"
"$attn" evaluate --model tuned --source s200.txt --target t200.txt --no-translation >out || wrong "evaluating what was tuned"
awk -v before="$loss" '/^loss/ { exit !($2 < before) }' out || wrong "training on does not lower the loss of $loss: $(cat out)"
cmp -s <(grep -A30 attn_heads p/config.json) <(grep -A30 attn_heads tuned/config.json) || wrong "training on changes the heads"
"$attn" average --output mean p tuned || wrong "average"

# --- weights
"$attn" prune --model m --output z --sparsity 0.4 "${test_set[@]}" >out || wrong "--sparsity"
grep -qE '^weights  [0-9]+ in the layers' out || wrong "--sparsity says: $(cat out)"
awk '/^weights/ { exit !($10 / $2 > 0.3999 && $10 / $2 < 0.4001) }' out || wrong "not 40 % are 0: $(cat out)"
[ "$(stat -c %s z/model.safetensors)" -lt $(($(stat -c %s m/model.safetensors) + 500)) ] || wrong "the sparse file grew"
"$attn" translate --model z <s200.txt >/dev/null || wrong "translating with sparse weights"
"$attn" prune --model m --output z0 --sparsity 0 >/dev/null || wrong "--sparsity 0"
"$attn" translate --model z0 <s200.txt | cmp -s - <("$attn" translate --model m <s200.txt) || wrong "--sparsity 0 changes the model"
"$attn" prune --model p --output pz --sparsity 0.2 --json >json || wrong "--sparsity of a pruned model"

# --- what is refused
expect 1 'p already holds a model' "$attn" prune --model m --output p --heads 1 --corpus pairs.tsv
expect 1 'm already holds a model' "$attn" prune --model m --output m --sparsity 0.1
expect 1 '19 heads cannot go: the model has 24, and each of its 6 attentions keeps one' \
  "$attn" prune --model m --output no --heads 19 --corpus pairs.tsv
"$attn" prune --model m --output least --heads 18 --corpus pairs.tsv >/dev/null || wrong "as many heads as can go"
expect 1 'is quantized' "$attn" prune --model pq --output no --heads 1 --corpus pairs.tsv
expect 1 'is quantized' "$attn" prune --model pq --output no --sparsity 0.1
expect 1 'nofile' "$attn" prune --model m --output no --heads 1 --corpus nofile
expect 1 'nofile' "$attn" prune --model m --output no --heads 1 --corpus pairs.tsv --test-corpus nofile
expect 1 'nofolder' "$attn" prune --model nofolder --output no --heads 1 --corpus pairs.tsv
[ -e no ] && wrong "what was refused left a folder"
expect 2 'sparsity' "$attn" prune --model m --output no --sparsity 1
expect 2 'sparsity' "$attn" prune --model m --output no --sparsity nan
expect 2 'one of them' "$attn" prune --model m --output no --sparsity 0.1 --heads 1
expect 2 '--heads N or --sparsity X is missing' "$attn" prune --model m --output no
expect 2 '--heads N or --sparsity X is missing' "$attn" prune --model m --output no --corpus pairs.tsv
expect 2 'looks at no pairs' "$attn" prune --model m --output no --sparsity 0.1 --corpus pairs.tsv
expect 2 '--source FILE and --target FILE' "$attn" prune --model m --output no --heads 1
expect 2 '--output DIR is missing' "$attn" prune --model m --sparsity 0.5
expect 2 'nothing to measure' "$attn" prune --model m --heads 1 --corpus pairs.tsv "${test_set[@]}"
"$attn" train --architecture recurrent --source s200.txt --target t200.txt --model r --tokenizer whitespace --width 16 \
  --hidden 16 --updates 2 2>log || wrong "a recurrent model: $(tail -1 log)"
expect 1 'a translator, marian, was expected' "$attn" prune --model r --output no --heads 1 --corpus pairs.tsv
"$attn" prune --model r --output rz --sparsity 0.5 >/dev/null || wrong "--sparsity of a recurrent model"

# --- one head everywhere, and models of other kinds
"$attn" translate --model least --alignment words <one >out || wrong "alignments of one head"
expect 1 'head 1 was asked for, the layer has 0 to 0' "$attn" score --model least --source one --target one --alignment words --head 1
expect 1 'head 1 was asked for' "$attn" explain --model least --head 1 'w1 w2'
"$attn" explain --model p --attribution --json 'w1 w2 w3' >/dev/null || wrong "attributing"
"$attn" train --task language --corpus t.txt --model l --layers 1 --width 16 --heads 2 --vocabulary 60 --block 16 \
  --updates 2 2>log || wrong "a language model: $(tail -1 log)"
"$attn" prune --model l --output lz --sparsity 0.5 >out || wrong "--sparsity of a language model"
"$attn" evaluate --model lz --corpus t200.txt >/dev/null || wrong "evaluating a sparse language model"
expect 1 'a translator, marian, was expected' "$attn" prune --model l --output no --heads 1 --corpus pairs.tsv

# --- files that do not fit each other
cp -r p broken
sed -i '/"cross"/,/\]/ s/^\( *\)[0-9]\(,\{0,1\}\)$/\14\2/' broken/config.json
expect 1 'encoder_attn' "$attn" info broken
cp -r m odd
sed -i 's/^{/{ "attn_heads": {"encoder_self": [1, 1], "decoder_self": [4, 4], "cross": [4, 0]},/' odd/config.json
expect 1 'cross of layer 1 is not a number of heads from 1 to 4' "$attn" translate --model odd
sed -i 's/"cross": \[4, 0\]/"cross": [4, 4]/' odd/config.json
expect 1 'model.encoder.layers.0.self_attn.q_proj.weight' "$attn" translate --model odd

[ $failures -eq 0 ] && echo "all is well"
exit $((failures > 0))
