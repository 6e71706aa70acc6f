#!/usr/bin/env bash
# Installs what `make demo` and `make test` need and a fresh Debian lacks. Removes nothing, starts nothing.
set -euo pipefail

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# package, or package=command where that command will do, wherever it came from.
WANTED=(
  gcc=gcc libc6-dev make=make git=git ca-certificates openssl=openssl
  rebar3=rebar3 erlang-base erlang-dev erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-inets erlang-tools
  erlang-common-test erlang-dialyzer erlang-edoc erlang-eunit erlang-syntax-tools erlang-parsetools erlang-runtime-tools
  erlang-xmerl elixir=mix
  chromium=chromium chromium-driver=chromedriver python3-selenium
  docker.io=dockerd docker-compose=docker-compose python3-yaml podman=podman netavark dnsmasq-base=dnsmasq debootstrap=debootstrap
  iptables=iptables iproute2=ip util-linux=nsenter procps=pgrep
  socat=socat haproxy=haproxy nginx=nginx libnginx-mod-stream redis-server=redis-server redis-tools=redis-cli
)

fail() { echo "packages: $*" >&2; exit 1; }

is_installed() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }

missing() {
  local entry
  for entry in "${WANTED[@]}"; do
    if [[ $entry == *=* ]] && command -v "${entry#*=}" > /dev/null; then continue; fi
    is_installed "${entry%=*}" || echo "${entry%=*}"
  done
}

# The rig runs daemons of its own. A runtime mask keeps systemd from starting Debian's while they are being installed,
# and is gone after a reboot even if this script did not come to lift it; RUNLEVEL does as much for machines without it.
UNITS=(docker.service docker.socket containerd.service
       podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer
       haproxy.service nginx.service redis-server.service)
has_systemd()   { [ -d /run/systemd/system ]; }
mask_daemons()  { ! has_systemd || systemctl mask --runtime --quiet "${UNITS[@]}" 2> /dev/null; }
unmask_daemons() { ! has_systemd || systemctl unmask --runtime --quiet "${UNITS[@]}"; }

# These would be started by the next boot, and take ports that are wanted for other things. One that was there before is left alone.
disable_new() {
  local unit
  for unit in haproxy nginx redis-server; do
    if [[ " $* " == *" $unit "* ]] && command -v systemctl > /dev/null; then
      systemctl disable --quiet "$unit.service" 2> /dev/null || true
    fi
  done
}

install() {
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  trap unmask_daemons EXIT
  mask_daemons
  apt-get update --quiet=2
  apt-get install --quiet=2 --yes --no-install-recommends --no-remove "$@" > /dev/null
  disable_new "$@"
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" -gt 0 ] || exit 0
[ -e /etc/debian_version ] || fail "this is not Debian; install by other means what provides: ${packages[*]}"
[ "$(id -u)" = 0 ] || fail "run this as root, or install: ${packages[*]}"
echo "packages: installing ${packages[*]}"
install "${packages[@]}"
