#!/bin/bash
# attn translate, evaluate, explain and info as a user runs them, with a toy model that
# is trained here in a moment (each word wN becomes tN), and with bad input.
#     test_translate.sh ATTN SOURCE_FOLDER
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

# --- translate
"$attn" translate --model m <s.txt >all || wrong "translate"
[ "$(wc -l <all)" -eq 1500 ] || wrong "$(wc -l <all) lines out, 1500 in"
same=$(paste -d'|' all t.txt | awk -F'|' '$1 == $2' | wc -l)
[ "$same" -gt 1300 ] || wrong "$same of 1500 were learned"
"$attn" translate --model m --threads 1 --batch-tokens 30 <s.txt | cmp -s - all || wrong "threads and batches change results"
tac s.txt | "$attn" translate --model m | tac | cmp -s - all || wrong "order changes results"
head -7 s.txt | while IFS= read -r line; do printf '%s\n' "$line" | "$attn" translate --model m; done >alone
head -7 all | cmp -s - alone || wrong "company changes results"

printf 'w1 w2\n\n   \nw3' | "$attn" translate --model m >out 2>err
[ "$(wc -l <out)" -eq 4 ] || wrong "blank lines: $(wc -l <out) lines for 4"
[ -s err ] && wrong "a warning for nothing: $(cat err)"
[ -z "$(sed -n 2p out)$(sed -n 3p out)" ] || wrong "a blank line has a translation"
printf '' | "$attn" translate --model m >out || wrong "no input"
[ -s out ] && wrong "no input gives output"
printf 'w1 w2\r\nw3\r\n' | "$attn" translate --model m >crlf
printf 'w1 w2\nw3\n' | "$attn" translate --model m | cmp -s - crlf || wrong "CRLF changes results"
grep -q $'\r' crlf && wrong "CR in the output"

printf 'w1\0w2\nw3\n' | "$attn" translate --model m >out 2>err || wrong "NUL"
[ "$(wc -l <out)" -eq 2 ] || wrong "NUL: $(wc -l <out) lines for 2"
grep -q 'line 1 holds 1 NUL' err || wrong "NUL is not told of: $(cat err)"
printf 'w1\nw\377\376\n\300\200\n' | "$attn" translate --model m >out 2>err || wrong "invalid UTF-8"
[ "$(wc -l <out)" -eq 3 ] || wrong "invalid UTF-8: $(wc -l <out) lines for 3"
grep -q 'line 2: .*U+FFFD' err || wrong "invalid UTF-8 is not told of: $(cat err)"
{ echo w1; head -c 1500000 /dev/zero | tr '\0' 'x'; echo; yes w2 | head -300000 | tr '\n' ' '; echo; echo w3; } |
  "$attn" translate --model m >out 2>err || wrong "long lines"
[ "$(wc -l <out)" -eq 4 ] || wrong "long lines: $(wc -l <out) lines for 4"
grep -q 'line 2 has 1500000 bytes: cut to' err || wrong "a long line is not told of: $(head -c 500 err)"
grep -q 'line 3: .*positions' err || wrong "too many tokens are not told of: $(head -c 500 err)"
[ "$(tail -1 out)" = "$(echo w3 | "$attn" translate --model m)" ] || wrong "what follows a long line changes"
printf '\xe4\xbd\xa0\xe5\xa5\xbd unknown \xf0\x9f\x98\x80\n' | "$attn" translate --model m >out || wrong "unknown words"
[ "$(wc -l <out)" -eq 1 ] || wrong "unknown words: lines"
{ echo w1; sleep 0.3; echo w2; } | "$attn" translate --model m >out || wrong "lines that come slowly"
[ "$(wc -l <out)" -eq 2 ] || wrong "lines that come slowly: $(wc -l <out) of 2"

