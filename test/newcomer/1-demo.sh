#!/usr/bin/env bash
# A newcomer's first step: the demo. Before it, take down everything that an earlier newcomer left.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
[ ! -e "${EID_NEWCOMER:-/tmp/eid-newcomer}" ] || "$here/follow" --leave
exec "$here/follow" 'See it work'
