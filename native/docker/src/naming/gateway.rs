//! The default gateway of this process's network. For a container on a Docker bridge this is its host.

use std::fs::read_to_string;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The flags of a route that is in use, has a gateway, or refuses packets: `RTF_UP`, `RTF_GATEWAY` and `RTF_REJECT` in Linux's
/// `uapi/linux/route.h` and `uapi/linux/ipv6_route.h`.
const UP: u32 = 0x0001;
const GATEWAY: u32 = 0x0002;
const REJECT: u32 = 0x0200;

/// The gateway of the default route of IPv4, or else of IPv6. `None` without such a route, as in an internal network, and on
/// other systems than Linux.
pub fn default_gateway() -> Option<IpAddr> {
    let read = |file| read_to_string(file).unwrap_or_default();
    gateway(&read("/proc/net/route"), || read("/proc/net/ipv6_route"))
}

pub(crate) fn gateway(ipv4: &str, ipv6: impl FnOnce() -> String) -> Option<IpAddr> {
    best(ipv4.lines().filter_map(ipv4_route)).or_else(|| best(ipv6().lines().filter_map(ipv6_route)))
}

/// The kernel takes the first route with the lowest metric.
fn best(routes: impl Iterator<Item = (u32, IpAddr)>) -> Option<IpAddr> {
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// Metric and gateway of a default route: `Iface Destination Gateway Flags RefCnt Use Metric Mask …` (`fib_route_seq_show` in
/// Linux's `net/ipv4/fib_trie.c`). Addresses are numbers in the machine's own byte order.
fn ipv4_route(line: &str) -> Option<(u32, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else {
        return None;
    };
    let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
    let is_default = hex(destination)? == 0 && hex(mask)? == 0 && leads_on(hex(flags)?) && !gateway.is_unspecified();
    is_default.then_some((metric.parse().ok()?, gateway.into()))
}

/// `destination length source length gateway metric refcnt use flags iface` (`rt6_info_route` in Linux's
/// `net/ipv6/ip6_fib.c`). A link-local address alone is not enough to dial a gateway.
fn ipv6_route(line: &str) -> Option<(u32, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [destination, length, _, _, gateway, metric, _, _, flags, _] = fields[..] else {
        return None;
    };
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from);
    let gateway = address(gateway)?;
    let is_default = address(destination)?.is_unspecified() && hex(length)? == 0 && leads_on(hex(flags)?);
    let is_usable = !gateway.is_unspecified() && !gateway.is_unicast_link_local();
    (is_default && is_usable).then_some((hex(metric)?, gateway.into()))
}

fn leads_on(flags: u32) -> bool {
    flags & (UP | GATEWAY | REJECT) == UP | GATEWAY
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
#[path = "../../tests/unit/gateway.rs"]
mod tests;
