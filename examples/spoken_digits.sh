#!/bin/sh
# Single digits by their sound, and strings of 3 to 7 digits written down.
#
#     examples/spoken_digits.sh FOLDER [RECORDINGS]
#
# RECORDINGS: the Free Spoken Digit Dataset's WAV files DIGIT_SPEAKER_INDEX.wav (Jakobovski et al.,
# CC-BY-SA 4.0), a folder or a tar of it; the test sets are of indices 0 to 4. Models and lists go to
# FOLDER. ATTN names the command, THREADS the threads.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
attn=${ATTN:-$here/../build/attn}
threads=${THREADS:-2}
folder=${1:-}
recordings=${2:-../shared/data/spoken-digits/recordings.tar.xz}
if [ -z "$folder" ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

mkdir -p "$folder"
if [ -f "$recordings" ]; then
    mkdir -p "$folder/unpacked"
    tar xf "$recordings" -C "$folder/unpacked"
    recordings=$(dirname "$(find "$folder/unpacked" -name '*_*_0.wav' | head -1)")
fi
python3 "$here/join_digits.py" "$recordings" "$folder"
common="--task speech --sample-rate 8000 --mel-bins 40 --width 96 --heads 4 --feed-forward 192 --schedule cosine
    --optimizer adamw --mask-bins 6 --threads $threads"
"$attn" train $common --corpus "$folder/digits.tsv" --test-corpus "$folder/digits-test.tsv" --model "$folder/digits" \
    --max-frames 120 --layers 4 --rate 0.002 --warmup 100 --epochs 40 --batch-tokens 4000 --mask-frames 8 \
    --weight-decay 0.05 --valid-share 0.07 --resume
"$attn" evaluate --model "$folder/digits" --corpus "$folder/digits-test.tsv" --threads "$threads" | head -4
"$attn" train $common --text --tokenizer whitespace --corpus "$folder/strings.tsv" \
    --test-corpus "$folder/strings-test.tsv" --model "$folder/strings" --max-frames 800 --max-positions 16 \
    --max-tokens 16 --layers 3 --rate 0.002 --warmup 200 --epochs 20 --batch-tokens 3000 --mask-frames 20 \
    --weight-decay 0.02 --valid-share 0.03 --resume
"$attn" evaluate --model "$folder/strings" --corpus "$folder/strings-test.tsv" --threads "$threads"
