#!/bin/sh
# Builds what is in Rust, the NIF library and the command `eid`, and puts both into priv/, with the command's man pages and the
# shells' completions; rebar3 runs this before it compiles eid.
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null; then
    echo "eid needs Rust to build its NIF library: cargo is not on the PATH" >&2
    exit 1
fi
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --locked -p eid-nif -p eid-cli --target-dir "$target"

# Moved into its place, never written over one that a running VM has mapped, or that is running.
install_built() {
    cp "$target/release/$1" "priv/.$2.$$"
    mv -f "priv/.$2.$$" "priv/$2"
}

case $(uname -s) in
    Darwin) library=libeid_nif.dylib ;;
    *) library=libeid_nif.so ;;
esac
mkdir -p priv
install_built "$library" eid_nif.so
install_built eid eid

# Of commands that there are no more nothing is left.
rm -rf priv/man priv/completions
priv/eid manual priv
