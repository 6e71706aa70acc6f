#!/usr/bin/env bash
# Installs the Debian packages that a make target uses and this machine lacks. It removes no package and starts no
# daemon.
#
# usage: packages.sh build|demo|test|bench
set -euo pipefail

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# An entry is PACKAGE, or PACKAGE=COMMAND if the command is enough, whatever package it came from.
BUILD=(gcc=gcc libc6-dev make=make rebar3=rebar3 erlang-base erlang-dev)
# Packages that the rig needs (rig/README.md) to run two Docker hosts and to make their images.
DEMO=("${BUILD[@]}" docker.io=dockerd debootstrap=debootstrap ca-certificates iptables=iptables iproute2=ip
      util-linux=nsenter procps=pgrep openssl=openssl)
TEST=("${DEMO[@]}" git=git curl=curl erlang-crypto erlang-ssl erlang-public-key erlang-asn1 erlang-inets erlang-tools
      erlang-common-test erlang-dialyzer erlang-edoc erlang-eunit erlang-syntax-tools erlang-parsetools
      erlang-runtime-tools erlang-xmerl elixir=mix chromium=chromium chromium-driver=chromedriver python3-selenium
      docker-compose=docker-compose python3-yaml podman=podman netavark dnsmasq-base=dnsmasq
      redis-server=redis-server redis-tools=redis-cli)
BENCH=("${TEST[@]}" socat=socat haproxy=haproxy nginx=nginx libnginx-mod-stream)

fail() { echo "packages: $*" >&2; exit 1; }

is_installed() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }

# missing ENTRY…: prints the packages that are not installed.
missing() {
  local entry
  for entry; do
    if [[ $entry == *=* ]] && command -v "${entry#*=}" > /dev/null; then continue; fi
    is_installed "${entry%=*}" || echo "${entry%=*}"
  done
}

# The rig runs its own daemons. While Debian's daemons are installed, a runtime mask keeps systemd from starting them.
# The mask ends with the next boot, even if this script was killed. RUNLEVEL=1 has this effect on machines without
# systemd.
UNITS=(docker.service docker.socket containerd.service
       podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer
       haproxy.service nginx.service redis-server.service)
has_systemd()   { [ -d /run/systemd/system ]; }
mask_daemons()  { ! has_systemd || systemctl mask --runtime --quiet "${UNITS[@]}" 2> /dev/null; }
unmask_daemons() { ! has_systemd || systemctl unmask --runtime --quiet "${UNITS[@]}"; }

# The next boot would start these daemons, and they would take well-known ports. A daemon that was installed before
# stays enabled.
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

target=${1:-}
case $target in
  build) wanted=("${BUILD[@]}") ;;
  demo)  wanted=("${DEMO[@]}") ;;
  test)  wanted=("${TEST[@]}") ;;
  bench) wanted=("${BENCH[@]}") ;;
  *)     fail "usage: packages.sh build|demo|test|bench" ;;
esac
mapfile -t packages < <(missing "${wanted[@]}")
[ "${#packages[@]}" -gt 0 ] || exit 0
echo "packages: the target \`$target\` needs these Debian packages: ${packages[*]}"
[ -e /etc/debian_version ] || fail "this machine does not run Debian: install what provides them by other means"
[ "$(id -u)" = 0 ] || fail "to install them, run: sudo test/rig/packages.sh $target"
install "${packages[@]}"
