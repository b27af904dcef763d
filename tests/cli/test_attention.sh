#!/bin/bash
# attn attention and attn additive on small arrays: values worked out by hand, kernels that
# agree, gradients of the right shape, and malformed files.
#     test_attention.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_cli_XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0

wrong() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

expect() { # expect STATUS TEXT COMMAND...
  local status=$1 text=$2
  shift 2
  "$@" >out 2>err </dev/null
  local found=$?
  [ $found -eq "$status" ] || wrong "exit $found, not $status: $* ($(head -c 300 err))"
  [ -z "$text" ] || grep -qF -- "$text" err || wrong "\"$text\" is not in what was said: $* ($(head -c 300 err))"
}

# npy FILE SHAPE BYTES: a float32 array; BYTES as printf escapes
npy() {
  local header="{'descr': '${4:-<f4}', 'fortran_order': False, 'shape': ($2), }" padded
  padded=$(printf '%-117s' "$header")
  { printf '\223NUMPY\001\000\166\000'; printf '%s\n' "$padded"; printf "$3"; } >"$1"
}

values() { # the elements of an array that attn wrote: they begin at byte 128
  local start=$((10 + $(od -An -tu2 -j8 -N2 "$1")))
  od -An -v -f -w4 -j$start "$1" | tr -d ' '
}

near() { # near FILE VALUE...: elements within 1e-5
  local file=$1
  shift
  paste <(values "$file") <(printf '%s\n' "$@") | awk -v n=$# '
    { d = $1 - $2; if (d < 0) d = -d; if (!(d < 1e-5)) bad = 1 } END { exit bad || NR != n }' ||
    wrong "$file holds $(values "$file" | tr '\n' ' '), expected $*"
}

zero='\000\000\000\000' one='\000\000\200\077' two='\000\000\000\100'
npy q.npy '2, 1, 2' "$one$zero$zero$one"
npy k.npy '2, 1, 2' "$one$zero$zero$one"
npy v.npy '2, 1, 1' "$one$two"
npy do.npy '2, 1, 1' "$one$zero"

# exp(1/sqrt 2) = 2.028115: weights 0.669764 and 0.330236
for kernel in auto reference portable; do
  expect 0 '' "$attn" attention q.npy k.npy v.npy --kernel $kernel --out o.npy --lse l.npy --weights w.npy \
    --grad-out do.npy --dq dq.npy --dk dk.npy --dv dv.npy
  near o.npy 1.3302362 1.6697638
  near w.npy 0.6697616 0.3302384 0.3302384 0.6697616 2>/dev/null
  near l.npy 1.1079403 1.1079403
  near dv.npy 0.6697616 0.3302384
  # ds = w (v - o): -0.221183, 0.221183, times 1/sqrt 2
  near dq.npy -0.1563996 0.1563996 0 0
done
expect 0 '' "$attn" attention q.npy k.npy v.npy --causal top-left --score dot --out o.npy
near o.npy 1 1.7310586
expect 0 '' "$attn" attention q.npy k.npy v.npy --score linear --out o.npy # f = 2, 1: weights 5/9, 4/9
near o.npy 1.4444444 1.5555556
# one key exists: it has all the weight
npy lengths.npy '1' '\001\000\000\000' '<i4'
expect 0 '' "$attn" attention q.npy k.npy v.npy --key-lengths lengths.npy --out o.npy --column-sums s.npy
near o.npy 1 1
near s.npy 2 0
# positions turn the second row by 1 radian: products 1 and -sin 1
expect 0 '' "$attn" attention q.npy k.npy v.npy --rotary halves --out o.npy
near o.npy 1.2138090 1.7861910
expect 0 '' "$attn" attention q.npy k.npy v.npy --rotary interleaved --out o2.npy
cmp -s o.npy o2.npy || wrong "with two elements both kinds of pairs are the same"
npy wq.npy '1, 2' "$one$zero"
npy score.npy '1' "$one"
# s = tanh(q_0 + k_0): tanh 2, tanh 1 for the first query
expect 0 '' "$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy --out o.npy --weights w.npy \
  --grad-out do.npy --dq dq.npy --dwq dw.npy --dscore dv.npy
near o.npy 1.4495637 1.3183002

