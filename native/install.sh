#!/usr/bin/env bash
# What `make install`, `make uninstall` and `make dist` do with what has been built: the application goes into the library folder of
# an Erlang, whose `erl` then finds it by itself, and the command, its man pages and completions go below the prefix.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILT=_build/default/lib/eid
unset ERL_FLAGS ERL_AFLAGS ERL_ZFLAGS    # theirs are nodes that may need eid

fail() { echo "install: $*" >&2; exit 1; }

# The library folder of the Erlang in the prefix, or else of the one on the PATH.
erlang_library() {
  local erl=$prefix/bin/erl
  [ -x "$erl" ] || erl=$(command -v erl) \
    || fail "there is no Erlang in $prefix and none on the PATH; say where its library folder is: ERLANG_LIB=/usr/lib/erlang/lib"
  "$erl" -noshell -eval 'io:format("~ts", [code:lib_dir()]), halt().'
}

# An unexpanded ~, say, would be a folder in the checkout.
check_that_it_is_absolute() {
  case $2 in
    ''|/*) ;;
    *) fail "$1 is '$2', which is no absolute path; give it one that begins with /" ;;
  esac
}

# What was built may be for a newer OTP, or for another C library. In a DESTDIR it is for an Erlang that need not be here.
check_that_it_loads() {
  [ -z "$destdir" ] || return 0
  "$library/../bin/erl" -noshell -pa "$1/ebin" \
    -eval '{error, bad_node_name} = eid:lookup(<<"@">>), halt().' > /dev/null 2>&1 \
    || fail "the Erlang with the library folder $library can't load what was built; run 'rebar3 compile' on that OTP release or an \
older one, and with that Erlang's C library"
}

check_that_there_is_an_erlang() {
  [ -n "$destdir" ] || [ -x "$library/../bin/erl" ] \
    || fail "$library is not the library folder of an Erlang, whose erl would be in $library/../bin; for one that is not here give a DESTDIR"
}

# The application gets its place when it is complete: nodes may be running on the one that is there.
install_application() {
  local file
  trap 'rm -rf "$new"' EXIT
  rm -rf "$new"
  for file in "$BUILT"/ebin/*; do
    install -D -m 644 "$file" "$new/eid-$version/ebin/${file##*/}" \
      || fail "$destdir$library can't be written to; run this as one who may, or with a DESTDIR"
  done
  install -D -m 755 priv/eid_nif.so "$new/eid-$version/priv/eid_nif.so"
  install -m 644 priv/status.css priv/status.js "$new/eid-$version/priv/"
  check_that_it_loads "$new/eid-$version"
  remove_application
  mv "$new/eid-$version" "$application"
}

# Of every version: erl takes the newest that it finds. Another application may be called eid-1st.
remove_application() {
  local folder
  rm -rf "$application"
  for folder in "$destdir$library"/eid-[0-9]*; do
    [ ! -e "$folder/ebin/eid.app" ] || rm -rf "$folder"
  done
}

# -D makes folders, and leaves the permissions of those that are there.
install_command() {
  local page
  install -D -m 755 priv/eid "$below/bin/eid"
  for page in priv/man/man1/*; do install -D -m 644 "$page" "$share/man/man1/${page##*/}"; done
  install -D -m 644 priv/completions/eid.bash "$share/bash-completion/completions/eid"
  install -D -m 644 priv/completions/_eid "$share/zsh/site-functions/_eid"
  install -D -m 644 priv/completions/eid.fish "$share/fish/vendor_completions.d/eid.fish"
}

do_install() {
  if [ ! -e "$BUILT/ebin/eid.app" ] || [ ! -e priv/man/man1/eid.1 ]; then fail "eid is not built yet; run 'rebar3 compile' first"; fi
  check_that_there_is_an_erlang
  install_application
  install_command
  echo "eid is in $application, its command is $below/bin/eid"
}

# Folders stay: who else has something in them, or made them, is not known.
do_uninstall() {
  remove_application
  rm -f "$below/bin/eid" "$share"/man/man1/eid{,-name,-lookup,-ps,-doctor,-serve,-forward}.1 \
    "$share/bash-completion/completions/eid" "$share/zsh/site-functions/_eid" "$share/fish/vendor_completions.d/eid.fish"
}

# To be unpacked where a prefix is that has its Erlang in lib/erlang, as /usr/local of Docker's official images and /usr of Debian's
# packages. It has no folders of its own, so those that are there stay as they are. The same files make the same tarball.
do_dist() {
  local tarball
  tarball=_build/eid-$version-$(cc -dumpmachine).tar.gz
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  DESTDIR=$stage PREFIX='' ERLANG_LIB=/lib/erlang/lib native/install.sh install > /dev/null
  rm -f _build/eid-*.tar.gz
  (cd "$stage" && find . ! -type d -printf '%P\0' | LC_ALL=C sort -z) \
    | tar --create --gzip --format=gnu --file "$tarball" --directory "$stage" --owner=0 --group=0 --numeric-owner \
      --mtime="@${SOURCE_DATE_EPOCH:-0}" --null --files-from -
  echo "$tarball"
}

version=$(sed -n 's/.*{vsn, "\([^"]*\)"}.*/\1/p' src/eid.app.src)
destdir=${DESTDIR:-}
prefix=${PREFIX-/usr/local}
below=$destdir$prefix
share=$below/share

case ${1:-} in
  dist) do_dist ;;
  install|uninstall)
    library=${ERLANG_LIB:-$(erlang_library)}
    check_that_it_is_absolute PREFIX "$prefix"
    check_that_it_is_absolute ERLANG_LIB "$library"
    application=$destdir$library/eid-$version
    new=$destdir$library/.eid.new
    "do_$1" ;;
  *) echo "usage: DESTDIR= PREFIX=/usr/local ERLANG_LIB= $0 install|uninstall|dist" >&2; exit 2 ;;
esac
