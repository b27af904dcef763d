#!/bin/bash
# A language model as a user has it: a text that repeats is learned in both families, measured
# and gone on with; stopped and resumed; and what is said to bad input.
#     test_language.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_language_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

# A letter, 天, its capital: what comes behind 天 stands before it.
awk 'BEGIN { srand(3); split("a b c d", l, " "); for (i = 0; i < 3000; i++) { k = 1 + int(rand() * 4);
     print l[k] "天" toupper(l[k]) } }' >text.txt
small=(--layers 2 --width 64 --heads 4 --feed-forward 64 --dropout 0 --rate 0.005 --schedule constant --warmup 10 --batch-tokens 512
  --block 16 --optimizer adamw --average 0.9 --threads 2)

for family in gpt2 llama; do
  "$attn" train --task language --corpus text.txt --model "m-$family" --family $family "${small[@]}" --updates 250 2>log ||
    { cat log; wrong "training $family"; }
  tail -c 2000 text.txt | tail -n +2 >held.txt
  "$attn" evaluate --model "m-$family" --corpus held.txt >out || wrong "evaluate"
  # two bits a line of four characters, and a little for where a block begins
  awk '$1 == "bits" { exit !($4 < 0.45) }' out || wrong "$family: $(cat out)"
  awk -v bytes="$(wc -c <held.txt)" '$1 == "tokens" { n = $2 } $1 == "loss" { l = $2 }
    $1 == "perplexity" { p = $2 } $1 == "bits" { b = $4 }
    END { e = exp(l) / p - 1; f = n * l / log(2) / bytes - b; exit !(e * e < 1e-6 && f * f < 1e-6) }' out || wrong "figures: $(cat out)"
  for letter in a b c d; do
    line=$("$attn" generate --model "m-$family" --prompt "$(printf 'd天D\n%s' $letter)" --temperature 0 --max-tokens 3 --no-prompt | head -1)
    whole=$(grep "^$letter" text.txt | head -1)
    [ "$letter$line" = "$whole" ] || wrong "$family: $letter$line, not $whole"
  done
done

# --- what is drawn: the seed alone says it; the prompt comes first
"$attn" generate --model m-gpt2 --prompt $'a天A\n' --seed 5 --max-tokens 60 --threads 1 >one || wrong "generate"
"$attn" generate --model m-gpt2 --prompt $'a天A\n' --seed 5 --max-tokens 60 --threads 2 >two || wrong "generate"
cmp -s one two || wrong "threads change what is drawn"
[ "$(head -1 one)" = "a天A" ] || wrong "the prompt does not come first: $(cat one)"
"$attn" generate --model m-gpt2 --prompt $'a天A\n' --seed 6 --max-tokens 60 >three
cmp -s one three && wrong "another seed draws the same"
printf 'a天A\n' | "$attn" generate --model m-gpt2 --seed 5 --max-tokens 60 --samples 2 >four || wrong "from standard input"
head -c "$(wc -c <one)" four | cmp -s - one || wrong "the first of two samples is another text"
grep -q '^---$' four || wrong "nothing stands between samples"
"$attn" generate --model m-gpt2 --prompt $'b\n' --top-k 1 --seed 9 --max-tokens 40 >k1
"$attn" generate --model m-gpt2 --prompt $'b\n' --temperature 0 --max-tokens 40 | cmp -s - k1 || wrong "top-k 1 is not the likeliest"
: | "$attn" generate --model m-gpt2 --max-tokens 20 --no-prompt >out || wrong "an empty prompt"
grep -q '^[abcd]' out || wrong "an empty prompt begins no line: $(cat out)"
iconv -f UTF-8 -t UTF-8 four >/dev/null || wrong "the text is not UTF-8"
# far beyond the positions
"$attn" generate --model m-llama --prompt $'c\n' --max-tokens 300 --temperature 0.5 --no-prompt >out || wrong "beyond the positions"
[ "$(wc -m <out)" -ge 300 ] || wrong "$(wc -m <out) characters for 300"

