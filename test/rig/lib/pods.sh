# shellcheck shell=bash
# A network in which containers of both hosts reach each other at their own addresses, as on an overlay or in a cluster
# of pods. Each host has a Docker network and a route to the other host's. No address is translated.

POD_NETWORK=eid-pods

# The bridge has the name of the network.
make_pod_network() {
  engine "$1" network inspect "$POD_NETWORK" > /dev/null 2>&1 && return
  engine "$1" network create --ipv6 --subnet "$(pod_subnet "$1")" --subnet "$(pod_subnet6 "$1")" \
    --opt "com.docker.network.bridge.name=$POD_NETWORK" --opt com.docker.network.bridge.enable_ip_masquerade=false \
    "$POD_NETWORK" > /dev/null
}

# Sets or deletes the routes to the other host's pods.
pod_routes() {
  local other=$((3 - $1))
  in_network "$1" ip route "$2" "$(pod_subnet "$other")" via "$(host_ipv4 "$other")"
  in_network "$1" ip -6 route "$2" "$(pod_subnet6 "$other")" via "$(host_ipv6 "$other")"
}

# Docker drops packets to unpublished ports. Its chain for user rules exists for IPv6 only in some versions.
open_to_pods() {
  local tool chain rule=(--out-interface "$POD_NETWORK" --jump ACCEPT)
  for tool in iptables ip6tables; do
    if in_network "$1" "$tool" --wait --list-rules DOCKER-USER > /dev/null 2>&1; then chain=DOCKER-USER; else chain=FORWARD; fi
    in_network "$1" "$tool" --wait --check "$chain" "${rule[@]}" 2> /dev/null \
      || in_network "$1" "$tool" --wait --insert "$chain" "${rule[@]}"
  done
}

close_to_pods() {
  local tool chain rule=(--out-interface "$POD_NETWORK" --jump ACCEPT)
  for tool in iptables ip6tables; do
    for chain in DOCKER-USER FORWARD; do in_network "$1" "$tool" --wait --delete "$chain" "${rule[@]}" 2> /dev/null || true; done
  done
}

raise_pods() {
  make_pod_network "$1" || fail "the pods' network of $(host_name "$1") cannot be made"
  pod_routes "$1" replace
  open_to_pods "$1"
}

# Docker refuses this while containers are on the network.
end_pods() {
  close_to_pods "$1"
  pod_routes "$1" delete 2> /dev/null || true
  ! engine "$1" network inspect "$POD_NETWORK" > /dev/null 2>&1 || engine "$1" network rm "$POD_NETWORK" > /dev/null
}
