# shellcheck shell=bash
# A host's Docker Engine: containerd and dockerd.

# Plugins that write outside the host's directories, or that try file systems that no host has.
CONTAINERD_CONFIG='version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]'

# Runs a docker command with a time limit, in seconds: the caller's `limit`, or three times PATIENCE. Reports a timeout
# as a hang of the engine.
engine() {
  local status=0
  limited "${limit:-$((3 * PATIENCE))}" docker --host "unix://$(engine_socket "$1")" "${@:2}" || status=$?
  ! ran_out "$status" || say "the engine of $(host_name "$1") hangs at \`docker ${*:2}\`; its log is $(engine_log "$1")"
  return "$status"
}

engine_runs()    { pid_in_host "$1" dockerd > /dev/null; }
engine_answers() { limited 5 docker --host "unix://$(engine_socket "$1")" version > /dev/null 2>&1; }
answers_on()     { in_network "$1" timeout --kill-after=1 5 docker --host "tcp://$2:$ENGINE_PORT" "${@:3}" version > /dev/null 2>&1; }

# Succeeds if an engine runs but does not answer. In a deadlock, an engine still prints its version and lists its
# containers. The `inspect` commands take the lock of each network and of each container, so they hang, too.
engine_hangs() {
  local limit=$PATIENCE list ids status
  engine_runs "$1" || return
  engine "$1" version || { ! ran_out $? || return 0; }
  for list in 'network ls' 'container ls --all'; do
    status=0
    # shellcheck disable=SC2086  # many words
    { ids=$(engine "$1" $list --quiet) && [ -n "$ids" ] && engine "$1" "${list% ls*}" inspect $ids; } || status=$?
    ! ran_out "$status" || return 0
  done
  return 1
} > /dev/null 2>&1

# The file records whether the engine demands certificates, so kill and start do not change that.
engine_has_tls() { [ -e "$(host_state "$1")/tls" ]; }

# The daemon and its client have the same options, but each has its own certificates.
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

# --live-restore: containers outlive their engine. The cgroup parent identifies the rig's containers. IPv6 needs the
# experimental ip6tables. Without them, a container could not reach the other host over IPv6.
start_dockerd() {
  local state tls=(--tls=false)
  state=$(host_state "$1")
  engine_runs "$1" && return
  ! engine_has_tls "$1" || read -ra tls < <(tls_options "host$1")
  echo '{}' > "$state/docker.json"
  # If another process of the host had the PID in this file, dockerd would not start.
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
  # Wait for the process first: `settled` takes an engine without a process as failed.
  wait_until 5 engine_runs "$1" || true
  if ! wait_until 60 settled "$1" || ! engine_is_up "$1"; then
    tail -n 5 "$(engine_log "$1")" >&2
    fail "the engine of $(host_name "$1") does not come up; its log is $(engine_log "$1")"
  fi
}

# An earlier run that was killed, or that filled the disk, can leave data with which the engine does not start. The data
# is only a cache, because the images are imported again.
rebuild_engine() {
  local containerd
  say "$(host_name "$1") gets a new data folder for its engine"
  ! engine_runs "$1" || end_engine "$1" KILL
  if containerd=$(pid_in_host "$1" containerd); then kill_and_wait "$containerd"; fi
  rm -rf --one-file-system "$(host_cache "$1")/docker" "$(host_state "$1")/containerd" "$(host_state "$1")/containerd.sock"
  start_engine "$1"
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

# Starts the engine with `tls` or `plain` TCP addresses. If it runs in the other mode, restarts it.
serve_engine() {
  local now=plain
  ! engine_has_tls "$1" || now=tls
  if [ "$now" != "$2" ]; then
    ! engine_runs "$1" || end_engine "$1" TERM
    if [ "$2" = tls ]; then touch "$(host_state "$1")/tls"; else rm "$(host_state "$1")/tls"; fi
  fi
  start_engine "$1"
}

# Records the state of an engine that hangs. It writes the stacks of its goroutines to files, and these are appended to
# a copy of its log that `rig down` keeps.
note_hang() {
  local stacks
  stacks="$(host_state "$1")/docker/goroutine-stacks-*.log"
  signal_engine "$1" CONT
  signal_engine "$1" USR1
  wait_until 3 compgen -G "$stacks" > /dev/null && sleep 0.2
  # shellcheck disable=SC2086  # a pattern
  cat "$(engine_log "$1")" $stacks > "$(hang_log "$1")" 2> /dev/null || true
  say "the engine of $(host_name "$1") hangs; its log, with what it waits for, is kept as $(hang_log "$1")"
}

# Restarts dockerd and containerd, because either can be the cause. Containers outlive both.
revive_engine() {
  local containerd
  note_hang "$1"
  end_engine "$1" KILL
  if containerd=$(pid_in_host "$1" containerd); then kill_and_wait "$containerd"; fi
  # start_containerd would take the old socket for the new one.
  rm -f "$(host_state "$1")/containerd.sock"
  start_engine "$1"
}

# Continues daemons that were only paused.
continue_engine() {
  local name pid
  for name in containerd dockerd; do
    if pid=$(pid_in_host "$1" "$name"); then kill -CONT "$pid"; fi
  done
}

heal_engine() {
  engine_runs "$1" || return 0
  continue_engine "$1"
  ! engine_hangs "$1" || revive_engine "$1"
}

# Removes containers, networks and volumes, but not the images. One container after the other: see remove_containers.
clear_engine() {
  local limit=${limit:-15} client=(docker --host "unix://$(engine_socket "$1")")
  limited "$limit" "${client[@]}" ps --all --quiet \
    | limited "$limit" xargs --no-run-if-empty -n 1 "${client[@]}" rm --force --volumes \
    && limited "$limit" "${client[@]}" network prune --force \
    && limited "$limit" "${client[@]}" volume ls --quiet \
    | limited "$limit" xargs --no-run-if-empty "${client[@]}" volume rm --force
} > /dev/null

# remove_containers HOST ID…: removes one container after the other. Up to 20.10.26, dockerd may deadlock when several
# containers leave a user-defined network at once (moby/moby#46661). If the engine hangs nevertheless, it is restarted
# once.
remove_containers() {
  local host=$1 id failed=0 revived=no status
  for id in "${@:2}"; do
    status=0
    engine "$host" rm --force "$id" || status=$?
    if ran_out "$status" && [ "$revived" = no ]; then
      revived=yes status=0
      (take_lock; ! engine_hangs "$host" || revive_engine "$host")
      # The container may be gone already.
      engine "$host" rm --force "$id" || ! engine "$host" container inspect "$id" || status=1
    fi
    ! ran_out "$status" || return "$status"
    ((status == 0)) || failed=1
  done
  return "$failed"
} > /dev/null

# Stops an engine cleanly. If that fails, the engine ends with its host, and its next start clears the rest.
retire_engine() {
  engine_runs "$1" || return 0
  continue_engine "$1"
  if ! engine_hangs "$1" && clear_engine "$1"; then
    signal_engine "$1" TERM
    wait_until 5 engine_ended "$1" || true
  elif engine_hangs "$1"; then
    note_hang "$1"
  fi
}