# 1 added to the second key's score, and a sink of 0
npy bias.npy '2' "$zero$one"
npy sinks.npy '1' "$zero"
for kernel in auto reference portable; do
  expect 0 '' "$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy --score-bias bias.npy \
    --sinks sinks.npy --out o.npy --grad-out do.npy --dscore-bias db.npy --dsinks ds.npy --kernel $kernel
  near o.npy 1.5105610 1.2932237
  near db.npy -0.1417640 0.3017142
  near ds.npy -0.1599502
done
expect 0 '' "$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy --causal top-left --window 0,0 \
  --dtype bf16 --out o.npy
near o.npy 1 2

# every option that changes scores, the same q, k and v; scaled products are 0.7071068 and 0
npy sinks.npy '1' "$zero"
npy slopes.npy '1' "$one"
npy keys_bias.npy '2' "$zero$one"
npy mask.npy '2, 2' '\001\000\000\001' '|b1'
npy offsets.npy '3' '\000\000\000\000\001\000\000\000\002\000\000\000' '<i4'
check() { # check OUTPUT OUTPUT OPTION...
  local first=$1 second=$2
  shift 2
  for kernel in auto reference portable; do
    expect 0 '' "$attn" attention q.npy k.npy v.npy --out o.npy --kernel $kernel "$@"
    near o.npy "$first" "$second"
  done
}
check 1.1192029 1.8807971 --scale 2
check 1.5 1.5 --scale 0 --dtype bf16
check 1.8807971 1.1192029 --scale -2 # weights change places
check 1.2689414 1.7310586 --score cosine --scale 1
check 1 2 --window 0,0
check 1 2 --mask mask.npy
check 1.5727043 1.8464606 --bias keys_bias.npy
check 1.1535394 1.8464606 --alibi slopes.npy
check 1.3523194 1.6476806 --softcap 1
check 1 1.2552348 --sinks sinks.npy
check 1 2 --q-offsets offsets.npy --k-offsets offsets.npy --threads 2
expect 0 '' "$attn" attention q.npy k.npy v.npy --bias keys_bias.npy --sinks sinks.npy --grad-out do.npy \
  --dbias db.npy --dsinks ds.npy
near db.npy -0.1055348 0.3315928
near ds.npy -0.2260580
# NumPy's own float64, and four axes
one64='\000\000\000\000\000\000\360\077' zero64='\000\000\000\000\000\000\000\000'
npy q64.npy '1, 2, 1, 2' "$one64$zero64$zero64$one64" '<f8'
npy v4.npy '1, 2, 1, 1' "$one$two"
expect 0 '' "$attn" attention q64.npy q64.npy v4.npy --out o.npy
near o.npy 1.3302362 1.6697638
# half of the weights are dropped and the rest doubled; which, the seed says
for seed in 1 2 3 4 5 6 7 8; do
  expect 0 '' "$attn" attention q.npy k.npy v.npy --dropout 0.5 --seed $seed --weights w$seed.npy --kernel portable
  expect 0 '' "$attn" attention q.npy k.npy v.npy --dropout 0.5 --seed $seed --weights again.npy --kernel reference
  paste <(values w$seed.npy) <(values again.npy) | awk '{ d = $1 - $2; if (d < -1e-5 || d > 1e-5) exit 1 }' ||
    wrong "kernels drop different weights with seed $seed"
  values w$seed.npy | awk '
    { if ($1 != 0 && ($1 < 1.33 || $1 > 1.34) && ($1 < 0.66 || $1 > 0.67)) exit 1 }' || wrong "weights of seed $seed"
done
[ "$(md5sum w?.npy | cut -d' ' -f1 | sort -u | wc -l)" -gt 2 ] || wrong "the seed does not matter"

# an output may lie over any input: all inputs are read first
cp do.npy over.npy
cp q.npy over_q.npy
cp k.npy over_k.npy
expect 0 '' "$attn" attention over_q.npy over_k.npy v.npy --grad-out over.npy --out over.npy --dq over_q.npy \
  --dv over_k.npy --lse v_lse.npy
near over.npy 1.3302362 1.6697638
near over_q.npy -0.1563996 0.1563996 0 0
near over_k.npy 0.6697616 0.3302384
for output in lse weights column-sums; do
  cp do.npy over.npy
  expect 0 '' "$attn" attention q.npy k.npy v.npy --grad-out over.npy --$output over.npy --dv dv.npy
  near dv.npy 0.6697616 0.3302384
