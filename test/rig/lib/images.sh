# shellcheck shell=bash
# Makes the images in an engine of a host from the cached tarballs. The client is `engine` or `podman_client`.

releases() { find "$CACHE" -maxdepth 1 -name 'otp-*.tar' -printf '%f\n' 2> /dev/null | sed 's/[^0-9]//g' | sort -n; }

# Distinguishes tarballs without reading them.
fingerprint() { stat --format '%s-%Y' "$CACHE/otp-$1.tar"; }

loaded_fingerprint() {
  "$1" "$2" image inspect --format '{{index .Config.Labels "eid.rig.tarball"}}' "eid-otp:$3" 2> /dev/null
}

load_image() {
  # shellcheck disable=SC2034  # `engine` reads the limit
  local client=$1 host=$2 release=$3 print limit=180
  print=$(fingerprint "$release")
  [ "$(loaded_fingerprint "$client" "$host" "$release")" != "$print" ] || return 0
  "$client" "$host" import --change "LABEL eid.rig.tarball=$print" "$CACHE/otp-$release.tar" "eid-otp:$release"
  "$client" "$host" image prune --force
}

load_images() {
  local release
  for release in $(releases); do load_image "$1" "$2" "$release"; done
} > /dev/null
