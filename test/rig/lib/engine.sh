# shellcheck shell=bash
# A host's Docker Engine: containerd and dockerd.

# Plugins that only write outside the host's folders, or try file systems that no host of ours has.
CONTAINERD_CONFIG='version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]'

engine() { docker --host "unix://$(engine_socket "$1")" "${@:2}"; }

engine_runs()    { pid_in_host "$1" dockerd > /dev/null; }
engine_answers() { timeout 5 docker --host "unix://$(engine_socket "$1")" version > /dev/null 2>&1; }
answers_on()     { in_network "$1" timeout 5 docker --host "tcp://$2:$ENGINE_PORT" "${@:3}" version > /dev/null 2>&1; }

# Whether it demands certificates stays as it is over a kill and a start.
engine_has_tls() { [ -e "$(host_state "$1")/tls" ]; }

# The same options for the daemon and for its client, each with certificates of its own.
tls_options() {
  local folder
  folder=$(certificates "$1")
  echo --tlsverify --tlscacert "$folder/ca.pem" --tlscert "$folder/cert.pem" --tlskey "$folder/key.pem"
}

engine_is_up() {
  local tls=()
  ! engine_has_tls "$1" || read -ra tls < <(tls_options client)
  engine_answers "$1" && answers_on "$1" "$(host_ipv4 "$1")" "${tls[@]}" && answers_on "$1" "[$(host_ipv6 "$1")]" "${tls[@]}"
}

start_containerd() {
  local state socket
  state=$(host_state "$1")
  socket="$state/containerd.sock"
  pid_in_host "$1" containerd > /dev/null && return
  echo "$CONTAINERD_CONFIG" > "$state/containerd.toml"
  start_in_host "$1" "$state/containerd.log" \
    containerd --config "$state/containerd.toml" --address "$socket" \
    --root "$state/containerd/root" --state "$state/containerd/state"
  wait_until 10 test -S "$socket" || fail "containerd does not start on $(host_name "$1"): see $state/containerd.log"
}

# --live-restore: containers outlive their engine. The cgroup parent tells ours from everybody else's.
# IPv6 needs the experimental ip6tables here, or a container could not reach the other host over it.
start_dockerd() {
  local state tls=(--tls=false)
  state=$(host_state "$1")
  engine_runs "$1" && return
  ! engine_has_tls "$1" || read -ra tls < <(tls_options "host$1")
  echo '{}' > "$state/docker.json"
  # Its number may have passed to another process of the host, and then it would not start.
  rm -f "$state/docker.pid"
  start_in_host "$1" "$(engine_log "$1")" \
    dockerd --config-file "$state/docker.json" --data-root "$(host_cache "$1")/docker" --exec-root "$state/docker" \
    --pidfile "$state/docker.pid" --containerd "$state/containerd.sock" --live-restore "${tls[@]}" \
    --host "unix://$(engine_socket "$1")" \
    --host "tcp://$(host_ipv4 "$1"):$ENGINE_PORT" --host "tcp://[$(host_ipv6 "$1")]:$ENGINE_PORT" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/eid-rig/host$1" \
    --ipv6 --fixed-cidr-v6 fd00:e1d::/64 --experimental --ip6tables
}

settled() { engine_is_up "$1" || ! engine_runs "$1"; }

start_engine() {
  start_containerd "$1"
  start_dockerd "$1"
  # It has to be there first: an engine that is not there counts as one that failed, below.
  wait_until 5 engine_runs "$1" || true
  if ! wait_until 60 settled "$1" || ! engine_is_up "$1"; then
    tail -n 5 "$(engine_log "$1")" >&2
    fail "the engine of $(host_name "$1") does not come up; its log is $(engine_log "$1")"
  fi
}

signal_engine() {
  local pid
  pid=$(pid_in_host "$1" dockerd) || fail "no engine runs on $(host_name "$1")"
  kill "-$2" "$pid"
}

engine_ended() { ! engine_runs "$1"; }

end_engine() {
  signal_engine "$1" "$2"
  wait_until 20 engine_ended "$1" || fail "the engine of $(host_name "$1") does not end"
}

# With `tls` or `plain` TCP addresses: an engine that runs the other way is started anew.
serve_engine() {
  local now=plain
  ! engine_has_tls "$1" || now=tls
  if [ "$now" != "$2" ]; then
    ! engine_runs "$1" || end_engine "$1" TERM
    if [ "$2" = tls ]; then touch "$(host_state "$1")/tls"; else rm "$(host_state "$1")/tls"; fi
  fi
  start_engine "$1"
}

# Containers, networks and volumes; the images stay.
clear_engine() {
  local client=(timeout 60 docker --host "unix://$(engine_socket "$1")")
  "${client[@]}" ps --all --quiet | xargs --no-run-if-empty -n 64 "${client[@]}" rm --force --volumes
  "${client[@]}" network prune --force
  "${client[@]}" volume ls --quiet | xargs --no-run-if-empty "${client[@]}" volume rm --force
} > /dev/null

# An engine that cannot be stopped in peace is ended with its host; what it leaves is cleared when it next comes up.
retire_engine() {
  engine_runs "$1" || return 0
  signal_engine "$1" CONT
  { engine_answers "$1" && clear_engine "$1"; } || return 0
  signal_engine "$1" TERM
  wait_until 5 engine_ended "$1" || true
}