done
bahdanau=("$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy)
expect 0 '' "${bahdanau[@]}" --grad-out do.npy --out o.npy --dv dv.npy --dwq dw.npy
for output in out lse weights; do
  cp do.npy over.npy
  expect 0 '' "${bahdanau[@]}" --grad-out over.npy --$output over.npy --dv over_v.npy --dwq over_w.npy
  cmp -s over_v.npy dv.npy && cmp -s over_w.npy dw.npy || wrong "--$output over --grad-out changes gradients"
done
# what fails leaves no output behind, not even those that were computed
rm -f o.npy
npy do_short.npy '1, 1, 1' "$one"
expect 1 'do_short.npy' "$attn" attention q.npy k.npy v.npy --out o.npy --grad-out do_short.npy --dq dq.npy
expect 1 'do_short.npy' "${bahdanau[@]}" --out o.npy --grad-out do_short.npy --dq dq.npy
[ ! -e o.npy ] || wrong "an output was written beside a gradient that cannot be read"

# a symbolic link stays, what it names is replaced; a pipe or a device is written to
mkdir folder
cp v.npy folder/old.npy
ln -s folder/old.npy link.npy
ln -s link.npy link_to_link.npy
ln -s new.npy folder/dangling.npy
ln -s circle.npy circle.npy
mkfifo pipe
timeout 10 cat pipe >piped.npy &
expect 0 '' "$attn" attention q.npy k.npy v.npy --out link_to_link.npy --lse folder/dangling.npy --weights pipe \
  --column-sums s.npy
wait
near folder/old.npy 1.3302362 1.6697638
near folder/new.npy 1.1079403 1.1079403
near piped.npy 0.6697616 0.3302384 0.3302384 0.6697616
[ -L link.npy ] && [ -L link_to_link.npy ] && [ -L folder/dangling.npy ] || wrong "a symbolic link was replaced"
[ -p pipe ] || wrong "a pipe was replaced"
expect 1 'circle.npy: Too many levels' "$attn" attention q.npy k.npy v.npy --out circle.npy
expect 1 'folder: Is a directory' "$attn" attention q.npy k.npy v.npy --out folder
if mknod null c 1 3 2>mknod.txt && : 2>mknod.txt >null; then
  expect 0 '' "$attn" attention q.npy k.npy v.npy --out null
  [ -c null ] || wrong "a device was replaced"
fi
if mknod full c 1 7 2>mknod.txt && : 2>mknod.txt >full; then
  expect 1 'full: cannot be written: No space left' "$attn" attention q.npy k.npy v.npy --out full
  [ -c full ] || wrong "a device was replaced or removed"
fi
# one file cannot hold two outputs, however it is named
expect 2 '--out and --lse both name twice.npy, expected different files' "$attn" attention q.npy k.npy v.npy \
  --out twice.npy --lse twice.npy
expect 2 '--weights and --dq both name twice.npy' "$attn" attention q.npy k.npy v.npy --weights folder/../twice.npy \
  --grad-out do.npy --dq twice.npy
ln -s twice.npy link_to_twice.npy
expect 2 '--dwq and --dscore both name link_to_twice.npy' "${bahdanau[@]}" --grad-out do.npy --dwq "$PWD/twice.npy" \
  --dscore link_to_twice.npy
[ ! -e twice.npy ] || wrong "an output was written under a name that was refused"
[ -z "$(find . -name '*.part')" ] || wrong "temporary files are left: $(find . -name '*.part')"

# --- bad input
expect 1 'not a .npy file' "$attn" attention "$attn" k.npy v.npy
expect 1 'No such file' "$attn" attention none.npy k.npy v.npy
head -c 130 q.npy >short.npy
expect 1 'short.npy: the file holds 2 bytes of elements, expected 16 by its shape' "$attn" attention short.npy k.npy v.npy
(cat q.npy; echo) >long.npy
expect 1 'follow' "$attn" attention long.npy k.npy v.npy
npy huge.npy '4611686018427387904, 4, 4' "$one"
expect 1 'huge.npy' "$attn" attention huge.npy k.npy v.npy
# header FILE DICTIONARY: three float32 of 0 behind this header
header() {
  { printf '\223NUMPY\001\000\166\000%-117s\n' "$2"; printf "$zero$zero$zero"; } >"$1"
}
header once.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 1), }"
expect 0 '' "$attn" attention once.npy once.npy once.npy
header twice.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 1, 1), 'shape': (3, 1, 1), }"
expect 1 'twice.npy: the header has shape twice, expected once' "$attn" attention twice.npy once.npy once.npy
header twice.npy "{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 1), }"
expect 1 'twice.npy: the header has descr twice, expected once' "$attn" attention twice.npy once.npy once.npy
header twice.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 1), 'fortran_order': False}"
expect 1 'twice.npy: the header has fortran_order twice, expected once' "$attn" attention twice.npy once.npy once.npy
npy type.npy '2, 1, 2' "$one" '>f4'
expect 1 'the element type is >f4, expected float32, float64, int32, int64, int8, uint32, uint8 or bool' "$attn" attention type.npy k.npy v.npy
npy flat.npy '4' "$one$zero$zero$one"
expect 1 'axes' "$attn" attention flat.npy k.npy v.npy
npy two.npy '2' '\001\000\000\000\001\000\000\000' '<i4'
npy long_lengths.npy '1' '\003\000\000\000' '<i4'
npy three.npy '3' "$zero$one$one"
expect 2 'expected Q, K and V' "$attn" attention q.npy
expect 2 '--grad-out' "$attn" attention q.npy k.npy v.npy --dq dq.npy
for window in 3 99999999999999999999999,1 1,99999999999999999999999 9223372036854775808,0 ' 3, 4' '3, 4' '3,4 ' \
  +3,4 -1,2 3, ,4 3,4,5 3.5,4 0x3,4; do
  expect 2 "--window is \"$window\", expected LEFT,RIGHT: two whole numbers from 0 to 9223372036854775807" \
    "$attn" attention q.npy k.npy v.npy --window "$window"
