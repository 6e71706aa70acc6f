#!/usr/bin/env bash
# Runs every check, and closes with the line "N passed, N failed, N skipped". `run.sh soak` runs the
# rig's suites and the soak of `eid forward` and `eid serve` alone. A static check counts as one; of cargo and common_test each test case counts.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

passed=0 failed=0 skipped=0
failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The sum of the numbers that a pattern catches in the log.
sum() {
    grep -oE "$1" "$log" | grep -oE '[0-9]+' | awk '{ n += $1 } END { print n + 0 }'
}

run() {
    echo
    echo "== $*"
    "$@" 2>&1 | tee "$log"
    return "${PIPESTATUS[0]}"
}

check() {
    if run "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) failures+=("$*"); fi
}

# What takes minutes the first time is no test's time. Without images a rig's suites say why themselves.
make_images() {
    ! test/rig/rig available > /dev/null 2>&1 || run test/rig/rig images || true
}

# Adds up what a test runner says of itself; one that failed without a word counts as a failure.
count() {
    local status=$1 p=$2 f=$3 s=$4
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$f" -gt 0 ]; then mapfile -t -O "${#failures[@]}" failures < <(failed_cases); fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# The names of those that the log says have failed, of cargo's and of common_test's, which are in colour.
failed_cases() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$log" | sed -nE 's/^(test .*) \.\.\. FAILED$/\1/p; s/^%%% (.*) ==> (.*): FAILED$/\1:\2/p'
}

cargo_tests() {
    local status=0
    run cargo test --locked --no-fail-fast "$@" || status=$?
    count "$status" "$(sum '[0-9]+ passed;')" "$(sum '[0-9]+ failed;')" "$(sum '[0-9]+ ignored;')"
}

common_tests() {
    local status=0
    run rebar3 ct "$@" || status=$?
    count "$status" \
        $(($(sum 'All [0-9]+ tests passed') + $(sum 'Passed [0-9]+ tests'))) \
        "$(sum 'Failed [0-9]+ tests')" \
        "$(sum 'Skipped [0-9]+ ')"
}

if [ "${1:-}" = soak ]; then
    make_images
    cargo_tests --release -p eid-cli --test soak -- --nocapture
    common_tests --suite test/eid_rig_SUITE
else
    check cargo fmt --all --check
    check cargo clippy --locked --all-targets -- -D warnings
    cargo_tests
    check rebar3 xref
    check rebar3 dialyzer
    check doc/make.sh
    make_images
    common_tests
fi

echo
[ "$failed" -eq 0 ] || printf 'failed: %s\n' "${failures[@]:-see above}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