echo 'w1 w2 w3' | "$attn" translate --model m --scores >out
grep -qP '^-?[0-9]+\.[0-9]{6}\t' out || wrong "--scores: $(cat out)"
printf 'w1 w2\nw3\n' | "$attn" translate --model m --n-best 3 >out
[ "$(cut -f1,2 out | tr '\t\n' '. ')" = "1.1 1.2 1.3 2.1 2.2 2.3 " ] || wrong "--n-best: $(cat out)"
[ "$(grep -P '^1\t' out | cut -f3 | sort -gr | tr '\n' ' ')" = "$(grep -P '^1\t' out | cut -f3 | tr '\n' ' ')" ] || wrong "--n-best is not ordered"
echo 'w1 w2 w3 w4' | "$attn" translate --model m --max-length 2 >out
[ "$(wc -w <out)" -le 1 ] || wrong "--max-length: $(cat out)"
echo 'w1 w2' | "$attn" translate --model m --min-length 9 --max-length 9 >out
[ "$(wc -w <out)" -eq 8 ] || wrong "--min-length: $(cat out)"
echo 'w1' | "$attn" translate --model m --min-length 3 --max-length 2 2>err && wrong "a least length above the greatest is taken"
grep -q 'min.length is 3' err || wrong "lengths that cannot be: $(cat err)"
if [ -w /dev/full ]; then
  echo w1 | "$attn" translate --model m >/dev/full 2>err && wrong "a full output is not noticed"
  grep -q 'cannot be written' err || wrong "a full output is not told of: $(cat err)"
fi

# --- quantize
"$attn" quantize --model m --output q || wrong "quantize"
[ $((100 * $(stat -c %s q/model.safetensors))) -lt $((40 * $(stat -c %s m/model.safetensors))) ] || wrong "quantize saves too little"
echo 'w1 w2 w3' | "$attn" translate --model q >out || wrong "translating with int8 weights"
[ "$(cat out)" = "$(echo 'w1 w2 w3' | "$attn" translate --model m)" ] || wrong "int8 translates otherwise: $(cat out)"
for type in f32 bf16 int8; do
  [ "$(echo 'w1 w2 w3' | "$attn" translate --model m --compute-type $type)" = "$(cat out)" ] || wrong "--compute-type $type"
done
"$attn" quantize --model m --output q 2>err && wrong "quantize overwrites a model"
grep -q 'q already holds a model' err || wrong "quantize into a model: $(cat err)"
"$attn" quantize --model q --output q2 2>err && wrong "quantize quantizes twice"
grep -q 'quantized already' err || wrong "quantize twice: $(cat err)"
if command -v python3 >/dev/null; then
  python3 - q/model.safetensors <<'PYTHON' || wrong "breaking a scale"
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    n = struct.unpack("<Q", f.read(8))[0]
    at = json.loads(f.read(n))["model.decoder.layers.0.fc1.weight_scale"]["data_offsets"][0]
    f.seek(8 + n + at)
    f.write(struct.pack("<f", float("nan")))
PYTHON
  echo w1 | "$attn" translate --model q 2>err && wrong "a scale that is no number is taken"
  grep -q 'model.decoder.layers.0.fc1.weight_scale.*element 0 is nan' err || wrong "a scale that is no number: $(cat err)"
fi

# --- evaluate, explain, info
"$attn" evaluate --model m --source s.txt --target t.txt --bleu none >out || wrong "evaluate"
for word in 'pairs 1500' 'loss 0.' 'token accuracy 0.9' 'BLEU 9' 'chrF2 9'; do
  grep -q "^$word" out || grep -q '100.00' out || wrong "evaluate: $word is not in $(cat out)"
done
paste s.txt t.txt >pairs.tsv
"$attn" evaluate --model m --corpus pairs.tsv --bleu none | cmp -s - out || wrong "--corpus gives something else"
"$attn" explain --model m --html page.html 'w1 w2 w3' >out 2>err || wrong "explain: $(cat err)"
grep -q 'Cross-attention' out && grep -q '</html>' page.html || wrong "explain writes no table or page"
grep -q $'\033' out && wrong "colour where no terminal is"
"$attn" explain --model m --color always 'w1 w2 w3' | grep -q $'\033\[48;5;' || wrong "--color always"
echo 'w1 w2 w3' | "$attn" explain --model m --json >out || wrong "explain --json"
if command -v python3 >/dev/null; then
  python3 -c 'import json, sys; d = json.load(open("out")); assert len(d["source"]) == 4 and len(d["cross"][0]) == 2' ||
    wrong "explain --json is not JSON"
