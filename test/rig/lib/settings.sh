# shellcheck shell=bash
# Names, paths and addresses that the rig's scripts share.
# shellcheck disable=SC2034  # each is used by the scripts that source this file

# dockerd, ip and iptables are in sbin, which is not on a plain user's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# The caller's settings must not lead a client to another daemon.
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH CONTAINER_HOST CONTAINER_CONNECTION

CACHE=${EID_RIG_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/eid-rig}
STATE=${EID_RIG_STATE:-/run/eid-rig}

# Time limit in seconds for an engine's answer that takes no work.
PATIENCE=${EID_RIG_PATIENCE:-10}

HOSTS=(1 2)
ENGINE_PORT=4243
NETWORK_INTERFACE=eth0

host_name()       { echo "eid-host$1"; }
host_state()      { echo "$STATE/host$1"; }
# The namespace is mounted in the state directory. /run/netns has only a link, for `ip netns exec`. Other programs mount
# /run/netns onto itself, and then a mount in it could not be removed.
host_netns()      { echo "$STATE/host$1/netns"; }
host_netns_link() { echo "/run/netns/$(host_name "$1")"; }
host_cache()      { echo "$CACHE/host$1"; }
host_ipv4()       { echo "192.0.2.$1"; }
host_ipv6()       { echo "2001:db8::$1"; }
# Podman serves the same port as dockerd, so it needs other addresses.
podman_ipv4()     { echo "192.0.2.1$1"; }
podman_ipv6()     { echo "2001:db8::1$1"; }
# Subnets of the pods, whose addresses both hosts know: see pods.sh.
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

# limited SECONDS COMMAND…: runs a command with a time limit. ran_out STATUS succeeds if the limit ended the command.
limited() { timeout --kill-after=1 "$@"; }
ran_out() { (($1 == 124 || $1 == 137)); }

# wait_until SECONDS COMMAND…: waits until a command succeeds.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}
