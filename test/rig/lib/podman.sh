# shellcheck shell=bash
# Runs Podman on a host, beside its dockerd. Images and containers are in the cache, and volatile data is in the host's
# private directories.

podman_state() { echo "$(host_state "$1")/podman"; }
podman_root()  { echo "$(host_cache "$1")/podman"; }

PODMAN_STORAGE=/run/containers/storage
PODMAN_VOLATILE=/run/libpod

# The hosts have no systemd, no journal and no registry.
podman_config() {
  cat << END
[containers]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
pull_policy = "never"
[network]
network_backend = "netavark"
network_config_dir = "$(podman_state "$1")/networks"
END
}

# Podman's default network with IPv6 added. Podman uses this ID for the name `podman`.
PODMAN_NETWORK='{ "name": "podman", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
  "driver": "bridge", "network_interface": "podman0", "created": "2026-01-01T00:00:00Z",
  "subnets": [ { "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" }, { "subnet": "fd00:e1d:88::/64", "gateway": "fd00:e1d:88::1" } ],
  "ipv6_enabled": true, "internal": false, "dns_enabled": false, "ipam_options": { "driver": "host-local" } }'

# The kernel does not allow an overlay on an overlay.
storage_driver() {
  case $(stat -f -c %T "$1") in
    overlayfs) echo vfs ;;
    *)         echo overlay ;;
  esac
}

storage_config() {
  cat << END
[storage]
driver = "$(storage_driver "$(podman_root "$1")")"
graphroot = "$(podman_root "$1")"
runroot = "$PODMAN_STORAGE"
END
}

configure_podman() {
  local state
  state=$(podman_state "$1")
  [ ! -e "$state/containers.conf" ] || return 0
  mkdir -p "$state/networks" "$(podman_root "$1")"
  echo "$PODMAN_NETWORK" > "$state/networks/podman.json"
  storage_config "$1" > "$state/storage.conf"
  podman_config "$1" > "$state/containers.conf"
}

# Prints the command line of podman on a host, one word per line.
podman_words() {
  printf '%s\n' env "CONTAINERS_CONF=$(podman_state "$1")/containers.conf" \
    "CONTAINERS_STORAGE_CONF=$(podman_state "$1")/storage.conf" \
    podman --root "$(podman_root "$1")" --runroot "$PODMAN_STORAGE" --tmpdir "$PODMAN_VOLATILE"
}

# The rig must end a container's control group, and Podman has no setting for the parent group. It has no setting for a
# quiet import either.
podman_client() {
  local host=$1 words
  configure_podman "$host"
  mapfile -t words < <(podman_words "$host")
  case ${2:-} in
    run|create) set -- "$1" "$2" --cgroup-parent "/eid-rig/host$host" "${@:3}" ;;
    # A build's processes have no control group below this one. In the parent group, they would change device
    # permissions of all containers.
    build)      set -- "$1" "$2" --cgroup-parent "/eid-rig/host$host/build" "${@:3}" ;;
    import)     set -- "$1" import --quiet "${@:3}" ;;
  esac
  in_host "$host" "${words[@]}" "${@:2}"
}

# A Podman service has one address, so three services share the storage.
podman_addresses() {
  echo "unix://$(podman_socket "$1")" "tcp://$(podman_ipv4 "$1"):$ENGINE_PORT" "tcp://[$(podman_ipv6 "$1")]:$ENGINE_PORT"
}

# dockerd drops packets that it does not forward itself, so Podman's published ports need a rule.
open_to_podman() {
  local tool rule=(FORWARD --out-interface podman+ --match conntrack --ctstate DNAT --jump ACCEPT)
  for tool in iptables ip6tables; do
    in_network "$1" "$tool" --wait --check "${rule[@]}" 2> /dev/null || in_network "$1" "$tool" --wait --append "${rule[@]}"
  done
}

podman_pids() {
  local init
  init=$(host_init "$1") && pgrep --ns "$init" --nslist pid --full '^podman .* system service '
}

podman_runs()  { podman_pids "$1" > /dev/null; }
podman_ended() { ! podman_runs "$1"; }

podman_is_up() {
  podman_runs "$1" \
    && limited 5 docker --host "unix://$(podman_socket "$1")" version > /dev/null 2>&1 \
    && answers_on "$1" "$(podman_ipv4 "$1")" && answers_on "$1" "[$(podman_ipv6 "$1")]"
}

# Podman writes this file when it is first used on a host that is up.
podman_was_used() { [ -e "/proc/$(host_init "$1")/root$PODMAN_VOLATILE/alive" ]; }

# Removes containers, networks and volumes, but not the images.
clear_podman() {
  local words
  mapfile -t words < <(podman_words "$1")
  in_host "$1" timeout --kill-after=1 15 "${words[@]}" rm --all --force --time 0 --volumes \
    && in_host "$1" timeout --kill-after=1 15 "${words[@]}" network prune --force \
    && in_host "$1" timeout --kill-after=1 15 "${words[@]}" volume prune --force
} > /dev/null

start_podman() {
  local address words anew=yes
  ! podman_runs "$1" || { podman_is_up "$1" && return; end_podman "$1" KILL; }
  ! podman_was_used "$1" || anew=no
  configure_podman "$1"
  [ "$anew" = no ] || clear_podman "$1"
  load_images podman_client "$1"
  mapfile -t words < <(podman_words "$1")
  open_to_podman "$1"
  rm -f "$(podman_socket "$1")"
  for address in $(podman_addresses "$1"); do
    start_in_host "$1" "$(podman_log "$1")" "${words[@]}" system service --time 0 "$address"
  done
  if ! wait_until 20 podman_is_up "$1"; then
    tail -n 5 "$(podman_log "$1")" >&2
    fail "Podman's service on $(host_name "$1") does not come up; its log is $(podman_log "$1")"
  fi
}

end_podman() {
  local pids
  mapfile -t pids < <(podman_pids "$1")
  [ "${#pids[@]}" -gt 0 ] || fail "no Podman service runs on $(host_name "$1")"
  kill "-$2" "${pids[@]}" 2> /dev/null || true
  wait_until 20 podman_ended "$1" || fail "Podman's service on $(host_name "$1") does not end"
}

# Clears Podman's data. If that fails, the rest ends with the host or is cleared when Podman is next used.
retire_podman() {
  ! podman_was_used "$1" || clear_podman "$1" || true
}
