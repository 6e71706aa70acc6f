#!/usr/bin/env bash
# A newcomer's second step: their image, and an image with a release in it.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/follow" 'In your own image' 'A release in your image'
