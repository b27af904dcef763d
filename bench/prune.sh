#!/bin/bash
# What pruning costs and saves: attn prune --heads and --sparsity on a translator, each result's file, BLEU,
# and the processor time of translating the test set on one thread, every translation 24 tokens long: the
# models in turn, the least of the rounds (what else runs can only add). Sparse matrices are
# multiplied as full ones: they are not timed.
#     bench/prune.sh MODEL SOURCE TARGET TEST_SOURCE TEST_TARGET [ROUNDS]
# SOURCE and TARGET are the pairs that the heads' importance is measured on. ATTN: the command
# (build/attn); HEADS, SPARSITIES: what is tried; BLEU: as attn evaluate --bleu (none).
set -eu
attn=$(realpath "${ATTN:-build/attn}")
model=$1 source=$2 target=$3 test_source=$4 test_target=$5 rounds=${6:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_prune_XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive

names=(whole)
timed=(whole)
ln -s "$(realpath "$model")" "$work/whole"
for n in ${HEADS:-8 16 24}; do
  "$attn" prune --model "$model" --output "$work/heads-$n" --heads "$n" --source "$source" --target "$target" >/dev/null
  names+=("heads-$n")
  timed+=("heads-$n")
done
for x in ${SPARSITIES:-0.2 0.4 0.6}; do
  "$attn" prune --model "$model" --output "$work/sparsity-$x" --sparsity "$x" >/dev/null
  names+=("sparsity-$x")
done

# seconds NAME BEAM: user and system time of one run on one thread
seconds() {
  local TIMEFORMAT='%U %S'
  { time "$attn" translate --model "$work/$1" --beam "$2" --min-length 24 --max-length 24 --threads 1 <"$test_source" >/dev/null 2>&1; } 2>&1 |
    awk '{ print $1 + $2 }'
}
for ((round = 0; round < rounds; round++)); do
  for name in "${timed[@]}"; do
    for beam in 1 5; do seconds "$name" $beam >>"$work/$name.$beam"; done
  done
done
least() { [ -e "$1" ] && sort -g "$1" | head -1 || echo -; }

printf '%-14s %10s %7s %7s %8s %10s %10s\n' model bytes BLEU chrF2 loss 'beam 1, s' 'beam 5, s'
for name in "${names[@]}"; do
  "$attn" evaluate --model "$work/$name" --source "$test_source" --target "$test_target" --bleu "${BLEU:-none}" --beam 5 >"$work/figures"
  printf '%-14s %10d %7s %7s %8s %10s %10s\n' "$name" "$(stat -Lc %s "$work/$name/model.safetensors")" \
    "$(awk '/^BLEU/ { print $2 }' "$work/figures")" "$(awk '/^chrF2/ { print $2 }' "$work/figures")" \
    "$(awk '/^loss/ { print $2 }' "$work/figures")" "$(least "$work/$name.1")" "$(least "$work/$name.5")"
done
