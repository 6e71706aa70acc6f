# shellcheck shell=bash
# Runs commands and adds up their results. Parts of a run go on in parallel, so the results are in files in $TMPDIR:
#
#   counts    A line "PASSED FAILED SKIPPED" for each command.
#   failed    A line for each case or check that failed.
#   skipped   A line for each skipped case, with the reason.

record() { echo "$1 $2 $3" >> "$TMPDIR/counts"; }

run() {
  echo
  echo "== $*"
  "$@"
}

# Runs a command in its own network namespace, because other programs on this machine may use the same ports.
alone() {
  if unshare --net ip link set lo up 2> /dev/null; then
    run unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
  else
    run "$@"
  fi
}

check() {
  if run "$@"; then record 1 0 0; else record 0 1 0; echo "$*" >> "$TMPDIR/failed"; fi
}

# Adds up the numbers before a word in cargo's lines "test result: ok. 3 passed; 0 failed; 1 ignored; …".
cargo_sum() { sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'; }

cargo_tests() {
  local log status=0 failed
  log=$(mktemp)
  { run cargo test --locked --no-run "$@" && alone cargo test --locked --no-fail-fast "$@"; } 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  failed=$(cargo_sum failed "$log")
  sed -nE 's/^test (.*) \.\.\. FAILED$/cargo test: \1/p' "$log" >> "$TMPDIR/failed"
  sed -nE 's/^test (.*) \.\.\. ignored(.*)$/cargo test: \1\2/p' "$log" >> "$TMPDIR/skipped"
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
    echo "cargo test: ended with status $status" >> "$TMPDIR/failed"
  fi
  record "$(cargo_sum passed "$log")" "$failed" "$(cargo_sum ignored "$log")"
}

# common_tests HOW NAME SUITES: runs common_test once. Its hook cth_surefire writes a report. HOW is `run` or `alone`.
common_tests() {
  local how=$1 logs=$PWD/_build/test-logs/$2 status=0 report counts
  shift
  rm -rf "$logs"
  "$how" rebar3 ct --logdir "$logs" --suite "$(paste -sd , <<< "$2")" || status=$?
  report=$(find "$logs" -mindepth 2 -maxdepth 2 -name junit.xml 2> /dev/null)
  if ! counts=$(escript test/lib/junit.escript "$1" "${report:-none}" "$TMPDIR/failed" "$TMPDIR/skipped"); then
    counts="0 1 0"
    echo "common_test $1: ended with status $status and without a report" >> "$TMPDIR/failed"
  elif [ "$status" -ne 0 ] && [[ $counts == *" 0 "* ]]; then
    counts="${counts%% *} 1 ${counts##* }"
    echo "common_test $1: ended with status $status" >> "$TMPDIR/failed"
  fi
  # shellcheck disable=SC2086  # three numbers
  record $counts
}

# Fails if anything failed, or if nothing passed.
print_results() {
  local counts
  echo
  [ ! -s "$TMPDIR/skipped" ] || sed 's/^/skipped: /' "$TMPDIR/skipped"
  [ ! -s "$TMPDIR/failed" ] || sed 's/^/failed: /' "$TMPDIR/failed"
  counts=$(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$TMPDIR/counts")
  awk '{ printf "%d passed, %d failed, %d skipped\n", $1, $2, $3; exit !($1 > 0 && $2 == 0) }' <<< "$counts"
}
