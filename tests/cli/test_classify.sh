#!/bin/bash
# Classifying as a user does it: a generated set in which the word after "ask" says the
# label, training with both poolings, resuming, fine-tuning from hidden words, bad input.
#     test_classify.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_classify_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

# Fillers are the words of all classes: only what stands behind "ask" tells.
awk 'BEGIN { srand(5); split("red green blue", names, " "); for (i = 0; i < 900; i++) {
     n = 1 + int(rand() * 6); at = int(rand() * n); k = 1 + int(rand() * 3); s = "";
     for (j = 0; j < n; j++) s = s (j == at ? "ask w" k " " : "v" (1 + int(rand() * 8)) " ");
     print names[k] "\t" s }; }' >all.tsv
head -700 all.tsv >train.tsv
tail -200 all.tsv >test.tsv
small=(--layers 1 --width 32 --heads 2 --feed-forward 64 --dropout 0 --word-dropout 0 --rate 0.01 --warmup 10
  --batch-tokens 400 --max-tokens 32 --max-positions 32 --label-smoothing 0 --average 0.9 --threads 2)

for pooling in attention cls; do
  "$attn" train --task classify --corpus train.tsv --model "m-$pooling" --pooling $pooling "${small[@]}" --updates 120 \
    2>log || { cat log; wrong "training with $pooling"; }
  "$attn" evaluate --model "m-$pooling" --corpus test.tsv >out || wrong "evaluate"
  awk '$1 == "accuracy" { exit !($2 > 0.97) }' out || wrong "$pooling: $(grep accuracy out)"
  cut -f2 test.tsv | "$attn" classify --model "m-$pooling" --weights >found || wrong "classify"
  [ "$(wc -l <found)" -eq 200 ] || wrong "$(wc -l <found) lines for 200"
  same=$(cut -f1 found | paste - <(cut -f1 test.tsv) | awk '$1 == $2' | wc -l)
  awk -v same="$same" '$1 == "accuracy" { d = $2 * 200 - same; exit !(d < 0.1 && d > -0.1) }' out ||
    wrong "$pooling: classify finds $same, evaluate $(grep accuracy out)"
  cut -f3 found | awk '{ sum = 0; for (i = 1; i <= NF; i++) { sub(/.*=/, "", $i); sum += $i } if (sum < 0.99 || sum > 1.01) exit 1 }' ||
    wrong "$pooling: weights do not sum to 1"
  # a text's line does not depend on its company or on threads
  head -5 test.tsv | cut -f2 | while IFS= read -r line; do printf '%s\n' "$line" | "$attn" classify --model "m-$pooling" --weights --threads 1; done >alone
  head -5 found | cmp -s - alone || wrong "$pooling: company changes results"
done

# --- the same bits with 1 and 2 threads, and for a run that was stopped and resumed
"$attn" train --task classify --corpus train.tsv --model t1 "${small[@]}" --word-dropout 0.2 --updates 40 --threads 1 2>log || wrong "one thread"
"$attn" train --task classify --corpus train.tsv --model t2 "${small[@]}" --word-dropout 0.2 --updates 20 2>log || wrong "two threads"
"$attn" train --task classify --corpus train.tsv --model t2 "${small[@]}" --word-dropout 0.2 --updates 40 --resume 2>log || { cat log; wrong "resume"; }
cmp -s t1/model.safetensors t2/model.safetensors || wrong "threads or resuming change bits"

# --- two readings that ought to agree
"$attn" train --task classify --corpus train.tsv --model r1 "${small[@]}" --dropout 0.2 --r-drop 2 --updates 120 --threads 1 2>log || { cat log; wrong "r-drop"; }
"$attn" train --task classify --corpus train.tsv --model r2 "${small[@]}" --dropout 0.2 --r-drop 2 --updates 120 --threads 2 2>log || wrong "r-drop"
cmp -s r1/model.safetensors r2/model.safetensors || wrong "r-drop: threads change bits"
"$attn" evaluate --model r1 --corpus test.tsv | awk '$1 == "accuracy" { exit !($2 > 0.97) }' || wrong "r-drop"
expect 1 'r_drop was "2"' "$attn" train --task classify --corpus train.tsv --model r1 "${small[@]}" --dropout 0.2 --r-drop 3 --updates 130 --resume
expect 2 '--r-drop is not an option of --task masked' "$attn" train --task masked --corpus train.tsv --model x --r-drop 1 --updates 1