# --- stopped and resumed: the same bits; fine-tuning
"$attn" train --task language --corpus text.txt --model t1 "${small[@]}" --updates 30 --threads 1 2>log || wrong "one thread"
"$attn" train --task language --corpus text.txt --model t2 "${small[@]}" --updates 14 2>log || wrong "two threads"
"$attn" train --task language --corpus text.txt --model t2 "${small[@]}" --updates 30 --resume 2>log || { cat log; wrong "resume"; }
cmp -s t1/model.safetensors t2/model.safetensors || wrong "threads or resuming change bits"
"$attn" train --task language --corpus held.txt --init m-llama --model tuned --block 16 --updates 5 --batch-tokens 256 2>log || { cat log; wrong "init"; }
"$attn" info t1 | grep -q 'language model (GPT-2)' || wrong "info"

# --- bad input
for temperature in -1 nan 1000; do
  expect 1 'temperature is' "$attn" generate --model m-gpt2 --prompt a --temperature $temperature
  [ ! -s out ] || wrong "something was printed for temperature $temperature"
done
expect 2 'top-p' "$attn" generate --model m-gpt2 --prompt a --top-p 0
yes 'a天A' | head -40 | "$attn" generate --model m-gpt2 --max-tokens 2 >out 2>err || wrong "a long prompt"
grep -q "more than the model's 16 positions" err || wrong "a cut prompt is not told of: $(cat err)"
printf 'a\377' | "$attn" generate --model m-gpt2 --max-tokens 2 >out 2>err || wrong "invalid UTF-8"
grep -q 'U+FFFD' err || wrong "invalid UTF-8 is not told of: $(cat err)"
"$attn" generate --model m-gpt2 --prompt 'xyz' --max-tokens 2 >out 2>err || wrong "unknown characters"
grep -q '3 of 3 tokens are unknown' err || wrong "unknown characters are not told of: $(cat err)"
expect 2 '--model DIR is missing' "$attn" generate --prompt a
expect 1 'nowhere' "$attn" generate --model nowhere --prompt a
expect 1 'nowhere.txt' "$attn" evaluate --model m-gpt2 --corpus nowhere.txt
expect 2 'a plain text' "$attn" evaluate --model m-gpt2 --source text.txt --target text.txt
expect 1 'block is 64' "$attn" evaluate --model m-gpt2 --corpus text.txt --block 64
printf 'a\0b' >nul.txt
expect 1 'NUL' "$attn" train --task language --corpus nul.txt --model x "${small[@]}" --updates 1
: >empty.txt
expect 1 'is empty' "$attn" train --task language --corpus empty.txt --model x "${small[@]}" --updates 1
expect 1 'plain text' "$attn" train --task language --source text.txt --target text.txt --model x "${small[@]}" --updates 1
expect 1 'kv-heads is 3' "$attn" train --task language --corpus text.txt --model x --family llama --kv-heads 3 --updates 1
expect 2 '--block is not an option of --task classify' "$attn" train --task classify --corpus text.txt --model x --block 8 --updates 1
expect 2 '--mask-share is not an option of --task translate' "$attn" train --corpus text.txt --model x --mask-share 0.2 --updates 1
expect 2 '--max-tokens is not an option of --task language' "$attn" train --task language --corpus text.txt --model x --max-tokens 8 --updates 1
[ ! -e x/model.safetensors ] || wrong "a model was left behind"
printf 'abcdefghijklmnopqrstuvwxyz\n%.0s' $(seq 40) >letters.txt # a vocabulary that is none of m-gpt2's
"$attn" train --task language --corpus letters.txt --model other "${small[@]}" --updates 1 2>log || { cat log; wrong "letters"; }
cp -r m-gpt2 mixed && cp other/tokenizer.json mixed/
expect 1 "pieces, the model's vocab_size is" "$attn" generate --model mixed --prompt a
sed -i 's/"vocab_size": [0-9]*/"vocab_size": 4/' m-llama/config.json
expect 1 'm-llama' "$attn" generate --model m-llama --prompt a
printf 'a\n' | "$attn" translate --model m-gpt2 >out 2>err && wrong "a language model translates"
grep -q 'does not translate' err || wrong "translate: $(cat err)"
"$attn" train --task masked --corpus held.txt --model hidden --layers 1 --width 8 --heads 1 --updates 1 2>log || { cat log; wrong "masked"; }
expect 1 'no language model' "$attn" generate --model hidden --prompt a

[ $failures -eq 0 ] || exit 1
echo "language: all as expected"
