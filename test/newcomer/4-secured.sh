#!/usr/bin/env bash
# A newcomer's fourth step: the same with TLS and `eid serve`. The README requires that Docker's API listens only on its
# unix socket. On the rig, a firewall closes the API's port to all other hosts.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/../rig/rig" up
for host in 1 2; do
  "$here/../rig/rig" exec "$host" iptables --insert INPUT ! --in-interface lo --protocol tcp --dport 4243 --jump REJECT
done
exec "$here/follow" 'The same with TLS and eid serve'