# --- hidden words, and a classifier that begins with them
cut -f2 train.tsv >plain.txt
"$attn" train --task masked --corpus plain.txt --model hidden "${small[@]/--word-dropout/--dropout}" --updates 60 2>log || { cat log; wrong "masked"; }
grep -q 'validation: .*accuracy' log || wrong "masked: no validation"
"$attn" train --task classify --init hidden --corpus train.tsv --model tuned --dropout 0 --word-dropout 0 --rate 0.01 \
  --warmup 10 --batch-tokens 400 --max-tokens 32 --updates 80 2>log || { cat log; wrong "fine-tuning"; }
"$attn" evaluate --model tuned --corpus test.tsv | awk '$1 == "accuracy" { exit !($2 > 0.97) }' || wrong "fine-tuned"

# --- a convolution below the layers: in config.json, kept by --init and --resume
conv=(--layers 1 --width 32 --heads 2 --feed-forward 64 --convolution 3)
common=(--dropout 0.1 --rate 0.01 --warmup 10 --batch-tokens 400 --max-tokens 32 --threads 2)
"$attn" train --task masked --corpus plain.txt --model hidden3 "${conv[@]}" "${common[@]}" --updates 20 2>log || { cat log; wrong "masked, convolution"; }
"$attn" train --task classify --init hidden3 --corpus train.tsv --model m3 --word-dropout 0 "${common[@]}" --updates 80 2>log || wrong "fine-tuning, convolution"
"$attn" train --task classify --init hidden3 --corpus train.tsv --model m3b --word-dropout 0 "${common[@]}" --updates 40 2>log || wrong "half"
"$attn" train --task classify --init hidden3 --corpus train.tsv --model m3b --word-dropout 0 "${common[@]}" --updates 80 --resume 2>log || { cat log; wrong "the other half"; }
cmp -s m3/model.safetensors m3b/model.safetensors || wrong "resuming changes bits with a convolution"
grep -q '"convolution": 3' m3/config.json && "$attn" info --model m3 | grep -q 'convolution  *3 words' || wrong "m3 has no convolution"
"$attn" evaluate --model m3 --corpus test.tsv | awk '$1 == "accuracy" { exit !($2 > 0.97) }' || wrong "convolution"
expect 1 'convolution is 2' "$attn" train --task classify --corpus train.tsv --model x --convolution 2 "${small[@]}" --updates 1
expect 2 'cannot be chosen with --init' "$attn" train --task classify --init hidden3 --corpus train.tsv --model x --convolution 5 --updates 1
sed -i 's/"convolution": 3/"convolution": 5/' m3b/config.json
expect 1 'm3b' "$attn" classify --model m3b

# --- together: the mean of the probabilities, by the labels' names; a member's labels may have another order
tac train.tsv >backwards.tsv
"$attn" train --task classify --corpus backwards.tsv --model other "${small[@]}" --seed 7 --dropout 0.3 --updates 25 2>log || wrong "another member"
"$attn" train --task classify --corpus train.tsv --model pieces "${small[@]}" --tokenizer wordpiece --vocabulary 24 --updates 25 2>log || wrong "a member of pieces"
together=(--model r1 --model other --model pieces)
cut -f2 test.tsv | "$attn" classify "${together[@]}" --all --threads 1 >found || wrong "classify together"
for one in r1 other pieces; do cut -f2 test.tsv | "$attn" classify --model $one --all; done | awk '
  { split($0, f, "\t"); n = split(f[3], p, " "); line = (NR - 1) % 200
    for (k = 1; k <= n; k++) { split(p[k], x, "="); sum[line " " x[1]] += x[2] / 3 } }
  END { for (at in sum) print at, sum[at] }' | sort >means
awk '{ split($0, f, "\t"); n = split(f[3], p, " "); for (k = 1; k <= n; k++) { split(p[k], x, "="); print NR - 1, x[1], x[2] } }' found | sort >given
paste -d ' ' means given | awk '$1 != $4 || $2 != $5 || ($3 - $6) ^ 2 > 4e-12 { exit 1 }' && [ "$(wc -l <means)" -eq 600 ] ||
  wrong "together is not the mean: $(paste means given | head -3)"
