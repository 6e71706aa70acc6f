#!/usr/bin/env bash
# What `make install`, `make uninstall` and `make dist` do with what has been built: the application goes into the library folder of
# an Erlang, whose `erl` then finds it by itself, and the command, its man pages and completions go below the prefix.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILT=_build/default/lib/eid

fail() { echo "install: $*" >&2; exit 1; }

# The library folder of the Erlang in the prefix, or else of the one on the PATH.
erlang_library() {
  local erl=$prefix/bin/erl
  [ -x "$erl" ] || erl=$(command -v erl) \
    || fail "there is no Erlang in $prefix and none on the PATH; say where its library folder is: ERLANG_LIB=/usr/lib/erlang/lib"
  "$erl" -noshell -eval 'io:format("~ts", [code:lib_dir()]), halt().'
}

# What was built may be for a newer OTP, or for another C library. In a DESTDIR it is for an Erlang that need not be here.
check_that_it_loads() {
  [ -z "$destdir" ] || return 0
  "$library/../bin/erl" -noshell -pa "$1/ebin" \
    -eval '{error, bad_node_name} = eid:lookup(<<"@">>), halt().' > /dev/null 2>&1 \
    || fail "the Erlang with the library folder $library can't load what was built; run 'rebar3 compile' on that OTP release or an \
older one, and with that Erlang's C library"
}

# The application gets its place when it is complete: nodes may be running on the one that is there.
install_application() {
  local new=$application.new
  rm -rf "$new"
  install -d "$new/ebin" "$new/priv"
  install -m 644 "$BUILT"/ebin/* "$new/ebin"
  install -m 755 priv/eid_nif.so "$new/priv"
  (check_that_it_loads "$new") || { rm -rf "$new"; exit 1; }
  rm -rf "$application"
  mv "$new" "$application"
}

install_command() {
  install -D -m 755 priv/eid "$below/bin/eid"
  install -d "$share/man/man1"
  install -m 644 priv/man/man1/* "$share/man/man1"
  install -D -m 644 priv/completions/eid.bash "$share/bash-completion/completions/eid"
  install -D -m 644 priv/completions/_eid "$share/zsh/site-functions/_eid"
  install -D -m 644 priv/completions/eid.fish "$share/fish/vendor_completions.d/eid.fish"
}

do_install() {
  if [ ! -e "$BUILT/ebin/eid.app" ] || [ ! -e priv/man/man1/eid.1 ]; then fail "eid is not built yet; run 'rebar3 compile' first"; fi
  install_application
  install_command
  echo "eid is in $application, its command is $below/bin/eid"
}

do_uninstall() {
  rm -rf "$application"
  rm -f "$below/bin/eid" "$share"/man/man1/eid{,-name,-lookup,-ps,-doctor,-serve,-forward}.1 \
    "$share/bash-completion/completions/eid" "$share/zsh/site-functions/_eid" "$share/fish/vendor_completions.d/eid.fish"
}

# To be unpacked where a prefix is that has its Erlang in lib/erlang, as /usr/local of Docker's official images and /usr of Debian's
# packages. It has no folders of its own, so those that are there stay as they are.
do_dist() {
  local tarball
  tarball=_build/eid-$version-$(cc -dumpmachine).tar.gz
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  DESTDIR=$stage PREFIX='' ERLANG_LIB=/lib/erlang/lib native/install.sh install > /dev/null
  rm -f _build/eid-*.tar.gz
  (cd "$stage" && find . ! -type d -printf '%P\0' | sort -z) \
    | tar --create --gzip --file "$tarball" --directory "$stage" --owner=0 --group=0 --numeric-owner --null --files-from -
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
    application=$destdir$library/eid-$version
    "do_$1" ;;
  *) echo "usage: DESTDIR= PREFIX=/usr/local ERLANG_LIB= $0 install|uninstall|dist" >&2; exit 2 ;;
esac
