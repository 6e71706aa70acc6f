#!/usr/bin/env bash
# A newcomer's first step: the demo. What another one has left is taken down before.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
[ ! -e "${EID_NEWCOMER:-/tmp/eid-newcomer}" ] || "$here/follow" --leave
exec "$here/follow" 'See it work'