"$attn" evaluate "${together[@]}" --corpus test.tsv >out || wrong "evaluate together"
same=$(cut -f1 found | paste - <(cut -f1 test.tsv) | awk '$1 == $2' | wc -l)
awk -v same="$same" '$1 == "accuracy" { exit ($2 * 200 - same) ^ 2 > 0.01 }' out || wrong "together: classify finds $same, evaluate $(grep accuracy out)"
"$attn" evaluate --model r1 --model r1 --corpus test.tsv | cmp -s - <("$attn" evaluate --model r1 --corpus test.tsv) || wrong "a model with itself is another"
head -7 test.tsv | cut -f2 | "$attn" classify "${together[@]}" --all --threads 2 | cmp -s - <(head -7 found) || wrong "together: company or threads change results"
# a word that a member's vocabulary lacks is the same word; other cuts have no weights in common
cut -f2 test.tsv | "$attn" classify --model r1 --model other --weights >found || wrong "weights together"
for one in r1 other; do cut -f2 test.tsv | "$attn" classify --model $one --weights | cut -f3 | tr ' ' '\n' | sed 's/.*=//' >w-$one; done
cut -f3 found | tr ' ' '\n' | sed 's/.*=//' | paste - w-r1 w-other | awk '{ d = $1 - ($2 + $3) / 2; if (d > 1.01e-4 || d < -1.01e-4) exit 1 }' || wrong "weights together are not the mean"
echo 'ask w1 v5' >line
expect 1 'line 1: the models cut it into different words' bash -c '"$0" classify --model r1 --model pieces --weights <line' "$attn"
sed 's/^red/pink/' train.tsv >pink.tsv
"$attn" train --task classify --corpus pink.tsv --model pink "${small[@]}" --updates 1 2>log || wrong "other labels"
grep -v '^red' train.tsv >two.tsv
"$attn" train --task classify --corpus two.tsv --model two "${small[@]}" --updates 1 2>log || wrong "fewer labels"
expect 1 'pink has the label "pink", which r1 lacks' "$attn" classify --model r1 --model pink
expect 1 'two has 2 labels, r1 has 3' "$attn" evaluate --model r1 --model two --corpus test.tsv
expect 1 'hidden is no classifier' "$attn" classify --model r1 --model hidden
expect 2 '--model was given 2 times' "$attn" evaluate --model hidden --model r1 --corpus test.tsv

# --- letters: words that training never saw tell their class by how they end
awk 'BEGIN { srand(9); split("ing ous able", end, " "); split("red green blue", names, " "); for (i = 0; i < 900; i++) {
     k = 1 + int(rand() * 3); word = ""; for (j = 0; j < 6; j++) word = word sprintf("%c", 97 + int(rand() * 26));
     print names[k] "\tthe " word end[k] " one" }; }' >endings.tsv
head -700 endings.tsv >seen.tsv
tail -200 endings.tsv >unseen.tsv
spelled=("${small[@]}" --tokenizer words --vocabulary 16 --word-dropout 0.1)
"$attn" train --task classify --corpus seen.tsv --model l0 "${spelled[@]}" --updates 60 2>log || wrong "words alone"
"$attn" train --task classify --corpus seen.tsv --model l1 "${spelled[@]}" --letters 2000 --updates 60 --threads 1 2>log || { cat log; wrong "letters"; }
"$attn" train --task classify --corpus seen.tsv --model l2 "${spelled[@]}" --letters 2000 --updates 30 2>log || wrong "letters"
"$attn" train --task classify --corpus seen.tsv --model l2 "${spelled[@]}" --letters 2000 --updates 60 --resume 2>log || { cat log; wrong "letters, resumed"; }
cmp -s l1/last/model.safetensors l2/last/model.safetensors || wrong "letters: threads or resuming change bits"
"$attn" evaluate --model l0 --corpus unseen.tsv | awk '$1 == "accuracy" { exit !($2 < 0.6) }' || wrong "words alone know unseen words"
"$attn" evaluate --model l1 --corpus unseen.tsv >out || wrong "evaluate, letters"
awk '$1 == "accuracy" { exit !($2 > 0.95) }' out || wrong "letters: $(grep accuracy out)"
cut -f2 unseen.tsv | "$attn" classify --model l1 --weights >found || wrong "classify, letters"
same=$(cut -f1 found | paste - <(cut -f1 unseen.tsv) | awk '$1 == $2' | wc -l)
awk -v same="$same" '$1 == "accuracy" { exit ($2 * 200 - same) ^ 2 > 0.01 }' out || wrong "letters: classify finds $same, evaluate $(grep accuracy out)"
head -3 unseen.tsv | cut -f2 | "$attn" classify --model l1 --weights --threads 1 | cmp -s - <(head -3 found) || wrong "letters: company changes results"
grep -q '\[UNK\]=' found || wrong "an unseen word is not shown as [UNK]"
echo 'the qqzzing one' | "$attn" explain --model l1 >out || wrong "explain, letters"
grep -qF '[UNK]' out || wrong "explain does not show the unseen word: $(cat out)"
grep -q '"letters": 2000' l1/config.json && "$attn" info --model l1 | grep -q 'letters  *2000 numbers' || wrong "l1 has no letters"
cut -f2 seen.tsv >plain-seen.txt
"$attn" train --task masked --corpus plain-seen.txt --model hidden-l "${small[@]/--word-dropout/--dropout}" --tokenizer words --vocabulary 300 --letters 2000 --updates 20 2>log || { cat log; wrong "masked, letters"; }
"$attn" train --task classify --init hidden-l --corpus seen.tsv --model l3 --word-dropout 0.1 --dropout 0 --rate 0.01 --warmup 10 \
  --batch-tokens 400 --max-tokens 32 --updates 60 2>log || { cat log; wrong "fine-tuning, letters"; }
