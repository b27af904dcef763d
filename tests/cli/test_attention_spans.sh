#!/bin/bash
# Windows and linear attention as a user has them: both families learn, are measured, go on with
# a text, stop and resume; a classifier has them; and what is said to what cannot be had.
#     test_attention_spans.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_spans_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

# A letter, a dot, its capital: what comes behind the dot stands two places before.
awk 'BEGIN { srand(3); split("a b c d", l, " "); for (i = 0; i < 2000; i++) { k = 1 + int(rand() * 4);
     print l[k] "." toupper(l[k]) } }' >text.txt
tail -c 800 text.txt >held.txt
small=(--layers 2 --width 64 --heads 4 --feed-forward 64 --dropout 0 --rate 0.005 --schedule constant --warmup 10
  --batch-tokens 512 --block 16 --optimizer adamw --average 0.9 --threads 2)

# learns ATTENTION FAMILY MOST_BITS
learns() {
  local model=m-$1-$2
  "$attn" train --task language --corpus text.txt --model "$model" --family "$2" --attention "$1" "${small[@]}" \
    --updates 250 2>log || { cat log; wrong "training $model"; return; }
  "$attn" evaluate --model "$model" --corpus held.txt >out || wrong "evaluate $model"
  awk -v most="$3" '$1 == "bits" { exit !($4 < most) }' out || wrong "$model: $(cat out)"
  "$attn" info "$model" | grep -q "attention *$1\$" || wrong "$model: info"
  grep -q "\"attention\": \"$1\"" "$model/recipe.json" || wrong "$model: the recipe does not say it"
  "$attn" generate --model "$model" --prompt $'b.B\na.A\nc' --temperature 0 --max-tokens 60 --no-prompt >out || wrong "$model: generate"
}
# 2 bits a line of four characters are to be had where the letter is seen, 1 where it is not
for family in gpt2 llama; do
  learns window:3 $family 0.7
  head -c 3 out | grep -qF '.C' || wrong "$family, a window of 3: $(cat out)"
  learns linear $family 0.8
done
learns window:1 gpt2 1.2
awk '$1 == "bits" { exit !($4 > 0.8) }' <("$attn" evaluate --model m-window:1-gpt2 --corpus held.txt) ||
  wrong "a token that sees itself alone knows more than that"
grep -q '"model_type": "mistral"' m-window:3-llama/config.json || wrong "Llama with a window is no mistral"
grep -q '"sliding_window": 3' m-window:3-llama/config.json || wrong "the window is not in config.json"
grep -q '"model_type": "attn_gpt2"' m-linear-gpt2/config.json || wrong "transformers would take it for GPT-2"

# --- the same bits: threads, stopping, what is above the window
for kind in window:5 linear; do
  "$attn" train --task language --corpus text.txt --model "a-$kind" --attention $kind "${small[@]}" --updates 16 --threads 1 2>log || wrong "one thread"
  "$attn" train --task language --corpus text.txt --model "b-$kind" --attention $kind "${small[@]}" --updates 7 2>log || wrong "two threads"
  expect 1 'another shape' "$attn" train --task language --corpus text.txt --model "b-$kind" "${small[@]}" --updates 16 --resume
  "$attn" train --task language --corpus text.txt --model "b-$kind" --attention $kind "${small[@]}" --updates 16 --resume 2>log || { cat log; wrong "resume"; }
  cmp -s "a-$kind/model.safetensors" "b-$kind/model.safetensors" || wrong "$kind: threads or resuming change bits"
done
"$attn" train --task language --corpus held.txt --init a-linear --model tuned --block 16 --updates 3 --batch-tokens 256 2>log || { cat log; wrong "init"; }
"$attn" info tuned | grep -q 'attention *linear' || wrong "what began with linear attention has it no more"
# one long sequence an update, more than its window and than a part of a batch
"$attn" train --task language --corpus text.txt --model long --attention window:64 --block 4096 --batch-tokens 4096 --layers 1 --width 16 \
  --heads 2 --feed-forward 32 --updates 2 --valid-share 0 2>log || { cat log; wrong "a long sequence"; }
"$attn" evaluate --model long --corpus text.txt >out || wrong "evaluating long sequences"

# --- a classifier and what it begins with
awk 'BEGIN { srand(5); for (i = 0; i < 300; i++) { k = rand() < 0.5; printf "%s\t", k ? "yes" : "no";
     for (w = 0; w < 6; w++) printf "w%d ", rand() * 9; print k ? "good day" : "bad night" } }' >class.tsv
cut -f 2 class.tsv >lines.txt
"$attn" train --task masked --corpus lines.txt --model hidden --attention window:4 --layers 1 --width 16 --heads 2 --feed-forward 16 \
  --updates 5 2>log || { cat log; wrong "masked"; }
"$attn" train --task classify --corpus class.tsv --init hidden --model labels --updates 80 --rate 0.01 --warmup 5 2>log || { cat log; wrong "classify"; }
"$attn" info labels | grep -q 'attention *window:4' || wrong "the classifier lost its window"
"$attn" evaluate --model labels --corpus class.tsv | awk '$1 == "accuracy" { exit !($2 > 0.9) }' || wrong "the classifier learned nothing"
"$attn" classify --model labels <lines.txt >out 2>err || { cat err; wrong "classify"; }
paste <(cut -f 1 class.tsv) <(cut -f 1 out) | awk '$1 == $2 { right++ } END { exit !(NR == 300 && right > 270) }' ||
  wrong "classify: $(head -3 out)"
"$attn" train --task classify --corpus class.tsv --model linear --attention linear --layers 1 --width 16 --heads 2 --feed-forward 16 \
  --updates 5 2>log || { cat log; wrong "classify, linear"; }

# --- what cannot be had
for kind in window:0 window:-1 window: window:1.5 window:4294967297 sparse FULL; do
  expect 1 "attention is \"$kind\"; full, linear or window:N" "$attn" train --task language --corpus text.txt --model x --attention "$kind" --updates 1
done
expect 1 'linear attention makes no weights' "$attn" train --task language --corpus text.txt --model x --attention linear --attention-dropout 0.1 --updates 1
expect 1 'linear attention makes no weights' "$attn" train --task classify --corpus class.tsv --model x --attention linear --attention-dropout 0.1 --updates 1
expect 1 'full was expected' "$attn" train --source text.txt --target text.txt --model x --attention window:4 --updates 1
expect 1 'full was expected' "$attn" train --task speech --corpus class.tsv --model x --attention linear --updates 1
expect 2 'attention is not an option of --architecture recurrent' "$attn" train --source text.txt --target text.txt --architecture recurrent --model x --attention linear --updates 1
expect 2 'attention cannot be chosen with --init' "$attn" train --task language --corpus text.txt --init a-linear --model x --attention full --updates 1
expect 1 'linear attention makes no weights' "$attn" train --task language --corpus text.txt --init a-linear --model x --block 16 --attention-dropout 0.2 --updates 1
[ ! -e x ] || wrong "a folder was left behind"
sed -i 's/"window:5"/"window:0"/' a-window:5/config.json
expect 1 'attention is "window:0"' "$attn" generate --model a-window:5 --prompt a
sed -i 's/"sliding_window": 3/"sliding_window": 0/' m-window:3-llama/config.json
expect 1 'window is 0 tokens' "$attn" evaluate --model m-window:3-llama --corpus held.txt

[ $failures -eq 0 ] || exit 1
echo "attention spans: all as expected"
