# Sourced by the tests of the command: what is wrong is counted in `failures`. most_lines, if set: of what
# may be said on standard error.
failures=0
most_lines=

wrong() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect STATUS TEXT COMMAND...: that exit status, and TEXT on standard error.
expect() {
  local status=$1 text=$2
  shift 2
  "$@" >out 2>err </dev/null
  local found=$?
  [ $found -eq "$status" ] || wrong "exit $found, not $status: $* ($(tail -c 300 err))"
  grep -qF -- "$text" err || wrong "\"$text\" is not in what was said: $* ($(tail -c 300 err))"
  [ -z "$most_lines" ] || [ "$(wc -l <err)" -le "$most_lines" ] || wrong "more than a sentence: $*"
}
