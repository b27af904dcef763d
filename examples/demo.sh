#!/bin/bash
# From nothing to a translator: collects a corpus from the distribution, trains on it,
# translates, evaluates and explains. `make demo` calls it; run again it reuses what
# is there, stopped with Ctrl-C it goes on, and with more minutes it trains on.
#
#   examples/demo.sh [--language de] [--minutes 10] [--folder demo]
#   ATTN=path/to/attn   the command (build/attn)
set -eu

language=de
minutes=10
folder=demo
attn=${ATTN:-build/attn}

usage() {
  echo "usage: $0 [--language de|fr|es|it|ja|ru|zh_CN] [--minutes N] [--folder DIR]" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --language) language=$2 ;;
    --minutes) minutes=$2 ;;
    --folder) folder=$2 ;;
    *) usage ;;
  esac
  shift 2
done
if ! [[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || [[ $minutes =~ ^0+(\.0+)?$ ]]; then
  echo "demo: minutes must be a number above 0, not '$minutes'" >&2
  exit 2
fi

corpus=$folder/corpus-$language
model=$folder/model-$language
finished=$folder/model-$language.minutes # how long the model in the folder has been trained
page=$folder/attention-$language.html
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }
show() { # the command that a user would type
  local word line=
  for word in "$@"; do
    case $word in *[[:space:]]*) line+=" \"$word\"" ;; *) line+=" $word" ;; esac
  done
  printf '   $%s\n' "$line"
}

mkdir -p "$folder"

step "The corpus: English and $language, from the distribution's own packages"
if [ -s "$corpus/train.tsv" ] && [ -s "$corpus/valid.tsv" ] && [ -s "$corpus/test.tsv" ]; then
  echo "already there: $(cat "$corpus"/*.tsv | wc -l) pairs in $corpus"
else
  show python3 examples/collect_corpus.py --language "$language" --output "$corpus"
  python3 "$(dirname "$0")/collect_corpus.py" --language "$language" --output "$corpus" --cache "$folder/cache"
fi

step "Training for $minutes minutes"
# A narrow model and small batches: in a few minutes many updates teach more than exact ones.
train=("$attn" train --corpus "$corpus/train.tsv" --valid-corpus "$corpus/valid.tsv" --model "$model"
  --minutes "$minutes" --width 128 --feed-forward 512 --batch-tokens 2048 --rate 0.004 --warmup 400)
longest=0
[ ! -s "$finished" ] || longest=$(cat "$finished")
if [ -e "$model" ] && awk -v a="$longest" -v b="$minutes" 'BEGIN { exit !(a >= b) }'; then
  echo "already there: $model, trained for $longest minutes (make demo-clean forgets it, a larger MINUTES trains on)"
else
  # Without a training state there is nothing to go on from: begin anew.
  if [ -e "$model/training.safetensors" ]; then train+=(--resume); else rm -rf "$model"; fi
  show "${train[@]}"
  stopped=0
  trap 'stopped=130' INT TERM # attn train saves and ends well when it is stopped
  "${train[@]}" || stopped=1
  trap - INT TERM
  if [ "$stopped" -ne 0 ]; then
    echo "The training did not reach its end. Run the demo again to go on." >&2
    exit "$stopped"
  fi
  echo "$minutes" >"$finished"
fi
show "$attn" info --model "$model"
"$attn" info --model "$model"

step "Sentences that it has never seen"
# From packages that were held out whole: some of middling length.
picked=$folder/picked-$language.tsv
awk -F '\t' '{ n = split($1, words, " ") } n >= 6 && n <= 16 && $1 ~ /^[A-Z].*\.$/ && ++found <= 6' "$corpus/test.tsv" >"$picked"
show "$attn" translate --model "$model" "<sentences" ">translations"
cut -f 1 "$picked" | "$attn" translate --model "$model" >"$folder/translated-$language.txt"
paste "$picked" "$folder/translated-$language.txt" | while IFS=$'\t' read -r source reference translation; do
  printf '\n  English    %s\n  reference  %s\n  %sattn       %s%s\n' "$source" "$reference" "$bold" "$translation" "$plain"
done

step "How good it is on the packages that were held out"
evaluate=("$attn" evaluate --model "$model" --corpus "$corpus/test.tsv")
case $language in zh_CN | ja) evaluate+=(--bleu zh) ;; esac
show "${evaluate[@]}"
"${evaluate[@]}"

step "Where each word looked"
sentence="Select the file that you want to open."
explain=("$attn" explain --model "$model" --html "$page" "$sentence")
show "${explain[@]}"
"${explain[@]}"

step "What next"
cat <<END
With sentences of your own, one a line, the translation on the same line:

   $attn train --source english.txt --target german.txt --model mine --minutes 60
   $attn translate --model mine <sentences.txt

More minutes make it better (this model trains on): make demo MINUTES=60
Another language: make demo LANGUAGE=fr (es, it, ja, ru, zh_CN)
$attn train --help lists every option.
END
