#!/usr/bin/env bash
# Runs the checks and the tests, and ends with the line "N passed, N failed, N skipped".
#
# usage: run.sh static|unit|rig|docs|all|soak
#   static   formatting, lints, dialyzer, and the checks in test/static
#   unit     cargo's tests, and the suites that need no Docker host
#   rig      the suites on two real Docker hosts (test/rig)
#   docs     the web site, and the suites that run the commands of the pages
#   all      all four; the rig's suites run in parallel with the others
#   soak     long forms of cases, and load with random faults, which take too long for `all`
#
# A check counts as one test. Each test case of cargo and of common_test counts.
set -uo pipefail

# Every process of this run inherits the variable, so a later run finds the processes that a killed run left.
[ "${EID_TEST_RUN:-}" = "$$" ] || EID_TEST_RUN=$$ exec bash "${BASH_SOURCE[0]}" "$@"
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck source=test/lib/leftovers.sh
source test/lib/leftovers.sh
# shellcheck source=test/lib/results.sh
source test/lib/results.sh

part=${1:-all}
rig=test/rig/rig

# A suite that uses the rig calls eid_rig or eid_cluster.
suites()      { find test -maxdepth 1 -name '*_SUITE.erl' | sort | xargs grep "$@" -E 'eid_(rig|cluster):'; }
docs_suites() { printf 'test/eid_%s_SUITE.erl\n' docs newcomer reference; }
rig_suites()  { suites -l | grep -vxFf <(docs_suites); }
unit_suites() { suites -L | grep -vxFf <(docs_suites); }
soak_suites() { grep -lE 'EID_SOAK|eid_ct:times' test/*_SUITE.erl; }

static() {
  check cargo fmt --all --check
  check cargo clippy --locked --all-targets -- -D warnings
  check rebar3 xref
  check rebar3 dialyzer
  check test/static/sleeps.sh
  check escript test/static/layers.escript
  check escript test/static/documented.escript
}

unit() {
  cargo_tests
  # Uses its own build directory, because the rig's suites may run at the same time.
  REBAR_BASE_DIR=$PWD/_build/unit common_tests alone unit "$(unit_suites)"
}

rig() {
  raise_rig
  common_tests run rig "$(rig_suites)"
}

docs() {
  check doc/make.sh
  raise_rig
  common_tests run docs "$(docs_suites)"
}

# The rig's suites mostly wait. Meanwhile the other parts use the processor.
all() {
  local log=$TMPDIR/rig.log job
  echo "== The suites on two Docker hosts run in the background. Their output follows at the end."
  { raise_rig; common_tests run rig "$(rig_suites; docs_suites)"; } > "$log" 2>&1 &
  job=$!
  static
  unit
  check doc/make.sh
  tail --lines=+1 --follow --pid="$job" "$log"
  wait "$job"
}

soak() {
  raise_rig
  cargo_tests --release -p eid-cli --test soak -- --nocapture
  common_tests run soak "$(soak_suites)"
}

# Making the images takes minutes, but only once, so do it before the tests. Without images, each suite on the rig skips
# and prints the reason.
raise_rig() {
  ! "$rig" available > /dev/null 2>&1 || run "$rig" up || true
}

finish() {
  local status=$?
  trap '' INT TERM HUP
  end_this_run
  exit "$status"
}

case $part in
  static|unit) uses_rig=no ;;
  rig|docs|all|soak) uses_rig=yes ;;
  *) sed -nE 's/^# (usage|  )/\1/p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
end_earlier_runs || exit
trap finish EXIT
trap 'exit 130' INT TERM HUP
begin_this_run || exit
export EID_RIG_KEEP=1
# `wait` returns at once on a signal, so run the part as a background job.
"$part" < /dev/null &
wait "$!"
print_results && rm -f "$DID_NOT_PASS"