done
expect 0 '' "$attn" attention q.npy k.npy v.npy --window 9223372036854775807,0
expect 1 'expected one for each of 1 sequences' "$attn" attention q.npy k.npy v.npy --key-lengths two.npy
expect 1 'key_lengths[0] is 3, expected 0 to 2' "$attn" attention q.npy k.npy v.npy --key-lengths long_lengths.npy
npy most.npy '1' '\377\377\377\377\377\377\377\177' '<i8'
expect 1 'is 9223372036854775807, expected 0 to 2' "$attn" attention q.npy k.npy v.npy --key-lengths most.npy
npy tiny_mask.npy '2' '\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' '<f8'
expect 0 '' "$attn" attention q.npy k.npy v.npy --mask tiny_mask.npy --out o.npy
near o.npy 1 1
npy axes.npy '1, 1, 1, 1, 2' "$zero$one"
npy packed.npy '2' '\000\000\000\000\002\000\000\000' '<i4'
expect 1 'axes.npy has 5 axes, expected at most 4' "$attn" attention q.npy k.npy v.npy --bias axes.npy \
  --q-offsets packed.npy --k-offsets packed.npy
expect 1 'sinks.npy is [1] of floats, expected one axis of integers' "$attn" attention q.npy k.npy v.npy --key-lengths sinks.npy
expect 1 'rotary-width 4, expected even, 2 to 2' "$attn" attention q.npy k.npy v.npy --rotary halves --rotary-width 4
expect 1 'expected 1 or 2' "$attn" attention q.npy k.npy v.npy --bias three.npy
for cap in 0 -1 nan 1e-300; do
  expect 2 "--softcap is \"$cap\", a number from 1e-30 to inf was expected" "$attn" attention q.npy k.npy v.npy \
    --softcap $cap
done
expect 2 '--softcap is "0"' "${bahdanau[@]}" --softcap 0
expect 0 '' "$attn" attention q.npy k.npy v.npy --softcap inf
# Q, K and V that do not go together
npy q4.npy '2, 1, 1, 2' "$one$zero$zero$one"
npy k4.npy '1, 2, 1, 2' "$one$zero$zero$one"
npy v3.npy '3, 1, 1' "$one$two$one"
npy v_heads.npy '1, 2, 1' "$one$two"
expect 1 'k.npy is [2, 1, 2] and v3.npy is [3, 1, 1], expected the same tokens and heads' \
  "$attn" attention q.npy k.npy v3.npy
expect 1 'k.npy is [2, 1, 2] and v_heads.npy is [1, 2, 1], expected the same tokens and heads' \
  "$attn" attention q.npy k.npy v_heads.npy
expect 1 'q4.npy is [2, 1, 1, 2], k4.npy is [1, 2, 1, 2] and v4.npy is [1, 2, 1, 1], expected the same batch' \
  "$attn" attention q4.npy k4.npy v4.npy
