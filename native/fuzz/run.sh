#!/usr/bin/env bash
# Runs each fuzz target, or the targets in its arguments, for FUZZ_SECONDS each. Exits with 1 if a target found a failure.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-20}
samples=../docker/tests/samples
built=../../target/fuzz

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(inspect list events gateway endpoint node_name)
fi

# The flags of cargo-fuzz, for a stable compiler. With --target, even for this machine, cargo does not pass them to build
# scripts and macros.
host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module -Clink-dead-code"
for flag in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$flag"
done
RUSTFLAGS=$flags cargo build --quiet --locked --release --target "$host" --target-dir "$built"

found=0
for target in "${targets[@]}"; do
    corpus=$built/corpus/$target
    crashes=$built/crashes/$target
    log=$built/$target.log
    mkdir -p "$corpus" "$crashes"
    # libFuzzer reads both directories and writes new inputs to the first.
    if "$built/$host/release/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=16384 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$crashes/" "$corpus" "$samples/$target" >"$log" 2>&1; then
        awk -v target="$target" '
            /^stat::number_of_executed_units/ { executions = $2 }
            / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
            END { printf "%-10s %10d executions, %5d edges\n", target, executions, edges }' "$log"
    else
        found=1
        printf '%-10s failed:\n' "$target"
        tail -n 40 "$log"
    fi
done
exit $found
