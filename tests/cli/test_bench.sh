#!/bin/bash
# attn bench: a row of the table, JSON, the check against the reference, and wrong usage.
#     test_bench.sh ATTN SOURCE_FOLDER
set -u
attn=$1
export OMP_WAIT_POLICY=passive LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/attn_cli_XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0

expect() { # expect STATUS TEXT COMMAND...: TEXT is in what was said on either stream
  local status=$1 text=$2
  shift 2
  "$@" >out 2>&1 </dev/null
  local found=$?
  if [ $found -ne "$status" ] || ! grep -qF -- "$text" out; then
    echo "FAILED: exit $found, not $status, or \"$text\" not in: $* ($(head -c 300 out))"
    failures=$((failures + 1))
  fi
}

expect 0 'one by one' "$attn" bench attention 'one by one' --seconds 0.001 --threads 1 --dtype f32
grep -q '^1 thread, ' out || { echo "FAILED: the table does not tell the threads"; failures=$((failures + 1)); }
expect 0 '"forward_share": ' "$attn" bench attention 'one by one' --seconds 0.001 --json --dtype bf16
cp out line.json
expect 0 'bf16' python3 -c 'import json; print(json.load(open("line.json"))["type"])'
expect 0 '"share": ' "$attn" bench attention 8x16/4x1x4096-decode --seconds 0.001 --json --dtype int8
expect 0 '2 cases agree' "$attn" bench attention sinks --check
expect 0 '3 cases agree' "$attn" bench attention --random 3 --seed 5
expect 2 'expected attention' "$attn" bench
expect 2 '"attentoin", expected attention' "$attn" bench attentoin
expect 1 'no attention case "4x9"' "$attn" bench attention 4x9
expect 2 '--random makes its own' "$attn" bench attention sinks --random 4
expect 2 'seconds' "$attn" bench attention --seconds 0

[ $failures -eq 0 ] && echo "all as expected"
exit $((failures > 0))
