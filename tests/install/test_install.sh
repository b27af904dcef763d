#!/bin/bash
# What `cmake --install` lays down can be moved and used: a C program is built against
# it by pkg-config and by find_package, and run. Called by ctest as
#   test_install.sh BUILD SOURCE CC LIBDIR [FLAGS...]
# FLAGS: what the library was instrumented with (-fsanitize=...).
set -eu
build=$1 source=$2 cc=$3 libdir=$4
shift 4
flags="$*"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "test_install: $1" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" >"$work/log" 2>&1 || { cat "$work/log"; die "cmake --install failed"; }
mv "$work/first" "$work/moved" # nothing may remember where it was
prefix=$work/moved
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig

for file in include/attn/attention.h include/attn/status.h "$libdir/libattn-attention.a"; do
  [ -f "$prefix/$file" ] || die "$file is not installed"
done
whole=no
[ -f "$prefix/include/attn/attn.h" ] && whole=yes
for header in "$prefix"/include/attn/*.h; do # each compiles alone, as C and as C++
  "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only -x c "$header"
  "$cc" -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only -x c++ "$header"
done

# A model to try programs with: wN becomes tN.
if [ $whole = yes ]; then
  awk 'BEGIN { srand(3); for (i = 0; i < 300; i++) { w = int(rand() * 20); v = int(rand() * 20)
       print "w" w " w" v >"'"$work"'/s"; print "t" w " t" v >"'"$work"'/t" } }'
  "$prefix/bin/attn" train --source "$work/s" --target "$work/t" --model "$work/model" --tokenizer whitespace \
    --layers 1 --width 16 --heads 2 --feed-forward 16 --updates 5 2>"$work/log" || { cat "$work/log"; die "training"; }
  printf 'w1 w2\n\nw3\n' >"$work/input"
  "$prefix/bin/attn" translate --model "$work/model" --scores <"$work/input" >"$work/scored" || die "the installed command"
  cut -f2 "$work/scored" >"$work/expected"
fi

try_translate() { # $1: the program; it translates, and a folder without a model is one clear sentence
  LD_LIBRARY_PATH=$prefix/$libdir "$1" "$work/model" <"$work/input" >"$work/out" || die "$1 does not translate"
  cmp -s "$work/out" "$work/expected" || die "$1 translates otherwise than the command"
  mkdir -p "$work/empty"
  if LD_LIBRARY_PATH=$prefix/$libdir "$1" "$work/empty" <"$work/input" >"$work/out" 2>"$work/err"; then
    die "a model was loaded from an empty folder"
  fi
  grep -q "^translate: .*$work/empty" "$work/err" || { cat "$work/err" >&2; die "the error does not name the folder"; }
}

# pkg-config
"$cc" -std=c11 -Wall -Wextra -Werror $flags "$source/operator.c" -o "$work/operator" \
  $(pkg-config --cflags --libs attn-attention)
"$work/operator"
if [ $whole = yes ]; then
  "$cc" -std=c11 -Wall -Wextra -Werror $flags "$source/../../examples/translate.c" -o "$work/translate" $(pkg-config --cflags --libs attn)
  try_translate "$work/translate"
  if [ -z "$flags" ] && command -v python3 >/dev/null; then # ctypes cannot load a library with a sanitizer
    python3 "$source/../../examples/translate.py" "$work/model" "$prefix/$libdir/libattn.so" <"$work/input" >"$work/out" ||
      die "the Python example"
    cmp -s "$work/out" "$work/scored" || die "Python translates otherwise than the command"
  fi
  [ -L "$prefix/$libdir/libattn.so" ] || die "libattn.so is not a link to its version"
  # The library offers attn_ names and no others.
  others=$(nm -D --defined-only "$prefix/$libdir/libattn.so" | awk '$2 ~ /[TDBRVW]/ { print $3 }' |
    grep -Ev '^(attn_|_|\.gomp_)' || true)
  [ -z "$others" ] || [ -n "$flags" ] || die "libattn.so shows names that are not attn_: $(echo $others | cut -c1-300)"
  [ ! -x "$prefix/bin/attn" ] || "$prefix/bin/attn" --help >/dev/null || die "the installed command does not run"
fi

# find_package
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_C_FLAGS="$flags" >"$work/log" 2>&1 && cmake --build "$work/build" >>"$work/log" 2>&1 ||
  { cat "$work/log" >&2; die "a project with find_package(attn) does not build"; }
"$work/build/operator"
[ $whole = no ] || try_translate "$work/build/translate"
echo "installed, moved and used: well"
