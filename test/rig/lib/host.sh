# shellcheck shell=bash
# A host: a network namespace with a virtual cable to the other host, and in it a mount and a process namespace. An init
# process keeps them alive. When the init process ends, all the host's processes end and its mounts are gone.

# Directories that a daemon writes to regardless of its options. Each host gets its own, empty and in memory. When the
# last of them is mounted, all of them are mounted.
PRIVATE_FOLDERS=(/run/containers /run/libpod /run/runc /run/netns /dev/shm /var/lib/containers /var/cache/containers
                 /run/containerd /run/docker /etc/docker)

# Process 1 of a host only keeps the namespaces alive and reaps orphans.
# shellcheck disable=SC2016  # that shell expands it
HOST_INIT='
  for folder in "${@:2}"; do mount -t tmpfs -o mode=755 tmpfs "$folder" || exit; done
  while :; do sleep infinity & wait; done'

# Prints the process that holds the host. Its arguments identify it: a PID file could be lost when the disk is full, and
# another process could get the PID. `nsenter` becomes `unshare`.
host_keeper() {
  local pid
  for pid in $(pgrep --exact 'nsenter|unshare'); do
    if [[ $({ tr '\0' ' ' < "/proc/$pid/cmdline"; } 2> /dev/null) == *" eid-rig-init $(host_state "$1") "* ]]; then
      echo "$pid"
      return
    fi
  done
  return 1
}

# Prints the PID of the host's process 1, as seen outside the host.
host_init() {
  local keeper
  keeper=$(host_keeper "$1") && pgrep --parent "$keeper"
}

host_is_ready() { [ "$(stat -f -c %T "/proc/$(host_init "$1")/root/etc/docker" 2> /dev/null)" = tmpfs ]; }

in_network() { nsenter --net="$(host_netns "$1")" -- "${@:2}"; }

in_host() {
  local init
  init=$(host_init "$1") || return 1
  nsenter --target "$init" --mount --pid --net -- "${@:2}"
}

# Starts a daemon whose parent is the host's init process, so no process outside has to wait for it. The daemon must not
# inherit the rig's locks.
start_in_host() {
  local host=$1 log=$2
  # shellcheck disable=SC2016  # the inner shell expands these
  in_host "$host" sh -c 'setsid "$@" &' sh "${@:3}" < /dev/null >> "$log" 2>&1 8>&- 9>&-
}

# Prints the PID, as seen outside, of the host's process with this name. Processes in containers have other PID
# namespaces.
pid_in_host() {
  local init
  init=$(host_init "$1") && pgrep --ns "$init" --nslist pid --exact "$2" | head -n 1 | grep .
}

# Makes a directory. If it was missing, its name is recorded first, so that it can be removed again.
make_folder() {
  [ -d "$1" ] || { echo "$1" >> "${STATE:?}/made" && mkdir -p "$1"; }
}

make_namespace() {
  local file
  file=$(host_netns "$1")
  if ! is_namespace "$file"; then
    touch "$file"
    unshare --net="$file" true
  fi
  ln -sfn "$file" "$(host_netns_link "$1")"
  in_network "$1" ip link set lo up
  # Keep the IPv6 address when the link goes down, so that it is there when the link is up again.
  in_network "$1" sysctl --quiet --write net.ipv6.conf.all.keep_addr_on_down=1 net.ipv6.conf.default.keep_addr_on_down=1
}

is_namespace() { [ "$(stat -f -c %T "$1" 2> /dev/null)" = nsfs ]; }

start_init() {
  local state
  state=$(host_state "$1")
  host_keeper "$1" > /dev/null && return
  (
    exec 8>&- 9>&- < /dev/null > "$state/init.log" 2>&1
    exec setsid nsenter --net="$(host_netns "$1")" -- \
      unshare --mount --propagation slave --pid --fork --kill-child --mount-proc \
      bash -c "$HOST_INIT" eid-rig-init "$state" "${PRIVATE_FOLDERS[@]}"
  ) &
  wait_until 10 host_is_ready "$1" || fail "$(host_name "$1") does not come up: $(cat "$state/init.log")"
}

