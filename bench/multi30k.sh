#!/bin/sh
# Multi30k English-German from raw text: trains for at most 15 minutes on two cores and
# prints BLEU on test2016, cased, with beam 5.
#
#     bench/multi30k.sh DATA_DIR [MODEL_DIR [attn train OPTION]...]
#
# DATA_DIR holds train, val and test2016 as .en and .de, one sentence a line. MODEL_DIR
# (default multi30k-model) is made; options given behind it override those below.
# ATTN names the command, MINUTES the training time, THREADS the threads, PYTHON an
# interpreter: where it has sacrebleu, that scores the same translations too.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
threads=${THREADS:-2}
if [ $# -lt 1 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
data=$1
model=${2:-multi30k-model}
shift
[ $# -eq 0 ] || shift
for split in train val test2016; do
    for language in en de; do
        [ -r "$data/$split.$language" ] || { echo "multi30k.sh: $data/$split.$language is missing" >&2; exit 1; }
    done
done

# A little under 15 minutes: the last validation and the last save come on top.
"$attn" train --source "$data/train.en" --target "$data/train.de" \
    --valid-source "$data/val.en" --valid-target "$data/val.de" \
    --model "$model" --vocabulary 8000 --layers 4 --width 128 --feed-forward 256 --heads 4 \
    --dropout 0.15 --batch-tokens 4096 --rate 0.004 --warmup 400 --valid-bleu-lines 0 \
    --minutes "${MINUTES:-14.5}" --threads "$threads" "$@"

"$attn" evaluate --model "$model" --source "$data/test2016.en" --target "$data/test2016.de" \
    --beam 5 --threads "$threads"

python=${PYTHON:-python3}
if "$python" -c 'import sacrebleu' 2>/dev/null; then
    "$attn" translate --model "$model" --beam 5 --threads "$threads" \
        <"$data/test2016.en" >"$model/test2016.translated"
    "$python" -m sacrebleu "$data/test2016.de" -i "$model/test2016.translated" -m bleu chrf -w 2 -f text
fi
