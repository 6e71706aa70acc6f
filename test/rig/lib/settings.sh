# shellcheck shell=bash
# Names, paths and addresses that the rig's scripts share.
# shellcheck disable=SC2034  # each is used by the scripts that source this file

# dockerd, ip and iptables live in sbin, which a plain user's PATH leaves out.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# A caller's own settings must not lead a client to another daemon.
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH CONTAINER_HOST CONTAINER_CONNECTION

CACHE=${EID_RIG_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/eid-rig}
STATE=${EID_RIG_STATE:-/run/eid-rig}

# Seconds that an engine has for an answer that takes no work.
PATIENCE=${EID_RIG_PATIENCE:-10}

HOSTS=(1 2)
ENGINE_PORT=4243
NETWORK_INTERFACE=eth0

host_name()       { echo "eid-host$1"; }
host_state()      { echo "$STATE/host$1"; }
# The namespace is mounted in the state folder. In /run/netns there is only a link, for `ip netns exec`: other programs mount
# that folder onto itself, and then a mount in it could not be removed.
host_netns()      { echo "$STATE/host$1/netns"; }
host_netns_link() { echo "/run/netns/$(host_name "$1")"; }
host_cache()      { echo "$CACHE/host$1"; }
host_ipv4()       { echo "192.0.2.$1"; }
host_ipv6()       { echo "2001:db8::$1"; }
# Podman serves the same port as dockerd, so it has addresses of its own.
podman_ipv4()     { echo "192.0.2.1$1"; }
podman_ipv6()     { echo "2001:db8::1$1"; }
# Where containers have addresses that both hosts know: see pods.sh.
pod_subnet()      { echo "10.77.$1.0/24"; }
pod_subnet6()     { echo "fd00:e1d:77:$1::/64"; }
engine_socket()   { echo "$STATE/host$1/docker.sock"; }
engine_log()      { echo "$STATE/host$1/dockerd.log"; }
hang_log()        { echo "$CACHE/host$1/hang.log"; }
podman_socket()   { echo "$STATE/host$1/podman.sock"; }
podman_log()      { echo "$STATE/host$1/podman.log"; }
certificates()    { echo "$STATE/tls/$1"; }

say()  { echo "rig: $*" >&2; }
fail() { say "$*"; exit 1; }

# limited SECONDS COMMAND…; ran_out says of its status whether it was ended.
limited() { timeout --kill-after=1 "$@"; }
ran_out() { (($1 == 124 || $1 == 137)); }

# Waits until a command succeeds: wait_until SECONDS COMMAND…
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}
