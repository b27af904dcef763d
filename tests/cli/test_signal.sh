#!/bin/bash
# Pictures and sounds as a user meets them: generated sets, training, resuming, naming,
# measuring, explaining, and files that are damaged.
#     test_signal.sh ATTN SOURCE_FOLDER
set -u
attn=$1
source_folder=$2
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_signal_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
cd "$work"

# least NAME MODEL ARGUMENTS...: accuracy of at least 0.95.
least() {
  local name=$1
  shift
  "$attn" evaluate "$@" >evaluation 2>err || wrong "evaluate $name ($(cat err))"
  awk '$1 == "accuracy" && $2 >= 0.95 { found = 1 } END { exit !found }' evaluation ||
    wrong "$name: $(grep accuracy evaluation)"
}

python3 "$source_folder/tests/cli/make_signals.py" . || exit 1
small=(--layers 1 --width 32 --heads 2 --feed-forward 64 --dropout 0 --rate 0.005 --warmup 10 --label-smoothing 0
  --average 0.9 --threads 2)
pictures=(--task image --images train-images --labels train-labels --patch-size 4 --shift 1 --batch-tokens 288)
sounds=(--task speech --corpus sounds.tsv --sample-rate 4000 --mel-bins 20 --max-frames 100 --batch-tokens 200)

# IDX files.
"$attn" train "${pictures[@]}" --model m-idx "${small[@]}" --updates 100 --test-images test-images \
  --test-labels test-labels 2>log || { cat log; wrong "training on IDX files"; }
least "IDX files" --model m-idx --images test-images --labels test-labels
"$attn" info m-idx | grep -q 'grey, patches of 4 x 4' || wrong "info"
# The same in two runs, the second on another number of threads.
"$attn" train "${pictures[@]}" --model m-two "${small[@]}" --threads 1 --updates 60 --quiet 2>log || wrong "first half"
"$attn" train "${pictures[@]}" --model m-two "${small[@]}" --updates 100 --resume --quiet 2>log || wrong "second half"
cmp m-idx/model.safetensors m-two/model.safetensors || wrong "an interrupted training differs"

# A folder with a folder for each class.
"$attn" train --task image --corpus classes --image-size 12 --patch-size 4 --model m-png "${small[@]}" --batch-tokens 288 \
  --updates 80 2>log || { cat log; wrong "training on a folder"; }
least "a folder" --model m-png --corpus classes
"$attn" classify --model m-png upright.png classes/lying/3.png >named || wrong "classify"
[ "$(cut -f 1,2 named)" = "$(printf 'upright.png\tupright\nclasses/lying/3.png\tlying')" ] || wrong "named: $(cat named)"
"$attn" classify --model m-png classes/lying/3.png upright.png --threads 1 | sort >other
sort named | cmp - other || wrong "names depend on their order"

# Pictures of another shape, and damaged ones.
for name in pixel wide clear; do
  "$attn" classify --model m-png $name.png >out 2>err || wrong "$name.png: $(cat err)"
done
expect 1 'cut.png' "$attn" classify --model m-png cut.png upright.png
grep -q upright out || wrong "the picture after a damaged one was not named"
expect 1 'huge.png' "$attn" classify --model m-png huge.png
expect 1 'none.png' "$attn" classify --model m-png none.png
expect 2 'no FILE was given' "$attn" classify --model m-png
mkdir -p hollow/a hollow/b && cp upright.png hollow/a/
expect 1 'hollow/b' "$attn" train --task image --corpus hollow --model m-no --patch-size 4 "${small[@]}" --updates 1
expect 1 'patch-size 5' "$attn" train "${pictures[@]}" --patch-size 5 --model m-no --updates 1
expect 1 'augmentation' "$attn" train "${pictures[@]}" --shift 2 --model m-idx "${small[@]}" --updates 101 --resume
expect 1 'freeze' "$attn" train "${pictures[@]}" --freeze encoder --model m-no --updates 1
expect 1 'none' "$attn" train --task image --images none --labels train-labels --model m-no --updates 1
head -c 500 train-images >cut-images
expect 1 'cut-images' "$attn" train "${pictures[@]}" --images cut-images --model m-no --updates 1
expect 1 'test-labels' "$attn" train "${pictures[@]}" --labels test-labels --model m-no --updates 1
mkdir -p strange/cube && cp upright.png strange/cube/
expect 1 'cube' "$attn" evaluate --model m-png --corpus strange
[ -e m-no/model.safetensors ] && wrong "a refused training left a model"

# Where it looked.
"$attn" explain --model m-png upright.png --png e.png --html e.html --color never >out || wrong "explain"
head -c 8 e.png | cmp -s - <(printf '\211PNG\r\n\032\n') || wrong "e.png is no PNG"
grep -q 'data:image/png;base64,' e.html || wrong "e.html has no maps"
"$attn" explain --model m-png upright.png --json | python3 -c '
import json, sys
e = json.load(sys.stdin)
maps = [head for layer in e["attention"] for head in layer] + [e["rollout"]]
assert len(maps) == 3 and all(len(m) == e["rows"] * e["columns"] == 9 for m in maps)
assert all(0 < sum(m) < 1.0001 for m in maps) and any(e["gradient_times_input"])' || wrong "explain --json"
expect 1 'cube' "$attn" explain --model m-png upright.png --label cube
expect 2 'for a model that translates' "$attn" explain --model m-png upright.png --target x

