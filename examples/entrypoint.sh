#!/bin/sh
# Finds out what this node is called, then becomes it. What is given to the container as a command goes to erl.
#
#   COOKIE             the cookie: long, random, the same on all nodes
#   EID_NAME           what stands before the @ of all nodes, where they are found by address; else it is the container's ID
#   EID_HOST           what stands after it; see `eid name --help`
#   /etc/eid/sys.config     the configuration, if there is one
#   /etc/eid/ssl_dist.conf  options for TLS between the nodes, if they are to use it; see OTP's -ssl_dist_optfile
set -eu

# OTP's own place for the cookie. On the command line everybody on the host could read it.
: "${COOKIE:?COOKIE is not set: it must be a long random text, the same on all nodes}"
(umask 077 && printf %s "$COOKIE" > "$HOME/.erlang.cookie")
unset COOKIE

# Nodes that share a base name are dialled at the address in their name. Without Kubernetes or Rancher to tell it, that is this
# container's first IPv4 address (eid_tcp is for IPv4); set EID_HOST where it is on several networks.
if [ -n "${EID_NAME:-}" ] && [ -z "${EID_HOST:-}${MY_POD_IP:-}${EID_RANCHER:-}" ]; then
  for address in $(hostname -i); do
    case $address in *:*) ;; *) export EID_HOST="$address"; break ;; esac
  done
fi
name=$(eid name --short)

if [ -e /etc/eid/sys.config ]; then set -- -config /etc/eid/sys "$@"; fi
if [ -e /etc/eid/ssl_dist.conf ]; then
  set -- -proto_dist inet_tls -epmd_module eid_epmd -ssl_dist_optfile /etc/eid/ssl_dist.conf "$@"
else
  set -- -proto_dist eid_tcp "$@"
fi
exec erl -noinput -start_epmd false -s eid -name "$name" "$@"