has_link() { in_network "$1" ip link show "$NETWORK_INTERFACE" > /dev/null 2>&1; }

# Both ends are created in their namespaces, so the machine's own network never sees them.
make_link() {
  has_link 1 && has_link 2 && return
  in_network 1 ip link add "$NETWORK_INTERFACE" type veth peer name "$NETWORK_INTERFACE" netns "$(host_netns 2)"
}

raise_link() {
  local host
  for host in "${HOSTS[@]}"; do
    in_network "$host" ip address replace "$(host_ipv4 "$host")/24" dev "$NETWORK_INTERFACE"
    in_network "$host" ip link set "$NETWORK_INTERFACE" up
    in_network "$host" ip -6 address replace "$(host_ipv6 "$host")/64" dev "$NETWORK_INTERFACE" nodad
    # Podman's addresses accept connections, but no connection starts from them.
    in_network "$host" ip address replace "$(podman_ipv4 "$host")/32" dev "$NETWORK_INTERFACE"
    in_network "$host" ip -6 address replace "$(podman_ipv6 "$host")/128" dev "$NETWORK_INTERFACE" nodad preferred_lft 0
  done
}

# Host 2 loses its interface. Host 1 loses the carrier: its packets get no answer.
cut_link() { in_network 2 ip link set "$NETWORK_INTERFACE" down; }

make_hosts() {
  local host folder
  make_folder /run/netns
  for folder in "${PRIVATE_FOLDERS[@]}"; do make_folder "$folder"; done
  for host in "${HOSTS[@]}"; do
    mkdir -p "$(host_state "$host")" "$(host_cache "$host")"
    make_namespace "$host"
  done
  make_link
  raise_link
  for host in "${HOSTS[@]}"; do start_init "$host"; done
}

# A frozen container (docker pause) would not end even on SIGKILL.
thaw() {
  local file
  for file in $(cgroup_folders "$1" | sed 's,$,/freezer.state,'); do
    [ ! -e "$file" ] || echo THAWED > "$file"
  done
}

# Lists the deepest directories first, in every hierarchy.
cgroup_folders() { find /sys/fs/cgroup -depth -type d -path "*/eid-rig/host$1*" 2> /dev/null || true; }

# A zombie counts as ended, because only its parent can reap it.
gone() { ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2> /dev/null; }

kill_and_wait() {
  kill -KILL "$1" 2> /dev/null || true
  wait_until 10 gone "$1" || say "process $1 does not end"
}

end_init() {
  local init keeper
  thaw "$1"
  if init=$(host_init "$1"); then kill_and_wait "$init"; fi
  if keeper=$(host_keeper "$1"); then kill_and_wait "$keeper"; fi
}

# Prints all processes in the host's network. Processes of `rig exec` are among them, and the host's init process does
# not end these.
pids_in_network() {
  find /proc -mindepth 3 -maxdepth 3 -path '/proc/[0-9]*/ns/net' -lname "net:\\[$(stat --dereference --format %i "$1")\\]" 2> /dev/null \
    | cut -d / -f 3
}

end_namespace() {
  local file pid
  file=$(host_netns "$1")
  if is_namespace "$file"; then
    for pid in $(pids_in_network "$file"); do kill_and_wait "$pid"; done
    umount "$file"
  fi
  rm -f "$(host_netns_link "$1")"
}

end_cgroups() {
  local folder
  for folder in $(cgroup_folders "$1"); do rmdir "$folder" 2> /dev/null || true; done
  for folder in /sys/fs/cgroup/eid-rig /sys/fs/cgroup/*/eid-rig; do rmdir "$folder" 2> /dev/null || true; done
}

end_host() {
  end_init "$1"
  end_namespace "$1"
  end_cgroups "$1"
  rm -rf --one-file-system "$(host_state "$1")"
}

end_folders() {
  local folder
  [ ! -e "$STATE/made" ] || while read -r folder; do rmdir "$folder" 2> /dev/null || true; done < "$STATE/made"
  rm -rf --one-file-system "$STATE"
}
