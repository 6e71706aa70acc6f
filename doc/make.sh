#!/usr/bin/env bash
# `make docs`: the documentation as a web site in _build/site, laid out as in the checkout: the pages, by rustdoc, which writes
# Markdown too; the modules (erlang/), by edoc; the crates (rust/), by rustdoc. A warning of any of them is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=$PWD/_build/site
pages=(README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md doc/*.md doc/guide/*.md bench/README.md bench/RESULTS.md test/rig/README.md
       examples/README.md examples/*/README.md)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a command; fails if it does, or if it warns.
without_warnings() {
  "$@" 2>&1 | tee "$log"
  if grep -qiE '\bwarning\b' "$log"; then
    echo "docs: $1 warns; mend what it names above" >&2
    return 1
  fi
}

# What a page says as its first line is its title.
make_page() {
  local page=$1 folder
  folder=$out/$(dirname "$page")
  mkdir -p "$folder"
  without_warnings rustdoc --markdown-no-toc --markdown-css "$(root_from "$page")style.css" --output "$folder" "$page"
  follow_links "$page" "$folder/$(basename "$page" .md).html"
}

# A link to a page leads to what is made of it, one to a folder to its README; any other file comes along.
follow_links() {
  local page=$1 html=$2 link target
  sed -i -E 's,href="([^":]*)\.md([#"]),href="\1.html\2,g' "$html"
  for link in $(grep -oE 'href="[^"#:]+"' "$html" | sed -E 's/^href="(.*)"$/\1/' | sort -u); do
    target=$(realpath --canonicalize-missing --relative-to=. "$(dirname "$page")/$link")
    if [ -f "$target" ]; then
      mkdir -p "$out/$(dirname "$target")"
      cp "$target" "$out/$target"
    elif [ -f "$target/README.md" ]; then
      sed -i "s,href=\"$link\",href=\"${link%/}/README.html\",g" "$html"
    fi
  done
}

# The way from a page to the top folder.
root_from() {
  local slashes=${1//[^\/]/}
  printf '%s' "${slashes//\//../}"
}

rm -rf "$out"
mkdir -p "$out/doc" "$out/erlang"
without_warnings rebar3 edoc
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --workspace --document-private-items --quiet
cp -r "${CARGO_TARGET_DIR:-target}/doc" "$out/rust"
for page in "${pages[@]}"; do make_page "$page"; done
cp -r doc/pictures "$out/doc/"
cp doc/style.css "$out/"
cp "$out/README.html" "$out/index.html"
echo "docs: $out/index.html"
