#!/bin/sh
# What only attention solves, from generated pairs: reversal or copying of strings, or the
# look-up of a key among 50 pairs. Trains (lookup: a recurrent network with attention, the others
# a Transformer), and prints the share of test targets that are exactly right: of lengths seen in
# training, and of longer ones.
#
#     examples/sequence_to_sequence.sh reverse|copy|lookup [FOLDER]
#
# ATTN names the command, THREADS the threads, UPDATES the length of the training (lookup: of its first part).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
threads=${THREADS:-2}
task=${1:-}
folder=${2:-pairs-$task}
case $task in
    reverse | copy | lookup) ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
mkdir -p "$folder"

pairs() { # NUMBER SEED [OPTION]...
    number=$1 seed=$2
    shift 2
    "$here/make_pairs.py" "$task" --pairs "$number" --seed "$seed" "$@"
}

train() { # CORPUS MODEL [OPTION]...
    corpus=$1 model=$2
    shift 2
    "$attn" train --corpus "$corpus" --model "$model" --dropout 0 --label-smoothing 0 --average 0.99 --valid-share 0.005 \
        --valid-bleu-lines 0 --max-tokens 128 --threads "$threads" "$@"
}

exact() { # FILE WHAT: the share of lines that are translated exactly
    cut -f 1 "$1" | "$attn" translate --model "$folder/model" --beam 1 --threads "$threads" >"$1.found"
    cut -f 2 "$1" | paste - "$1.found" |
        awk -F '\t' -v what="$2" '$1 == $2 { n++ } END { printf "%s: %.1f %% of %d exact\n", what, 100 * n / NR, NR }'
}

if [ "$task" = lookup ]; then
    # A key has to be found before a value can be read: with few pairs that is learned soon, and carries over to many.
    pairs 100000 1 --keys 8 --fewest 2 --questions 8 >"$folder/few.tsv"
    pairs 40000 1 --fewest 2 --questions 10 >"$folder/train.tsv"
    train "$folder/few.tsv" "$folder/few" --tokenizer whitespace --max-positions 256 --architecture recurrent --score general \
        --layers 1 --width 128 --hidden 192 --rate 0.002 --schedule constant --warmup 200 --batch-tokens 1024 \
        --updates "${UPDATES:-600}" --validate-every 200
    train "$folder/train.tsv" "$folder/model" --init "$folder/few" --rate 0.001 --schedule linear --warmup 50 \
        --batch-tokens 1024 --updates 300 --validate-every 100
    for keys in 50 60 75 100; do
        pairs 1000 2 --keys $keys >"$folder/keys-$keys.tsv"
        exact "$folder/keys-$keys.tsv" "lookup, $keys pairs (training had 50 at most)"
    done
    exit 0
fi
pairs 60000 1 >"$folder/train.tsv"
pairs 1000 2 --shortest 10 >"$folder/test.tsv"
train "$folder/train.tsv" "$folder/model" --tokenizer whitespace --layers 2 --width 128 --heads 4 --feed-forward 256 \
    --rate 0.001 --warmup 300 --batch-tokens 2048 --max-positions 128 --updates "${UPDATES:-2000}" --validate-every 500
exact "$folder/test.tsv" "$task, 10 to 20 letters"
for length in 21 22 25 30; do
    pairs 500 3 --shortest $length --longest $length >"$folder/length-$length.tsv"
    exact "$folder/length-$length.tsv" "$task, $length letters (training had 20 at most)"
done