"$attn" evaluate --model l3 --corpus unseen.tsv | awk '$1 == "accuracy" { exit !($2 > 0.95) }' || wrong "fine-tuned, letters"
expect 1 'choose the tokenizer words' "$attn" train --task classify --corpus seen.tsv --model x "${small[@]}" --letters 100 --updates 1
expect 2 'cannot be chosen with --init' "$attn" train --task classify --init hidden-l --corpus seen.tsv --model x --letters 100 --updates 1
sed -i 's/"letters": 2000/"letters": 9999999/' l2/config.json
expect 1 'letters is 1e+07, from 0 to' "$attn" classify --model l2
sed -i 's/"letters": 9999999/"letters": 1999/' l2/config.json
expect 1 'l2' "$attn" classify --model l2
sed -i '9s/.*/##ed/' l1/vocab.txt
expect 1 'pieces of words' "$attn" classify --model l1

# --- bad input
printf '\n  \nask w1\n' | "$attn" classify --model m-cls >out 2>err || wrong "empty lines"
[ "$(wc -l <out)" -eq 3 ] || wrong "empty lines: $(wc -l <out) lines for 3"
grep -q 'line 1: the text is empty' err || wrong "an empty text is not told of: $(cat err)"
yes ask | head -100 | tr '\n' ' ' | "$attn" classify --model m-cls >out 2>err || wrong "a long text"
grep -q 'positions' err || wrong "a cut text is not told of: $(cat err)"
printf 'a \377 b\n' | "$attn" classify --model m-cls >out 2>err || wrong "invalid UTF-8"
grep -q 'U+FFFD' err || wrong "invalid UTF-8 is not told of: $(cat err)"
printf 'purple\task w1\n' >unseen.tsv
expect 1 'label "purple"' "$attn" evaluate --model m-cls --corpus unseen.tsv
expect 1 'label "purple"' "$attn" train --task classify --corpus train.tsv --valid-corpus unseen.tsv --model x "${small[@]}" --updates 1
[ ! -e x/model.safetensors ] || wrong "a model was left behind"
printf 'red\ta\nred\tb\n' >one.tsv
expect 1 'one label, "red"' "$attn" train --task classify --corpus one.tsv --model x "${small[@]}" --updates 1
{ head -50 train.tsv; printf 'red\t\nblue\t  \n'; } >empty.tsv
"$attn" train --task classify --corpus empty.tsv --model with-empty "${small[@]}" --updates 1 2>err || wrong "empty texts in training: $(cat err)"
grep -q '2 .*empty' err || wrong "empty texts in training are not told of: $(cat err)"
grep red test.tsv | head -20 >reds.tsv
"$attn" train --task classify --corpus train.tsv --valid-corpus reds.tsv --model reds "${small[@]}" --updates 1 2>err || wrong "a label without an example"
grep -q 'label "blue" has no example' err || wrong "a label without an example is not told of: $(cat err)"
printf 'red a\n' >none.tsv
expect 1 'none.tsv' "$attn" train --task classify --corpus none.tsv --model x "${small[@]}" --updates 1
grep red test.tsv >red.tsv
"$attn" evaluate --model m-cls --corpus red.tsv >out || wrong "a class with no example"
grep -q -- '-  *0  blue' out || wrong "a class with no example has an F1: $(cat out)"
expect 1 'watch its loss or its accuracy' "$attn" train --task classify --corpus train.tsv --model x --watch bleu --updates 1
expect 1 'wordpiece or words' "$attn" train --task classify --corpus train.tsv --model x --tokenizer whitespace --updates 1
expect 1 'is no classifier' "$attn" classify --model hidden
expect 2 '--model DIR is missing' "$attn" classify
printf 'one\n[SEP]\n' >m-cls/vocab.txt
expect 1 'lacks the piece' "$attn" classify --model m-cls
sed -i 's/"vocab_size": [0-9]*/"vocab_size": 4/' m-attention/config.json
expect 1 'm-attention' "$attn" classify --model m-attention

[ $failures -eq 0 ] || exit 1
echo "classify: all as expected"
