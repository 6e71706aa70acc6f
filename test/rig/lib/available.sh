# shellcheck shell=bash
# Checks whether two hosts can run on this machine.

TOOLS=(dockerd containerd runc docker iptables ip6tables ip sysctl nsenter unshare setsid flock pgrep openssl)

missing_tools() {
  local tool
  for tool in "${TOOLS[@]}"; do command -v "$tool" > /dev/null || echo "$tool"; done
}

# Debian's netavark is not on the PATH.
why_not_podman() {
  command -v podman > /dev/null || { say "Podman cannot be run here: it is not installed"; return; }
  [ -e /usr/lib/podman/netavark ] || [ -e /usr/libexec/podman/netavark ] || { say "Podman cannot be run here: no netavark"; return; }
  return 1
}

why_not_dns() {
  command -v dnsmasq > /dev/null || { say "DNS cannot be served here: dnsmasq is not installed"; return; }
  return 1
}

images_can_be_had() { command -v debootstrap > /dev/null || [ -n "$(releases)" ]; }

# Tries the parts of a host's network (namespaces, veth, bridge and NAT) in a temporary namespace.
networks_work() {
  unshare --net --mount --pid --fork sh -c '
    ip link add eid0 type veth peer name eid1 && ip link add eid2 type bridge && iptables -t nat -S && ip6tables -t nat -S' \
    > /dev/null 2>&1
}

# This file exists only in version 2 of control groups. In version 1 each controller has a directory.
cgroups_work() {
  local root=/sys/fs/cgroup
  [ -e "$root/cgroup.controllers" ] || root=/sys/fs/cgroup/devices
  mkdir "$root/eid-rig-try.$$" 2> /dev/null && rmdir "$root/eid-rig-try.$$"
}

# If something is missing, prints a sentence about it and succeeds.
why_not_available() {
  local tools
  if [ "$(id -u)" != 0 ]; then say "two Docker hosts cannot be run here: that takes root"; return; fi
  tools=$(missing_tools | xargs)
  if [ -n "$tools" ]; then say "two Docker hosts cannot be run here: not installed: $tools"; return; fi
  if ! images_can_be_had; then say "two Docker hosts cannot be run here: no image, and no debootstrap to make one"; return; fi
  if ! networks_work; then say "two Docker hosts cannot be run here: no network namespaces, veth, bridge or NAT"; return; fi
  if ! cgroups_work; then say "two Docker hosts cannot be run here: no control group can be made"; return; fi
  return 1
}
