# shellcheck shell=bash
# A DNS server (dnsmasq) on each host, for containers that are started with `--dns` and the host's address.
# It knows only the names in the rig's DNS directory, and asks no other server. Both hosts read the same directory:
#
#   hosts/    Files of lines "ADDRESS NAME". A name can have several addresses.
#             A new or changed file takes effect at once.
#   records   Lines in dnsmasq's format, such as srv-host=_erlang._tcp.shop.eid.test,c1.eid.test,32768.
#             A change takes effect after a reload.

DNS_DOMAIN=eid.test

dns_folder() { echo "$STATE/dns"; }
dns_log()    { echo "$(host_state "$1")/dnsmasq.log"; }

dns_runs()   { pid_in_host "$1" dnsmasq > /dev/null; }
dns_ended()  { ! dns_runs "$1"; }

# All records have the same time to live.
start_dns() {
  local host=$1 ttl=$2
  start_in_host "$host" "$(dns_log "$host")" \
    dnsmasq --keep-in-foreground --conf-file="$(dns_folder)/records" --pid-file= --user=root --log-facility=- \
    --no-resolv --no-hosts --no-poll --local-service --hostsdir="$(dns_folder)/hosts" --local="/$DNS_DOMAIN/" --local-ttl="$ttl" \
    --bind-interfaces --except-interface=lo --listen-address="$(host_ipv4 "$host")" --listen-address="$(host_ipv6 "$host")"
  wait_until 5 dns_answers "$host" || fail "the DNS server of $(host_name "$host") does not start; its log is $(dns_log "$host")"
}

# dnsmasq listens on TCP once it has read everything.
dns_answers() {
  in_network "$1" timeout 1 bash -c "exec 3<>/dev/tcp/$(host_ipv4 "$1")/53" 2> /dev/null
}

end_dns() {
  local pid
  pid=$(pid_in_host "$1" dnsmasq) || return 0
  kill "$pid"
  wait_until 5 dns_ended "$1" || fail "the DNS server of $(host_name "$1") does not end"
}

make_dns_folder() {
  mkdir -p "$(dns_folder)/hosts"
  touch "$(dns_folder)/records"
}