# Sounds.
"$attn" train "${sounds[@]}" --model m-wav "${small[@]}" --updates 60 --test-corpus heard.tsv 2>log || { cat log; wrong "sounds"; }
least sounds --model m-wav --corpus heard.tsv
"$attn" classify --model m-wav other_rate.wav silence.wav >named || wrong "classify sounds"
grep -q "^other_rate.wav	low" named || wrong "a sound at another rate: $(cat named)"
"$attn" classify --model m-wav long.wav 2>err | grep -q low || wrong "a long sound"
grep -q 'its end is left out' err || wrong "a cut sound was not told of"
"$attn" explain --model m-wav other_rate.wav --png e.png >out || wrong "explain of a sound"
for name in rate0 rate10m cut empty; do
  expect 1 "$name.wav" "$attn" classify --model m-wav $name.wav
done
printf 'wav/sounds0.wav\tlow\nwav/none.wav\thigh\n' >missing.tsv
expect 1 'wav/none.wav' "$attn" train "${sounds[@]}" --corpus missing.tsv --model m-no --updates 1
printf 'wav/heard0.wav\tmiddle\n' >label.tsv
expect 1 'middle' "$attn" evaluate --model m-wav --corpus label.tsv
expect 2 'TSV' "$attn" evaluate --model m-wav --images test-images --labels test-labels
expect 1 'no translations' "$attn" train "${sounds[@]}" --watch bleu --model m-no --updates 1

# What is said: a sequence decoder over the same encoder.
speech=(--task speech --text --tokenizer whitespace --corpus said.tsv --sample-rate 4000 --mel-bins 20 --max-frames 120
  --max-positions 8 --max-tokens 8 --batch-tokens 200)
"$attn" train "${speech[@]}" --model m-said "${small[@]}" --updates 200 --test-corpus unheard.tsv 2>log ||
  { cat log; wrong "training on speech"; }
grep -q 'test: word error rate 0.' log || wrong "no word error rate at the end: $(tail -3 log)"
"$attn" evaluate --model m-said --corpus unheard.tsv >evaluation || wrong "evaluate speech"
awk '/^word error rate/ && $4 <= 0.15 { found = 1 } END { exit !found }' evaluation || wrong "speech: $(cat evaluation)"
for threads in 1 3; do
  "$attn" transcribe --model m-said --scores --threads $threads wav/unheard*.wav >"said-$threads" || wrong "transcribe"
done
cmp said-1 said-3 || wrong "a transcription depends on the threads"
# A wrong transcription has at least one of the wrong words that the evaluation counted.
right=$(cut -f 1,3 said-1 | sort | comm -12 - <(sort unheard.tsv) | wc -l)
errors=$(awk '/^word errors/ { print $3 }' evaluation)
[ "$(wc -l <said-1)" = 20 ] && [ "$right" -ge $((20 - errors)) ] ||
  wrong "$right of 20 transcribed right, word errors $errors: $(cat said-1)"
"$attn" train "${speech[@]}" --model m-parts "${small[@]}" --updates 30 --quiet 2>log || wrong "first part of speech"
"$attn" train "${speech[@]}" --model m-parts "${small[@]}" --updates 200 --resume --quiet --threads 1 2>log || wrong "second part"
cmp m-said/model.safetensors m-parts/model.safetensors || wrong "an interrupted training on speech differs"
"$attn" explain --model m-said wav/unheard0.wav --html e.html --png e.png --color never >out 2>err || wrong "explain speech"
grep -qE '(low|high)' out || wrong "explain speech shows no text"
"$attn" explain --model m-said wav/unheard0.wav --json | python3 -c 'import json, sys; json.load(sys.stdin)' || wrong "its JSON"
"$attn" transcribe --model m-wav wav/heard0.wav >out || wrong "a classifier of sounds transcribes"
[ "$(cat out)" = "$(head -1 heard.tsv)" ] || wrong "label: $(cat out)"
expect 1 'empty.wav' "$attn" transcribe --model m-said empty.wav wav/unheard0.wav
[ -s out ] || wrong "the sound after a damaged one was not written down"
expect 1 'reads sounds' bash -c 'echo x | "$1" translate --model m-said' - "$attn"
expect 1 'reads no sounds' "$attn" transcribe --model m-png upright.png
expect 1 'max-positions' "$attn" train "${speech[@]}" --max-positions 3 --max-tokens 3 --model m-no --updates 1
expect 1 'task speech' "$attn" train "${pictures[@]}" --text --model m-no --updates 1

[ $failures -eq 0 ] && echo "all as expected" || exit 1
