#!/usr/bin/env bash
# A newcomer's fourth step: the same with TLS and `eid serve`. Docker's API listens on its unix socket alone, as the README wants it:
# on the rig a firewall closes its port.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
"$here/../rig/rig" up
for host in 1 2; do
  "$here/../rig/rig" exec "$host" iptables --insert INPUT --protocol tcp --dport 4243 --jump REJECT
done
exec "$here/follow" 'The same with TLS and eid serve'
