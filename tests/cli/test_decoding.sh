#!/bin/bash
# attn translate's options for searching, sampling and printing, and attn score, with a toy
# model that is trained here in a moment (each word wN becomes tN).
#     test_decoding.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_cli_XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$(dirname "$(realpath "$0")")/expect.sh"
most_lines=2
cd "$work"

# --- a model
awk 'BEGIN { srand(3); for (i = 0; i < 1500; i++) { n = 1 + int(rand() * 6); s = ""; t = "";
     for (j = 0; j < n; j++) { w = int(rand() * 20); s = s (j ? " " : "") "w" w; t = t (j ? " " : "") "t" w }
     print s >"s.txt"; print t >"t.txt" } }'
"$attn" train --source s.txt --target t.txt --model m --tokenizer whitespace --layers 1 --width 32 --heads 2 \
  --feed-forward 64 --dropout 0 --rate 0.01 --warmup 50 --batch-tokens 1024 --updates 150 2>log || { cat log; exit 1; }
head -100 s.txt >some.txt
"$attn" translate --model m <some.txt >plain || wrong "translate"

# --- scores: what translate prints is what score says, to the last digit
"$attn" translate --model m --scores --token-scores <some.txt >scored
cut -f2 scored | cmp -s - plain || wrong "--scores changes translations"
"$attn" score --model m --source some.txt --target plain --token-scores >again || wrong "score"
cut -f1,3 scored | cmp -s - again || wrong "score and translate --scores differ: $(cut -f1,3 scored | diff - again | head -4)"
"$attn" translate --model m --beam 1 --scores --length-penalty 0 <some.txt >scored
cut -f2 scored >greedy
"$attn" score --model m --source some.txt --target greedy --length-penalty 0 --threads 1 --batch-tokens 20 >again
cut -f1 scored | cmp -s - again || wrong "log p of score and translate differ"
awk -F'\t' '{ n = split($3, p, " "); s = 0; for (i = 1; i <= n; i++) s += p[i]; if (s / n - $1 > 1e-5 || $1 - s / n > 1e-5) exit 1 }' \
  <("$attn" translate --model m --scores --token-scores <some.txt) || wrong "the scores of tokens do not add up"
"$attn" translate --model m --scores --token-scores --length-penalty 0.6 --length-offset 5 <some.txt >scored
awk -F'\t' '{ n = split($3, p, " "); s = 0; for (i = 1; i <= n; i++) s += p[i]; d = s / ((5 + n) / 6) ^ 0.6 - $1; if (d > 1e-5 || -d > 1e-5) exit 1 }' \
  scored || wrong "--length-offset 5 is not the length penalty of Wu et al."
cut -f2 scored >found
"$attn" score --model m --source some.txt --target found --length-penalty 0.6 --length-offset 5 | cmp -s - <(cut -f1 scored) ||
  wrong "score and translate differ with --length-offset"
expect 2 '--length-offset is "-1"' "$attn" translate --model m --length-offset -1
printf 'w1\n\nw2\n' >three.txt
printf 't1\nt1\n\n' >other.txt
[ "$("$attn" score --model m --source three.txt --target other.txt | tail -2 | tr '\n' ' ')" = "0.000000 0.000000 " ] ||
  wrong "blank sides"
expect 1 'has 3 lines' "$attn" score --model m --source three.txt --target plain
expect 1 'nowhere.txt' "$attn" score --model m --source nowhere.txt --target plain
expect 2 '--target FILE were expected' "$attn" score --model m --source three.txt
if command -v python3 >/dev/null; then
  "$attn" translate --model m --json --n-best 2 <three.txt >json || wrong "--json"
  python3 - <<'PYTHON' || wrong "--json is not what it should be: $(cat json)"
import json
rows = [json.loads(line) for line in open("json")]
assert [(r["line"], r["rank"]) for r in rows] == [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)], rows
for r in rows:
    total = sum(t["log_probability"] for t in r["tokens"])
    assert abs(total - r["log_probability"]) < 1e-5
    assert not r["tokens"] or r["tokens"][-1]["piece"] == "</s>"
PYTHON
fi

# --- prefixes
printf 't9 t8\n\nt7\n' >prefixes
head -3 some.txt | "$attn" translate --model m --prefix-file prefixes >out || wrong "--prefix-file"
sed -n 1p out | grep -q '^t9 t8' && sed -n 3p out | grep -q '^t7' || wrong "prefixes are not kept: $(cat out)"
[ "$(sed -n 2p out)" = "$(sed -n 2p plain)" ] || wrong "an empty prefix changes a translation"
expect 1 'nowhere' "$attn" translate --model m --prefix-file nowhere
"$attn" translate --model m --prefix-file prefixes <some.txt >out 2>err && wrong "too few prefixes"
grep -q 'prefixes has 3 lines' err || wrong "too few prefixes: $(cat err)"

