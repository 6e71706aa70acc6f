#!/usr/bin/env bash
# A newcomer's third step: a cluster of three nodes on two hosts that forms automatically.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/follow" 'A cluster that forms itself'
