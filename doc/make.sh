#!/usr/bin/env bash
# `make docs`: the documentation as a web site in _build/site, laid out as in the checkout: the pages, by rustdoc, which writes
# Markdown too; the modules (erlang/), by edoc; the crates (rust/), by rustdoc. A warning of any of them is an error, and so is a link
# that leads nowhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=$PWD/_build/site
pages=(README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md doc/*.md doc/guide/*.md bench/README.md bench/RESULTS.md test/rig/README.md
       examples/README.md examples/*/README.md)
ways_of_all=(index=eid doc/guide/{first-cluster='First cluster',naming=Naming,discovery=Discovery,security=Security}
             doc/guide/troubleshooting='When it does not work' doc/reference=Reference doc/inside='How it works inside'
             erlang/index=Modules rust/index=Crates)
log=$(mktemp) ways=$(mktemp)
trap 'rm -f "$log" "$ways"' EXIT

# Runs a command; fails if it does, or if it warns. The colon tells a warning from a folder of that name.
without_warnings() {
  "$@" 2>&1 | tee "$log"
  if grep -qiE '\bwarning:' "$log"; then
    echo "docs: $1 warns; mend what it names above" >&2
    return 1
  fi
}

# What a page says as its first line is its title.
make_page() {
  local page=$1 folder root
  folder=$out/$(dirname "$page") root=$(root_from "$page")
  mkdir -p "$folder"
  ways_from "$root" > "$ways"
  without_warnings rustdoc --markdown-no-toc --markdown-css "${root}style.css" --html-before-content "$ways" --output "$folder" "$page"
  follow_links "$page" "$folder/$(basename "$page" .md).html"
}

# The links that every page begins with.
ways_from() {
  local way
  echo '<nav>'
  for way in "${ways_of_all[@]}"; do echo "<a href=\"$1${way%%=*}.html\">${way#*=}</a>"; done
  echo '</nav>'
}

# A link to a page leads to what is made of it, one to a folder to its README; any other file comes along.
follow_links() {
  local page=$1 html=$2 link target
  sed -i -E 's,href="([^":]*)\.md([#"]),href="\1.html\2,g' "$html"
  while read -r link; do
    target=$(realpath --canonicalize-missing --relative-to=. "$(dirname "$page")/$link")
    if [ -f "$target" ]; then
      mkdir -p "$out/$(dirname "$target")"
      cp "$target" "$out/$target"
    elif [ -f "$target/README.md" ]; then
      sed -i "s,href=\"$link\",href=\"${link%/}/README.html\",g" "$html"
    fi
  done < <(grep -oE 'href="[^"#:]+"' "$html" | sed -E 's/^href="(.*)"$/\1/' | sort -u)
}

# The way from a page to the top folder.
root_from() {
  local slashes=${1//[^\/]/}
  printf '%s' "${slashes//\//../}"
}

# Of OTP's modules edoc knows neither where they are nor, of types, that eid's own are beside them.
mend_modules() {
  local otp=https://www.erlang.org/docs/25/man module
  sed -i -E "s,http://www\.erlang\.org/edoc/doc/eid/doc/,,g; s,http://www\.erlang\.org/edoc/doc/[a-z_]+/doc/,$otp/,g" "$out"/erlang/*.html
  while read -r module; do
    [ -f "$out/erlang/$module.html" ] || sed -i "s,href=\"$module\.html,href=\"$otp/$module.html,g" "$out"/erlang/*.html
  done < <(grep -ohE 'href="[a-z0-9_]+\.html' "$out"/erlang/*.html | sed -E 's/^href="(.*)\.html$/\1/' | sort -u)
}

# The crates have no page for all of them, and a comment that tracing's types bring along has a link for tracing's own pages.
mend_crates() {
  echo '<!DOCTYPE html><meta charset="utf-8"><title>Crates</title><meta http-equiv="refresh" content="0; url=eid_docker/index.html">' \
    > "$out/rust/index.html"
  find "$out/rust" -name '*.html' -exec sed -i 's,href="dispatcher#,href="https://docs.rs/tracing/latest/tracing/dispatcher/index.html#,g' {} +
}

# Whether every link within the site, but for those between crates, which rustdoc looks after, leads to a file, and to a place in it.
check_links() {
  local page link target place broken=0
  while IFS=: read -r page link; do
    link=${link#*\"} link=${link%\"} target=${link%%#*} place=
    case $link in *'#'*) place=${link#*#} ;; esac
    target=${target:+${page%/*}/$target}
    if ! [ -f "${target:-$page}" ] || { [ -n "$place" ] && ! grep -qE "(id|name)=\"$place\"" "${target:-$page}"; }; then
      echo "docs: $page has a link that leads nowhere: $link" >&2
      broken=1
    fi
  done < <(cd "$out" && grep -roE --include='*.html' --exclude-dir=rust ' (href|src)="[^":]+"' . | sort -u)
  return "$broken"
}

rm -rf "$out"
mkdir -p "$out/doc" "$out/erlang"
without_warnings rebar3 edoc
mend_modules
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --workspace --document-private-items --quiet
cp -r "${CARGO_TARGET_DIR:-target}/doc" "$out/rust"
mend_crates
for page in "${pages[@]}"; do make_page "$page"; done
cp -r doc/pictures "$out/doc/"
cp doc/style.css "$out/"
cp "$out/README.html" "$out/index.html"
(cd "$out" && check_links)
echo "docs: $out/index.html"