fi
"$attn" info --model m >out || wrong "info"
grep -q '1 encoder + 1 decoder' out && grep -q 'updates  *[0-9]' out || wrong "info: $(cat out)"
"$attn" --version | grep -qE '^attn [0-9]+\.[0-9]+\.[0-9]+$' || wrong "--version"
for command in translate evaluate explain info train prune score; do
  "$attn" $command --help >out 2>err || wrong "$command --help"
  grep -q '^Usage: attn' out || wrong "$command --help says no usage"
  awk 'length > 100' out | grep -q . && wrong "$command --help has long lines"
done

# --- wrong usage: exit 2
"$attn" >out 2>err && wrong "no command"
grep -q '^Usage: attn' err || wrong "no command: no usage"
expect 2 'did you mean translate' "$attn" transalte --model m
expect 2 '--model DIR is missing' "$attn" translate
expect 2 '--beam is "0", a whole number from 1 to 64' "$attn" translate --model m --beam 0
expect 2 '--beam is "-3"' "$attn" translate --model m --beam -3
expect 2 '--beam is "99999999999999999999"' "$attn" translate --model m --beam 99999999999999999999
expect 2 '--beam is "many"' "$attn" translate --model m --beam many
expect 2 '--beam is "4x"' "$attn" translate --model m --beam=4x
expect 2 '--beam is ""' "$attn" translate --model m --beam ''
expect 2 '--length-penalty is "nan"' "$attn" translate --model m --length-penalty nan
expect 2 '--length-penalty is "1e999"' "$attn" translate --model m --length-penalty 1e999
expect 2 'did you mean --length-penalty?' "$attn" translate --model m --lenght-penalty 1
expect 2 'unknown option --frobnicate' "$attn" translate --model m --frobnicate
expect 2 '--beam needs a value' "$attn" translate --model m --beam
expect 2 '--n-best is 5, at most --beam (4)' "$attn" translate --model m --beam 4 --n-best 5
expect 2 '"file.txt" is not expected' "$attn" translate --model m file.txt
expect 2 '--scores takes no value' "$attn" translate --model m --scores=yes
expect 2 '--bleu is "best", 13a, none or zh was expected' "$attn" evaluate --model m --corpus pairs.tsv --bleu best
expect 2 'were expected' "$attn" evaluate --model m --source s.txt
expect 2 '2 texts were given' "$attn" explain --model m one two

# --- what fails: exit 1
expect 1 'no such model folder' "$attn" translate --model nowhere
expect 1 'standard input is empty' "$attn" explain --model m
expect 1 'blank' "$attn" explain --model m '  '
expect 1 'page' "$attn" explain --model m --html nowhere/page.html 'w1'
expect 1 'head 2 was asked for' "$attn" explain --model m --head 2 'w1'
head -1400 t.txt >short.txt
expect 1 '1400' "$attn" evaluate --model m --source s.txt --target short.txt
expect 1 '1500' "$attn" evaluate --model m --source s.txt --target short.txt
expect 1 'nowhere.txt' "$attn" evaluate --model m --source nowhere.txt --target t.txt
: >empty
expect 1 'empty' "$attn" evaluate --model m --source empty --target empty
{ head -3 s.txt; printf 'w\377\n'; } >bad.txt
head -4 t.txt >four.txt
expect 1 'bad.txt' "$attn" evaluate --model m --source bad.txt --target four.txt
"$attn" evaluate --model m --source bad.txt --target four.txt --skip-invalid | grep -q '^pairs 3' || wrong "--skip-invalid"

# --- broken folders
for file in config.json model.safetensors vocab.json; do
  cp -r m broken
  rm "broken/$file"
  expect 1 "$file" "$attn" translate --model broken
  : >"broken/$file"
  expect 1 "$file" "$attn" translate --model broken
  rm -rf broken
done
size=$(stat -c %s m/model.safetensors)
for part in 7 8 9 100 $((size / 2)) $((size - 1)); do
  cp -r m broken
  head -c "$part" m/model.safetensors >broken/model.safetensors
  expect 1 'model.safetensors' "$attn" translate --model broken
  rm -rf broken
done
cp -r m broken
sed -i 's/"d_model": 32/"d_model": 33/' broken/config.json
expect 1 'config.json' "$attn" info --model broken
sed -i 's/"d_model": 33/"d_model": 64/' broken/config.json
expect 1 'config.json' "$attn" info --model broken

[ $failures -eq 0 ] && echo "all is well"
exit $((failures > 0))
