#!/bin/bash
# attn train and attn average as a user meets them: recipes, signals, kills, sentences.
# Usage: test_train.sh ATTN SOURCE_FOLDER
set -u
attn=$(realpath "$1") source=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_WAIT_POLICY=passive
failed=0

wrong() {
  echo "FAILED: $*"
  failed=1
}
# expect STATUS TEXT COMMAND...: the exit status, and a text in what is said.
expect() {
  local status=$1 text=$2 said got
  shift 2
  said=$("$@" 2>&1)
  got=$?
  [ "$got" = "$status" ] || wrong "exit $got, $status was expected: $* said: $said"
  case $said in
    *"$text"*) ;;
    *) wrong "\"$text\" was expected in what $* said: $said" ;;
  esac
}

awk 'BEGIN { srand(1); for (i = 0; i < 400; i++) { n = 1 + int(rand() * 6); s = ""; t = "";
  for (j = 0; j < n; j++) { w = int(rand() * 9); s = s (j ? " " : "") "a" w; t = "b" w (j ? " " : "") t }
  print s "\t" t } }' >corpus.tsv
cat >recipe.json <<'J'
{"corpus": "corpus.tsv", "tokenizer": "whitespace", "layers": 1, "width": 16, "heads": 2, "feed-forward": 24,
 "max-tokens": 32, "max-positions": 32, "batch-tokens": 200, "rate": 0.01, "warmup": 4, "updates": 12,
 "schedule": "cosine", "keep-last": 2, "average-kept": true, "valid-bleu-lines": 4, "threads": 1}
J

# --- recipes ---
expect 0 "averaged" "$attn" train recipe.json --model one
grep -q '"schedule": "cosine"' one/recipe.json || wrong "the saved recipe lacks what the recipe gave"
grep -q '"beta2": 0.98' one/recipe.json || wrong "the saved recipe lacks a default"
grep -q 'resume' one/recipe.json && wrong "the saved recipe holds what belongs to one call"
expect 0 "" "$attn" train one/recipe.json --model two --quiet
cmp one/model.safetensors two/model.safetensors || wrong "the saved recipe makes another model"
expect 0 "" "$attn" train recipe.json --model three --quiet --updates 6 --rate 0.02
grep -q '"updates": 6' three/recipe.json && grep -q '"rate": 0.02,' three/recipe.json ||
  wrong "the command line does not go before the recipe"
expect 0 "" "$attn" train one/recipe.json --resume --quiet
expect 0 "softmax, loss" "$attn" train recipe.json --model profiled --profile
cmp one/model.safetensors profiled/model.safetensors || wrong "--profile changes the model"
said() { printf '%s' "$1" >wrong.json; }
said '{"corpus": "corpus.tsv", "batch-token": 5}'
expect 2 'wrong.json: unknown option "batch-token"; did you mean "batch-tokens"?' "$attn" train wrong.json --model x
said '{"corpus": "corpus.tsv", "rate": "fast"}'
expect 2 'wrong.json: "rate" is a text; a number was expected' "$attn" train wrong.json --model x
said '{"corpus": "corpus.tsv", "rate": -1}'
expect 2 '"-1", a number from' "$attn" train wrong.json --model x
said '{"corpus": "corpus.tsv", "average-kept": 1}'
expect 2 'true or false was expected' "$attn" train wrong.json --model x
said '{"schedule": "cosin"}'
expect 2 '"cosin", inverse-square-root' "$attn" train wrong.json --model x
said '[1]'
expect 2 'wrong.json holds an array' "$attn" train wrong.json --model x
said '{"rate": 1,}'
expect 2 'wrong.json, line 1' "$attn" train wrong.json --model x
said '{"rate": 1, "rate": 2}'
expect 2 'duplicate' "$attn" train wrong.json --model x
expect 2 'missing.json' "$attn" train missing.json --model x
[ -e x ] && wrong "a refused recipe left a folder"

# --- options ---
for option in schedule optimizer momentum weight-decay accumulate patience watch keep-last keep-best average-kept init \
  freeze save-every journal-every; do
  "$attn" train --help | grep -q -- "--$option" || wrong "--help does not tell of --$option"
done
expect 1 "needs the run's end" "$attn" train --corpus corpus.tsv --model x --schedule cosine --minutes 1
expect 2 "not an option of adam" "$attn" train --corpus corpus.tsv --model x --updates 2 --momentum 0.5
expect 2 "cannot be chosen with --init" "$attn" train --corpus corpus.tsv --model x --updates 2 --init one --width 8

# --- averaging ---
expect 0 "" "$attn" average --output mean one/checkpoints/*
cmp mean/model.safetensors one/averaged/model.safetensors || wrong "attn average and --average-kept differ"
expect 1 "already holds a model" "$attn" average --output mean one two
expect 2 "--output" "$attn" average one
expect 2 "no model folder" "$attn" average --output y
expect 1 "nowhere" "$attn" average --output y one nowhere

# --- signals ---
long=(--updates 100000 --schedule constant --validate-every 50000 --valid-bleu-lines 0)
wait_for() { # FILE: until it is there, or the run has ended
  for _ in $(seq 600); do
    [ -s "$1" ] && return
    kill -0 "$child" 2>/dev/null || break
    sleep 0.1
  done
  wrong "no $1 was written"
}
for signal in INT TERM; do
  # A background process of a script ignores SIGINT unless told otherwise.
  (trap - INT; exec "$attn" train recipe.json --model "stopped-$signal" "${long[@]}" >"said-$signal" 2>&1) &
  child=$!
  wait_for "stopped-$signal/log.jsonl"
  kill -s "$signal" "$child"
  wait "$child"
  status=$?
  [ "$status" = 0 ] || wrong "SIG$signal ended it with $status"
  grep -q "everything is saved" "said-$signal" || wrong "SIG$signal: $(cat "said-$signal")"
  at=$(sed -n 's/.*stopped after \([0-9]*\) updates.*/\1/p' "said-$signal")
  # Then to an end, and against a run that was never stopped.
  end=$((at + 5))
  expect 0 "" "$attn" train recipe.json --model "stopped-$signal" "${long[@]}" --updates $end --resume --quiet
  expect 0 "" "$attn" train recipe.json --model "whole-$signal" "${long[@]}" --updates $end --quiet
  cmp "stopped-$signal/model.safetensors" "whole-$signal/model.safetensors" || wrong "SIG$signal changed the bits"
done

# A second signal ends it at once: both arrive before it runs on.
"$attn" train recipe.json --model twice "${long[@]}" >said-twice 2>&1 &
child=$!
wait_for twice/log.jsonl
kill -s STOP "$child"
kill -s INT "$child"
kill -s TERM "$child"
kill -s CONT "$child"
wait "$child"
status=$?
[ "$status" = 130 ] || [ "$status" = 143 ] || wrong "two signals ended it with $status"

# --- kills ---
bash "$source/bench/kill_resume.sh" "$attn" 3 100 || wrong "a killed run ends with other bits"

[ "$failed" = 0 ] && echo "all well"
exit "$failed"
