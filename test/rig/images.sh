#!/usr/bin/env bash
# Makes the root file systems for the rig's containers: one per Debian suite, each with another OTP release. They are
# made once and cached as otp-NN.tar, named by the release found in them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/settings.sh
source "$here/lib/settings.sh"

# Each entry is SUITE=RELEASE, with the release at the time of writing. A suite such as sid moves on.
SUITES=(bookworm=25 trixie=27 sid=29)
PACKAGES=erlang-base,erlang-crypto,erlang-ssl,erlang-public-key,erlang-asn1,erlang-inets,erlang-runtime-tools,erlang-tools,iproute2

# Packages that are unpacked without their dependencies: rebar3 contains what it needs, but depends on all of Erlang.
UNPACKED=(rebar3)

# Paths that a container of the rig never reads.
LEFT_OUT=(./proc/* ./sys/* ./dev/* ./run/* ./tmp/* ./debootstrap ./var/log/* ./var/cache/* ./var/lib/apt/lists/*
          ./usr/share/doc/* ./usr/share/man/* ./usr/share/info/* ./usr/share/locale/* ./usr/share/i18n/*)

contents() { echo "$PACKAGES ${UNPACKED[*]}"; }

# Prints the release that a suite turned out to hold. Fails if the tarball is missing or was made of other packages.
recorded_release() {
  local record="$CACHE/$1.release" packages="$CACHE/$1.packages" release
  [ -s "$record" ] && release=$(<"$record") && [ -s "$CACHE/otp-$release.tar" ] \
    && [ -s "$packages" ] && [ "$(<"$packages")" = "$(contents)" ] && echo "$release"
}

release_in() {
  find "$1/usr/lib/erlang/releases" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' -printf '%f\n' | sort -n | tail -n 1
}

# Runs in its own namespaces (see start_build), so that no mount or process stays behind. The tarball and then its
# records are renamed at the end. Only then does the build count.
build() {
  local suite=$1 folder=$2
  debootstrap --variant=minbase --include="$PACKAGES" "$suite" "$folder/root"
  # shellcheck disable=SC2016  # for the shell in there
  chroot "$folder/root" sh -ec 'cd "$(mktemp --directory)"; for package; do
    apt-get download "$package"; dpkg-deb --extract "$package"_*.deb /; done' sh "${UNPACKED[@]}"
  release_in "$folder/root" > "$folder/release"
  test -s "$folder/release"
  tar --create --file "$folder/root.tar" --directory "$folder/root" --numeric-owner --one-file-system \
      --wildcards "${LEFT_OUT[@]/#/--exclude=}" .
  mv "$folder/root.tar" "$CACHE/otp-$(<"$folder/release").tar"
  contents > "$folder/packages"
  mv "$folder/packages" "$CACHE/$suite.packages"
  mv "$folder/release" "$CACHE/$suite.release"
}

# A shell's background job ignores Ctrl-C, and `unshare --fork` ignores SIGTERM. Therefore end_builds needs the ID
# of the process.
start_build() {
  local suite=$1 folder
  folder=$(mktemp -d "$CACHE/build.$suite.XXXXXX")
  say "making the image of Debian $suite; this takes a minute or two"
  unshare --mount --pid --fork --kill-child --mount-proc \
    "${BASH_SOURCE[0]}" --build "$suite" "$folder" > "$folder/log" 2>&1 &
  builds[$suite]=$!
  folders[$suite]=$folder
}

finish_build() {
  local suite=$1 expected=$2 pid=${builds[$1]} folder=${folders[$1]} release failed=0
  wait "$pid" || failed=1
  unset "builds[$suite]"
  if ((failed)); then
    say "the image of Debian $suite could not be made:"
    tail -n 5 "$folder/log" >&2
    return 1
  fi
  release=$(<"$CACHE/$suite.release")
  [ "$release" = "$expected" ] || say "Debian $suite holds OTP $release now, not $expected; the image is eid-otp:$release"
}

end_builds() {
  for suite in "${!builds[@]}"; do kill -KILL "${builds[$suite]}" 2> /dev/null || true; done
  wait
  rm -rf --one-file-system "$CACHE"/build.*
} 2> /dev/null

# The builds inherit the lock. It is free only when all builds have ended, even if this script was killed.
take_lock() {
  exec 8> "$CACHE/images.lock"
  flock --nonblock 8 || { say "waiting for another build of the images"; flock 8; }
}

main() {
  local entry failed=0
  mkdir -p "$CACHE"
  take_lock
  declare -gA builds=() folders=()
  trap end_builds EXIT
  trap 'exit 130' INT TERM HUP
  rm -rf --one-file-system "$CACHE"/build.*
  for entry in "${SUITES[@]}"; do
    recorded_release "${entry%=*}" > /dev/null || start_build "${entry%=*}"
  done
  for entry in "${SUITES[@]}"; do
    [ -z "${builds[${entry%=*}]:-}" ] || finish_build "${entry%=*}" "${entry#*=}" || failed=1
  done
  return "$failed"
}

if [ "${1:-}" = --build ]; then build "$2" "$3"; else main; fi
