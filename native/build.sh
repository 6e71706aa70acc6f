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

# Replaces a file by renaming: a VM may have mapped the old one, and a command may be running from it.
install_built() {
    if cmp -s "$target/release/$1" "priv/$2"; then return; fi
    cp "$target/release/$1" "$new/$2"
    mv -f "$new/$2" "priv/$2"
    changed=yes
}

case $(uname -s) in
    Darwin) library=libeid_nif.dylib ;;
    *) library=libeid_nif.so ;;
esac
new=priv/.new.$$
mkdir -p "$new"
trap 'rm -rf "$new"' EXIT
changed=no
install_built "$library" eid_nif.so
install_built eid eid

# Pages of commands that no longer exist must go.
if [ "$changed" = yes ] || ! [ -d priv/man ] || ! [ -d priv/completions ]; then
    priv/eid manual "$new"
    rm -rf priv/man priv/completions
    mv "$new/man" "$new/completions" priv/
fi
