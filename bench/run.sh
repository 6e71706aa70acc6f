#!/usr/bin/env bash
# Runs the bench and writes RESULTS.md. README.md describes the parts. `run.sh PART…` runs only these parts
# and writes no file.
set -euo pipefail
cd "$(dirname "$0")/.."

rig=test/rig/rig
ebin=_build/default/lib/eid/ebin
out=_build/bench
[ -e "$ebin/eid.app" ] || { echo "bench: eid is not built; \`make bench\` does that first" >&2; exit 1; }

mkdir -p "$out"
erlc +debug_info -Werror -o "$out" bench/*.erl test/eid_{rig,ct,cluster,mesh_recorder,dns_zone,rancher_double}.erl

target=${CARGO_TARGET_DIR:-$PWD/target}
if cargo build --quiet --release --locked -p eid-docker --example engine-double; then
  export EID_BENCH_DOUBLE=$target/release/examples/engine-double
fi
if cargo build --quiet --release --locked -p eid-cli --example forward-load; then
  export EID_BENCH_FORWARD_LOAD=$target/release/examples/forward-load
fi
if cargo build --quiet --release --locked -p eid-cli --example inspects; then
  export EID_BENCH_INSPECTS=$target/release/examples/inspects
fi

# Succeeds if one of these parts needs the rig. Without arguments, all parts run.
need_rig() {
  local part
  for part in "$@"; do
    case $part in cold|latency|forward) ;; *) return 0 ;; esac
  done
  [ $# -eq 0 ]
}

# Hosts that were already up stay up.
if need_rig "$@" && "$rig" available > /dev/null && [[ $("$rig" info) != *engine.state=up*engine.state=up* ]]; then
  trap '"$rig" down' EXIT
  trap 'exit 130' INT TERM HUP
  "$rig" up
fi

export EID_BENCH_RESULTS=$PWD/bench/RESULTS.md
timeout --foreground 1800 erl -noinput -pa "$ebin" "$out" -s eid_bench main -extra "$@"