# --- required and forbidden words
printf "t9 t8\n\nt7\tt1 t2\tt7\n" >phrases
head -3 some.txt | "$attn" translate --model m --beam 8 --require-file phrases >out 2>err || wrong "--require-file"
sed -n 1p out | grep -q "t9 t8" && sed -n 3p out | grep -q t7 && sed -n 3p out | grep -q "t1 t2" || wrong "phrases are not there: $(cat out)"
[ "$(sed -n 2p out)" = "$(head -3 some.txt | "$attn" translate --model m --beam 8 | sed -n 2p)" ] || wrong "no phrase changes a translation"
[ -s err ] && wrong "a warning for nothing: $(cat err)"
head -1 some.txt | "$attn" translate --model m --max-length 2 --require-file phrases 2>err >out
grep -q "line 1: a required phrase finds no room" err || wrong "a phrase without room: $(cat err)"
expect 2 "exclude one another" "$attn" translate --model m --sample --require-file phrases
yes t1 | head -40 | paste -sd "\t" >many
echo w1 | "$attn" translate --model m --require-file many >out 2>err && wrong "40 phrases"
grep -q "at most 32 phrases" err || wrong "40 phrases: $(cat err)"
printf "t1\nt2\n\n" >words
"$attn" translate --model m --forbid-file words <some.txt >out || wrong "--forbid-file"
grep -qw "t[12]" out && wrong "forbidden words: $(grep -w "t[12]" out | head -1)"
grep -qw "t1[0-9]" out || wrong "words that begin like a forbidden one are gone"
expect 1 nowhere "$attn" translate --model m --forbid-file nowhere

# --- alignment and unknown words
"$attn" translate --model m --alignment tokens <some.txt >aligned || wrong "--alignment"
cut -f1 aligned | cmp -s - plain || wrong "--alignment changes translations"
awk -F"\t" '{ n = split($1, w, " "); if (split($2, l, " ") != n) exit 1 }' aligned || wrong "a target word has no link"
head -20 some.txt | "$attn" translate --model m --alignment tokens --threads 1 | cmp -s - <(head -20 aligned) || wrong "company changes alignments"
"$attn" score --model m --source some.txt --target plain --alignment words | cut -f2 | cmp -s - <(cut -f2 aligned) || wrong "score aligns otherwise"
expect 1 "decoder layer 1 was asked for, the model has 0 to 0" "$attn" score --model m --source some.txt --target plain --alignment words --layer 1
expect 1 "head 2 was asked for" "$attn" score --model m --source some.txt --target plain --alignment words --head 2
echo "w3 strange" >odd.txt
echo "t3 other" >odd_target.txt
"$attn" translate --model m --prefix-file odd_target.txt --replace-unknown <odd.txt >out
grep -q "unk" out && wrong "--replace-unknown: $(cat out)"
grep -qE "^t3 (strange|w3)" out || wrong "--replace-unknown: $(cat out)"

# --- glossaries and paragraphs
printf 'w1\tt9 t8\nw2 w3\tt7\n\nw3\tt0\n' >terms
printf 'w4 w1 w5\nw11\nw2 w3\n' >text
"$attn" translate --model m --beam 8 --glossary terms <text >out || wrong "--glossary"
sed -n 1p out | grep -q 't9 t8' && sed -n 3p out | grep -qw t7 || wrong "a glossary's words are not there: $(cat out)"
sed -n 3p out | grep -qw t0 && wrong "a phrase within a longer one was taken too: $(cat out)"
[ "$(sed -n 2p out)" = "$(echo w11 | "$attn" translate --model m --beam 8)" ] || wrong "a part of a word was taken"
printf 'w1\n' >terms
expect 1 "terms, line 1: a phrase, a tab" "$attn" translate --model m --glossary terms
printf 'w1 ?  w2 ! w3\n\nw4\n' >text
"$attn" translate --model m --split-sentences <text >out || wrong "--split-sentences"
for part in 'w1 ?' 'w2 !' 'w3' 'w4'; do echo "$part"; done | "$attn" translate --model m >parts
{ printf '%s  %s %s\n\n%s\n' "$(sed -n 1p parts)" "$(sed -n 2p parts)" "$(sed -n 3p parts)" "$(sed -n 4p parts)"; } | cmp -s - out ||
  wrong "sentences are not what they are alone: $(cat out)"
