# shellcheck shell=bash
# A host's Docker Engine: containerd and dockerd.

# Plugins that only write outside the host's folders, or try file systems that no host of ours has.
CONTAINERD_CONFIG='version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]'

# For so many seconds, or what a caller's `limit` says; longer than that, an engine hangs.
engine() {
  local status=0
  limited "${limit:-$((3 * PATIENCE))}" docker --host "unix://$(engine_socket "$1")" "${@:2}" || status=$?
  ! ran_out "$status" || say "the engine of $(host_name "$1") hangs at \`docker ${*:2}\`; its log is $(engine_log "$1")"
  return "$status"
}

engine_runs()    { pid_in_host "$1" dockerd > /dev/null; }
engine_answers() { limited 5 docker --host "unix://$(engine_socket "$1")" version > /dev/null 2>&1; }
answers_on()     { in_network "$1" timeout --kill-after=1 5 docker --host "tcp://$2:$ENGINE_PORT" "${@:3}" version > /dev/null 2>&1; }

# Whether an engine runs, but has no answer. One whose locks wait for each other still tells its version, and lists its containers: what
# is asked for here takes the lock of each network and of each container.
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

# An earlier run that was killed, or that filled the disk, can leave data that the engine does not start with. They are
# in the cache only: the images are imported again.
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

# What an engine that hangs is doing: the stacks of its goroutines go to its log, and the log to where `rig down` leaves it.
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

# Whichever of the two it is; the containers outlive both.
revive_engine() {
  local containerd
  note_hang "$1"
  end_engine "$1" KILL
  if containerd=$(pid_in_host "$1" containerd); then kill_and_wait "$containerd"; fi
  # Or it would count as the new one's.
  rm -f "$(host_state "$1")/containerd.sock"
  start_engine "$1"
}

# What was only paused needs no more than to go on.
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

# Containers, networks and volumes; the images stay. One container after the other: see remove_containers.
clear_engine() {
  local limit=${limit:-15} client=(docker --host "unix://$(engine_socket "$1")")
  limited "$limit" "${client[@]}" ps --all --quiet \
    | limited "$limit" xargs --no-run-if-empty -n 1 "${client[@]}" rm --force --volumes \
    && limited "$limit" "${client[@]}" network prune --force \
    && limited "$limit" "${client[@]}" volume ls --quiet \
    | limited "$limit" xargs --no-run-if-empty "${client[@]}" volume rm --force
} > /dev/null

# remove_containers HOST ID…: one after the other, because up to 20.10.26 dockerd may wait for itself for ever when several leave a
# network of the user's at once (moby/moby#46661). If it does that all the same, it is started anew, once.
remove_containers() {
  local host=$1 id failed=0 revived=no status
  for id in "${@:2}"; do
    status=0
    engine "$host" rm --force "$id" || status=$?
    if ran_out "$status" && [ "$revived" = no ]; then
      revived=yes status=0
      (take_lock; ! engine_hangs "$host" || revive_engine "$host")
      # It may have been as good as gone.
      engine "$host" rm --force "$id" || ! engine "$host" container inspect "$id" || status=1
    fi
    ! ran_out "$status" || return "$status"
    ((status == 0)) || failed=1
  done
  return "$failed"
} > /dev/null

# An engine that cannot be stopped in peace is ended with its host; what it leaves is cleared when it next comes up.
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
