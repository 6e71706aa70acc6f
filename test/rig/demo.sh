#!/usr/bin/env bash
# `make demo`: two Erlang nodes, in containers on two Docker hosts, find each other. With KEEP=1 the containers stay up,
# so you can try things.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
app=$(cd "$here/../.." && pwd)/_build/default/lib/eid
rig=$here/rig
erlang_port=12345
label=eid.demo=$$
flags='-pa /opt/eid/ebin -proto_dist eid_tcp -start_epmd false -setcookie demo'

fail() { echo "demo: $*" >&2; exit 1; }
row()  { printf '  %-10s %s\n' "$@"; }

address_of() { "$rig" info | sed -n "s/^host$1\.ipv4=//p"; }

# Starts a node and prints the container's ID. The application's priv directory is a symbolic link to a place outside,
# so it needs its own mount.
start_node() {
  local host=$1 release=$2 address
  address=$(address_of "$host")
  "$rig" docker "$host" run --detach --label "$label" --publish "$address::$erlang_port" \
    --volume "$app/ebin:/opt/eid/ebin:ro" --volume "$(realpath "$app/priv"):/opt/eid/priv:ro" "eid-otp:$release" \
    sh -c "exec erl -noinput $flags -name \$HOSTNAME@$address" | cut -c 1-12
}

# call HOST 'MODULE FUNCTION [ARGUMENTS]': calls a function on that host's node, through its distribution port.
call() {
  "$rig" docker "$1" exec "${container[$1]}" erl_call -address "127.0.0.1:$erlang_port" -c demo -a "$2"
}

wait_for_node() {
  local host=$1 deadline=$((SECONDS + 20))
  until call "$host" 'erlang node []' > /dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      "$rig" docker "$host" logs "${container[$host]}" >&2
      fail "the node on host $host does not answer"
    fi
    sleep 0.1
  done
}

show_host() {
  local host=$1
  echo "Host $host, $(address_of "$host")"
  row container "${container[$host]}, Erlang/OTP ${release[$host]}"
  row node "${node[$host]}"
  row published "$("$rig" docker "$host" port "${container[$host]}" | xargs)"
  row processes "$(processes "$host")"
  echo
}

processes() { "$rig" docker "$1" top "${container[$1]}" -eo pid,comm | awk 'NR > 1 { print $2 }' | xargs; }

show_connection() {
  local from=$1 to=$2
  echo "Host $from to host $to"
  row ping "net_adm:ping('${node[$to]}') -> ${answer[$from]}"
  row rpc "rpc:call(..., erlang, system_info, [otp_release]) -> $(call "$from" "rpc call ['${node[$to]}', erlang, system_info, [otp_release]]")"
  row nodes "nodes() -> $(call "$from" 'erlang nodes []')"
  echo
}

# The hostname of a container has no domain, so a remote shell cannot make a long name from it. The flag -name sets the
# host's address.
show_commands() {
  cat << END
The hosts are still up. A remote shell on host 1, and what to try there:
  $rig docker 1 exec -it ${container[1]} erl -remsh ${node[1]} -name undefined@${node[1]#*@} $flags
  net_adm:ping('${node[2]}').
The other host's containers, and its network:
  $rig docker 2 ps
  $rig exec 2 ip address
To take it all down:
  $rig down
END
}

# Takes down the demo's containers. The hosts stay up if they were up before.
clean_up() {
  local host
  trap '' INT TERM HUP
  [ "${KEEP:-}" != 1 ] || return 0
  if [ "$were_up" = yes ]; then
    for host in 1 2; do
      "$rig" docker "$host" ps --all --quiet --filter "label=$label" \
        | xargs --no-run-if-empty "$rig" docker "$host" rm --force > /dev/null
    done
  else
    "$rig" down
  fi
}

[ -e "$app/ebin/eid.app" ] || fail "$app is not built; \`make demo\` does that first"
"$rig" available

declare -A container=() node=() release=() answer=()
if [[ $("$rig" info) == *engine.state=up* ]]; then were_up=yes; else were_up=no; fi
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

"$rig" up
release=([1]=$("$rig" releases | sed -n 1p) [2]=$("$rig" releases | sed -n '$p'))
for host in 1 2; do
  container[$host]=$(start_node "$host" "${release[$host]}")
  node[$host]=${container[$host]}@$(address_of "$host")
done
for host in 1 2; do wait_for_node "$host"; done

echo
for host in 1 2; do show_host "$host"; done
answer[1]=$(call 1 "net_adm ping ['${node[2]}']")
answer[2]=$(call 2 "net_adm ping ['${node[1]}']")
show_connection 1 2
show_connection 2 1
[ "${KEEP:-}" != 1 ] || show_commands

for host in 1 2; do
  [ "${answer[$host]}" = pong ] || fail "the node on host $host got ${answer[$host]}, not pong"
  seen=$(processes "$host")
  [[ $seen == *beam.smp* && $seen != *epmd* ]] || fail "on host $host, expected a node and no epmd, found: $seen"
done
