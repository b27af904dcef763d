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

try_translate() { # $1: the program; a folder without a model is one clear sentence, not a crash
  mkdir -p "$work/empty"
  if LD_LIBRARY_PATH=$prefix/$libdir "$1" "$work/empty" "A sentence." >"$work/out" 2>"$work/err"; then
    die "a model was loaded from an empty folder"
  fi
  grep -q "^loading: .*$work/empty" "$work/err" || { cat "$work/err" >&2; die "the error does not name the folder"; }
}

# pkg-config
"$cc" -std=c11 -Wall -Wextra -Werror $flags "$source/operator.c" -o "$work/operator" \
  $(pkg-config --cflags --libs attn-attention)
"$work/operator"
if [ $whole = yes ]; then
  "$cc" -std=c11 -Wall -Wextra -Werror $flags "$source/translate.c" -o "$work/translate" $(pkg-config --cflags --libs attn)
  try_translate "$work/translate"
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