expect 2 "exclude one another" "$attn" translate --model m --split-sentences --scores

# --- ensembles
"$attn" translate --model m --model m <some.txt | cmp -s - plain || wrong "a model beside itself translates otherwise"
small=(--tokenizer whitespace --layers 1 --width 24 --heads 2 --feed-forward 32 --updates 5)
sed 's/w1/x/g' s.txt >x.txt
"$attn" train --source s.txt --target t.txt --model other "${small[@]}" 2>log || wrong "another model: $(cat log)"
"$attn" train --source x.txt --target t.txt --model apart "${small[@]}" 2>log || wrong "a third model: $(cat log)"
"$attn" translate --model m --model other --scores <some.txt >both || wrong "an ensemble"
cut -f2 both >both.t
"$attn" score --model m --model other --source some.txt --target both.t | cmp -s - <(cut -f1 both) || wrong "an ensemble scores otherwise"
expect 1 "of its vocabulary" "$attn" translate --model m --model apart

# --- HTML: tags go round the words that translate theirs, all other bytes stay
printf '<ul class=x>\n<li>w1 <b>w2</b> w3<li>  <a href="?a&b">w4</a> <!-- w5 --><i>w6</i>\n</ul><code>w7</code><script>w8 < w9</script>' >page
printf '<ul class=x>\n<li>t1 <b>t2</b> t3<li>  <a href="?a&b">t4</a> <!-- w5 --><i>t6</i>\n</ul><code>w7</code><script>w8 < w9</script>' >expected
"$attn" translate --model m --format html <page >out || wrong "--format html"
cmp -s out expected || wrong "--format html: $(cat out)"
head -c 300 /dev/urandom >noise
"$attn" translate --model m --format html <noise >out 2>err || wrong "--format html refuses noise: $(cat err)"
"$attn" translate --model m --format html </dev/null >out || wrong "--format html refuses an empty document"
[ ! -s out ] || wrong "an empty document is translated to something"
expect 2 '--format html and --json exclude' "$attn" translate --model m --format html --json
expect 2 '--format is "xml"' "$attn" translate --model m --format xml

# --- repeating
echo 'w1 w1 w1 w1' | "$attn" translate --model m --no-repeat-ngram 1 >out
tr ' ' '\n' <out | sort | uniq -d | grep -q . && wrong "--no-repeat-ngram 1 repeats: $(cat out)"
echo 'w1 w1 w1 w1' | "$attn" translate --model m --beam 1 --repetition-penalty 9 >out
tr ' ' '\n' <out | sort | uniq -d | grep -q . && wrong "--repetition-penalty 9 repeats: $(cat out)"

# --- sampling
"$attn" translate --model m --sample --temperature 3 --seed 4 <some.txt >drawn || wrong "--sample"
tac some.txt | "$attn" translate --model m --sample --temperature 3 --seed 4 --threads 1 --batch-tokens 9 | tac |
  cmp -s - drawn || wrong "a sample depends on its company"
"$attn" translate --model m --sample --temperature 3 --seed 5 <some.txt | cmp -s - drawn && wrong "another seed, the same samples"
"$attn" translate --model m --sample --top-k 1 <some.txt | cmp -s - greedy || wrong "--top-k 1 is not greedy"
"$attn" translate --model m --sample --top-p 0.000001 <some.txt | cmp -s - greedy || wrong "--top-p 0.000001 is not greedy"
[ "$(echo 'w1 w2' | "$attn" translate --model m --sample --n-best 7 | wc -l)" -eq 7 ] || wrong "7 samples"
for wrong_one in 0 -1 nan inf; do
  expect 2 "--temperature is \"$wrong_one\", a number from 0.01" "$attn" translate --model m --sample --temperature $wrong_one
done
expect 2 '--top-p is "0"' "$attn" translate --model m --sample --top-p 0
expect 2 '--top-k is "0"' "$attn" translate --model m --sample --top-k 0
expect 2 '--top-k is of use with --sample alone' "$attn" translate --model m --top-k 3
expect 2 '--beam and --sample exclude' "$attn" translate --model m --sample --beam 3
expect 2 '--repetition-penalty is "0"' "$attn" translate --model m --repetition-penalty 0
expect 2 "--coverage-penalty is \"-1\"" "$attn" translate --model m --coverage-penalty -1
head -30 some.txt | "$attn" translate --model m --coverage-penalty 0.2 >out || wrong "--coverage-penalty"
[ "$(wc -l <out)" -eq 30 ] || wrong "--coverage-penalty loses lines"

[ $failures -eq 0 ] && echo "all is well"
exit $((failures > 0))
