#!/usr/bin/env bash
# A newcomer's fifth step: an Elixir shell attached to the cluster.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/follow" 'An Elixir shell'
