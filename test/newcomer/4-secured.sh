#!/usr/bin/env bash
# A newcomer's fourth step: the same with TLS and `eid serve`. The README wants Docker's API to listen on its unix socket alone: on the
# rig a firewall closes its port to whoever is not the host itself.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/../rig/rig" up
for host in 1 2; do
  "$here/../rig/rig" exec "$host" iptables --insert INPUT ! --in-interface lo --protocol tcp --dport 4243 --jump REJECT
done
exec "$here/follow" 'The same with TLS and eid serve'
