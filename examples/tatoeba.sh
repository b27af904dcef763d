#!/bin/sh
# English-Chinese from Tatoeba's pairs, either way: trains, prints BLEU (Chinese: with sacreBLEU's zh
# tokenisation) and chrF on held-out sentences, and shows where a translation looked.
#
#     examples/tatoeba.sh en-zh|zh-en [PAIRS [FOLDER]]
#
# PAIRS: a line a pair, English, a tab, Chinese (manythings.org/anki, cmn-eng). Held out are all
# pairs of 500 English sentences for validation and 1,000 for the test, so that no test sentence was
# seen in training with another translation. ATTN names the command, THREADS the threads, MINUTES
# the training time.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
threads=${THREADS:-2}
way=${1:-}
pairs=${2:-../shared/data/tatoeba-en-zh/cmn.txt}
folder=${3:-tatoeba-$way}
case $way in
    en-zh) columns='$1 "\t" $2' bleu=zh text='The weather is very nice today.' ;;
    zh-en) columns='$2 "\t" $1' bleu=13a text='今天天气很好。' ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

mkdir -p "$folder"
# English sentences in an order of chance; the first ones and all their pairs are held out.
cut -f 1 "$pairs" | LC_ALL=C sort -u | awk 'BEGIN { srand(1) } { print rand() "\t" $0 }' | LC_ALL=C sort -g | cut -f 2 >"$folder/english"
rm -f "$folder/train.tsv" "$folder/valid.tsv" "$folder/test.tsv"
awk -F '\t' -v folder="$folder" 'NR == FNR { place[$1] = FNR; next }
    { part = place[$1] <= 500 ? "valid" : place[$1] <= 1500 ? "test" : "train"; print '"$columns"' >(folder "/" part ".tsv") }' \
    "$folder/english" "$pairs"

"$attn" train --corpus "$folder/train.tsv" --valid-corpus "$folder/valid.tsv" --model "$folder/model" --vocabulary 8000 \
    --layers 3 --width 192 --heads 4 --feed-forward 512 --dropout 0.25 --rate 0.003 --warmup 400 --batch-tokens 2048 \
    --average 0.995 --valid-bleu-lines 0 --patience 6 --minutes "${MINUTES:-10}" --threads "$threads"
"$attn" evaluate --model "$folder/model" --corpus "$folder/test.tsv" --bleu $bleu --beam 5 --threads "$threads"
"$attn" explain --model "$folder/model" --threads "$threads" "$text"
