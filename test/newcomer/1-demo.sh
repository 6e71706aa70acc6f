#!/usr/bin/env bash
# A newcomer's first step: the demo.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/follow" 'See it work'
