#!/bin/sh
# What only attention solves, from generated pairs: reversal or copying of strings, or the
# look-up of a key among 50 pairs. Trains, and prints the share of test targets that are
# exactly right: of lengths seen in training, and (reverse, copy) of longer ones.
#
#     examples/sequence_to_sequence.sh reverse|copy|lookup [FOLDER]
#
# ATTN names the command, THREADS the threads, UPDATES the length of the training.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
threads=${THREADS:-2}
task=${1:-}
folder=${2:-pairs-$task}
case $task in
    reverse | copy) updates=${UPDATES:-2000} ;;
    lookup) updates=${UPDATES:-6000} ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

mkdir -p "$folder"
"$here/make_pairs.py" "$task" --pairs 60000 --seed 1 >"$folder/train.tsv"
"$here/make_pairs.py" "$task" --pairs 1000 --shortest 10 --seed 2 >"$folder/test.tsv"

"$attn" train --corpus "$folder/train.tsv" --model "$folder/model" --tokenizer whitespace \
    --layers 2 --width 128 --heads 4 --feed-forward 256 --dropout 0 --label-smoothing 0 \
    --rate 0.001 --warmup 300 --batch-tokens "${BATCH_TOKENS:-$([ "$task" = lookup ] && echo 128 || echo 2048)}" \
    --average 0.99 --valid-share 0.005 --valid-bleu-lines 0 --updates "$updates" --validate-every 500 \
    --max-tokens 128 --max-positions 128 --threads "$threads"

exact() { # FILE: the share of lines that are translated exactly
    cut -f 1 "$1" | "$attn" translate --model "$folder/model" --beam 1 --threads "$threads" >"$1.found"
    cut -f 2 "$1" | paste - "$1.found" | awk -F '\t' '$1 == $2 { n++ } END { printf "%.1f %% of %d exact\n", 100 * n / NR, NR }'
}
printf '%s: ' "$task" && exact "$folder/test.tsv"
[ "$task" != lookup ] || exit 0
for length in 21 22 25 30; do
    "$here/make_pairs.py" "$task" --pairs 500 --shortest $length --longest $length --seed 3 >"$folder/length-$length.tsv"
    printf '%s, %d letters (training had 20 at most): ' "$task" $length && exact "$folder/length-$length.tsv"
done
