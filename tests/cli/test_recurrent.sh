#!/bin/bash
# A recurrent network with attention through the commands of the Transformer: a small set of
# pairs is learned with each cell and score, translated, explained, stopped and resumed.
#     test_recurrent.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_recurrent_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

# Letters, and the same as capitals: each word says its own, in order.
awk 'BEGIN { srand(7); split("a b c d e f", l, " "); for (i = 0; i < 1200; i++) { n = 1 + int(rand() * 5); s = t = "";
     for (j = 0; j < n; j++) { k = 1 + int(rand() * 6); s = s (j ? " " : "") l[k]; t = t (j ? " " : "") toupper(l[k]) }
     print s "\t" t } }' >all.tsv
head -1000 all.tsv >train.tsv
tail -100 all.tsv >test.tsv
small=(--architecture recurrent --tokenizer whitespace --layers 1 --width 24 --hidden 32 --dropout 0 --label-smoothing 0
  --rate 0.01 --warmup 20 --batch-tokens 256 --average 0.9 --valid-bleu-lines 0 --valid-share 0.02 --threads 2)

for kind in gru:additive lstm:dot gru:general; do
  "$attn" train --corpus train.tsv --model "m-$kind" --cell "${kind%:*}" --score "${kind#*:}" "${small[@]}" --updates 160 2>log ||
    { cat log; wrong "training $kind"; }
  cut -f1 test.tsv | "$attn" translate --model "m-$kind" --beam 2 >found || wrong "translate"
  same=$(cut -f2 test.tsv | paste - found | awk -F '\t' '$1 == $2' | wc -l)
  [ "$same" -ge 95 ] || wrong "$kind: $same of 100 exact"
done

# a line does not depend on its company or on threads; scoring gives translating's bits
head -5 test.tsv | cut -f1 >five
"$attn" translate --model m-gru:additive --scores <five >together || wrong "scores"
while IFS= read -r line; do printf '%s\n' "$line" | "$attn" translate --model m-gru:additive --scores --threads 1; done <five >alone
cmp -s together alone || wrong "company changes a translation"
cut -f2 together >five.out
"$attn" score --model m-gru:additive --source five --target five.out >scored 2>err || wrong "score: $(cat err)"
cut -f1 together | paste - <(cut -f1 scored) | awk '$1 != $2 { exit 1 }' || wrong "score and translate differ"
"$attn" evaluate --model m-gru:additive --corpus test.tsv >out || wrong "evaluate"
awk '$1 == "BLEU" { exit !($2 > 90) }' out || wrong "evaluate: $(cat out)"

# where it looked: rows sum to 1, and each word looks at its own
"$attn" explain --model m-gru:additive --json 'a b c d' >explained || wrong "explain"
python3 - explained <<'EOF' || wrong "explain: $(cat explained)"
import json, sys
found = json.load(open(sys.argv[1]))
(head,), = found["cross"]
assert len(head) == 5 and all(abs(sum(row) - 1) < 1e-3 for row in head), head
assert found["translation"] == "A B C D", found
EOF
"$attn" explain --model m-gru:additive --html page.html 'a b c d' >table 2>/dev/null || wrong "explain --html"
grep -q '</html>' page.html || wrong "no page"
"$attn" info m-lstm:dot | grep -q 'lstm, dot' || wrong "info: $("$attn" info m-lstm:dot)"

# --- the same bits with 1 and 2 threads, and for a run that was stopped and resumed
"$attn" train --corpus train.tsv --model t1 "${small[@]}" --dropout 0.1 --updates 40 --threads 1 2>log || wrong "one thread"
"$attn" train --corpus train.tsv --model t2 "${small[@]}" --dropout 0.1 --updates 17 2>log || wrong "two threads"
"$attn" train --corpus train.tsv --model t2 "${small[@]}" --dropout 0.1 --updates 40 --resume 2>log || { cat log; wrong "resume"; }
cmp -s t1/model.safetensors t2/model.safetensors || wrong "threads or resuming change bits"

# --- bad input
expect 2 '--heads is not an option of --architecture recurrent' "$attn" train --corpus train.tsv --model x "${small[@]}" --heads 2 --updates 1
expect 2 '--cell' "$attn" train --corpus train.tsv --model x --architecture transformer --cell gru --updates 1
expect 1 'hidden_size is 33' "$attn" train --corpus train.tsv --model x "${small[@]}" --hidden 33 --updates 1
sed -i 's/"score": *"[a-z]*"/"score": "cosine"/' m-gru:general/config.json
expect 1 'm-gru:general' "$attn" translate --model m-gru:general
printf '\n' | "$attn" translate --model m-gru:additive >out || wrong "an empty line"
[ "$(cat out)" = "" ] || wrong "an empty line gives $(cat out)"

[ $failures -eq 0 ] || exit 1
echo "recurrent: all as expected"