expect 1 'q.npy is [2, 1, 2] and v.npy is [2, 1, 1], expected rows as long' "$attn" attention q.npy v.npy v.npy
# offsets
npy none.npy '0' '' '<i4'
npy ends_at_3.npy '3' '\000\000\000\000\001\000\000\000\003\000\000\000' '<i4'
packed() { # packed SENTENCE Q_OFFSETS K_OFFSETS
  expect 1 "$1" "$attn" attention q.npy k.npy v.npy --q-offsets $2 --k-offsets $3
}
packed '--q-offsets none.npy has 0 offsets, expected at least 1' none.npy none.npy
packed '--q-offsets offsets.npy has 3 offsets, --k-offsets two.npy 2, expected as many' offsets.npy two.npy
packed '--q-offsets ends_at_3.npy ends at 3, expected 2, the tokens of q.npy' ends_at_3.npy offsets.npy
packed '--k-offsets ends_at_3.npy ends at 3, expected 2, the tokens of k.npy' offsets.npy ends_at_3.npy
# 0, 2^58, 2: before tables of so many positions are made
npy falls.npy '3' '\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\004\002\000\000\000\000\000\000\000' '<i8'
packed '--q-offsets falls.npy: element 2 is 2, expected 288230376151711744 or more' falls.npy falls.npy
expect 1 'element 2 is 2' "$attn" attention q.npy k.npy v.npy --rotary halves --q-offsets falls.npy --k-offsets falls.npy
expect 1 '--q-offsets: q64.npy is [1, 2, 1, 2], expected [tokens, heads, d]' "$attn" attention q64.npy q64.npy v4.npy \
  --q-offsets offsets.npy --k-offsets offsets.npy
# as many elements in another shape
npy flat2.npy '2' "$one$zero"
npy square.npy '1, 1' "$one"
npy four.npy '4' "$one$one$one$one"
npy heads4.npy '1, 4, 1' "$one$one$one$one"
npy table.npy '2, 2' "$one$one$one$one"
four=("$attn" attention heads4.npy heads4.npy heads4.npy)
expect 0 '' "${four[@]}" --sinks four.npy --alibi four.npy --grad-out heads4.npy
expect 1 'flat2.npy is [2], expected [2, 1, 1]' "$attn" attention q.npy k.npy v.npy --grad-out flat2.npy
expect 1 'four.npy is [4], expected [1, 4, 1]' "${four[@]}" --grad-out four.npy
expect 1 'table.npy is [2, 2], expected [4]' "${four[@]}" --sinks table.npy
expect 1 'table.npy is [2, 2], expected [4]' "${four[@]}" --alibi table.npy
expect 1 'flat2.npy is [2], expected [2, 1, 1]' "${bahdanau[@]}" --grad-out flat2.npy
npy wq1.npy '1, 1, 2' "$one$zero"
npy wq2.npy '2, 2' "$one$zero$zero$one"
npy turned.npy '2, 1' "$one$zero"
narrow=("$attn" additive q.npy k.npy v.npy --out o.npy --dv dv.npy --grad-out do.npy)
expect 0 '' "${narrow[@]}" --wq wq1.npy --wk wq.npy --v square.npy --bias sinks.npy --dbias db.npy
grep -aq "'shape': (1,)" db.npy || wrong "the gradient of b has another shape than b"
expect 1 'turned.npy is [2, 1], expected [1, width, 2]' "${narrow[@]}" --wq turned.npy --wk wq.npy --v score.npy
expect 1 'turned.npy is [2, 1], expected [1, 2]' "${narrow[@]}" --wq wq.npy --wk turned.npy --v score.npy
expect 1 'do.npy is [2, 1, 1], expected [1, 1]' "${narrow[@]}" --wq wq.npy --wk wq.npy --v do.npy
expect 1 'wq1.npy is [1, 1, 2], expected [1, 2]' "${narrow[@]}" --wq wq2.npy --wk wq2.npy --v flat2.npy --bias wq1.npy
expect 2 '--dsinks --sinks' "$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy --grad-out do.npy --dsinks d.npy
expect 2 '--grad-out' "$attn" additive q.npy k.npy v.npy --wq wq.npy --wk wq.npy --v score.npy --dscore d.npy


[ $failures -eq 0 ] && echo "all as expected"
exit $((failures > 0))
