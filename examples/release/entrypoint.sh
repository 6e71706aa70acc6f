#!/bin/sh
# Finds out what this node is called, then runs the release's script: foreground, ping, rpc, remote_console, stop, …
#
#   COOKIE         the cookie: long, random, the same on all nodes
#   EID_HOST       what stands after the @; see `eid name --help`
#   DOCKER_HOSTS   see sys.config.src
set -eu

# OTP's own place for the cookie, where the script looks for it, too. On the node's command line everybody on the host could read it.
: "${COOKIE:?COOKIE is not set: it must be a long random text, the same on all nodes}"
cookie=$HOME/.erlang.cookie
[ "$(cat "$cookie" 2> /dev/null)" = "$COOKIE" ] || (umask 077 && printf %s "$COOKIE" > "$cookie")
unset COOKIE

EID_NODE=$(eid name --short) || exit
export EID_NODE

# New versions of relx's script ask the node by an escript, whose `erl` in Debian's OTP 29 goes to /usr/lib/erlang and not to the release.
for erlexec in /opt/shop/erts-*/bin/erlexec; do export ESCRIPT_EMULATOR="$erlexec"; done
exec /opt/shop/bin/shop "$@"
