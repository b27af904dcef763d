#!/bin/bash
# A training run that is killed (SIGKILL) at random moments and resumed each time gives the
# same files, to the bit, as one that was left alone: the published model, the newest one,
# the kept ones, their mean, and the journal but for what a clock decides.
#
#   bench/kill_resume.sh ATTN [KILLS [UPDATES [SEED]]]
#
# ATTN is the command; 20 kills over 3000 updates take some minutes. The seed of the moments
# is printed. SOURCE and TARGET (or CORPUS) and OPTIONS in the environment replace the
# made-up pairs and the small model.
set -euo pipefail
attn=$(realpath "${1:?usage: kill_resume.sh ATTN [KILLS [UPDATES [SEED]]]}")
kills=${2:-20} updates=${3:-3000} seed=${4:-$$}
RANDOM=$seed
export OMP_WAIT_POLICY=passive # the machine may be busy
work=$(mktemp -d)
child=
trap '[ -n "$child" ] && kill -9 "$child" 2>/dev/null; rm -rf "$work"' EXIT

if [ -n "${CORPUS:-}" ]; then
  data=(--corpus "$(realpath "$CORPUS")")
elif [ -n "${SOURCE:-}" ]; then
  data=(--source "$(realpath "$SOURCE")" --target "$(realpath "$TARGET")")
else
  # "a3 a1 a7" -> "b7 b1 b3"
  awk 'BEGIN { srand(1); for (i = 0; i < 1500; i++) { n = 1 + int(rand() * 7); s = ""; t = "";
    for (j = 0; j < n; j++) { w = int(rand() * 9); s = s (j ? " " : "") "a" w; t = "b" w (j ? " " : "") t }
    print s "\t" t } }' >"$work/corpus.tsv"
  data=(--corpus "$work/corpus.tsv")
fi
read -ra options <<<"${OPTIONS:---tokenizer whitespace --layers 1 --width 32 --heads 2 --feed-forward 48 --max-tokens 32
 --max-positions 32 --batch-tokens 200 --rate 0.01 --warmup 40}"
every=$((updates / 25 > 0 ? updates / 25 : 1))
command=("$attn" train "${data[@]}" "${options[@]}" --updates "$updates" --validate-every "$every"
  --valid-bleu-lines 20 --save-every $((every / 3 > 0 ? every / 3 : 1)) --keep-last 2 --keep-best 2 --average-kept
  --journal-every 10 --quiet)

echo "seed $seed: $kills kills over $updates updates"
began=$(date +%s.%N)
"${command[@]}" --model "$work/whole" --threads 1 2>"$work/whole.txt" || { cat "$work/whole.txt"; exit 1; }
seconds=$(awk "BEGIN { print $(date +%s.%N) - $began }")
echo "left alone it took $seconds s"

done_kills=0
while [ "$done_kills" -lt "$kills" ]; do
  "${command[@]}" --model "$work/killed" --resume --threads $((1 + RANDOM % 2)) 2>"$work/killed.txt" &
  child=$!
  # Less than a kill's share of the whole on average, so that the run seldom ends before the last one.
  sleep "$(awk "BEGIN { print $seconds * 1.4 * $RANDOM / 32768 / ($kills + 1) }")"
  if ! kill -9 "$child" 2>/dev/null; then
    wait "$child" || { cat "$work/killed.txt"; exit 1; }
    child=
    echo "it had ended before kill $((done_kills + 1))"
    break
  fi
  wait "$child" 2>/dev/null || true
  child=
  done_kills=$((done_kills + 1))
done
"${command[@]}" --model "$work/killed" --resume 2>"$work/killed.txt" || { cat "$work/killed.txt"; exit 1; }

# The journal without seconds, speed and memory.
journal() { sed -E 's/"(seconds|tokens_per_second|memory)":[^,}]*,?//g' "$1/log.jsonl"; }
same=1
for file in model.safetensors last/model.safetensors averaged/model.safetensors; do
  cmp "$work/whole/$file" "$work/killed/$file" || same=0
done
diff -r "$work/whole/checkpoints" "$work/killed/checkpoints" || same=0
cmp <(journal "$work/whole") <(journal "$work/killed") || same=0
if [ "$same" = 0 ]; then
  echo "not the same after $done_kills kills (seed $seed)"
  exit 1
fi
echo "the same bits after $done_kills kills"
