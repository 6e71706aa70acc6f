//! The default gateway of the network that this process is in: for a container on a Docker bridge that is its host.

use std::fs::read_to_string;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The route is in use, goes through a gateway, or refuses packets (`RTF_UP`, `RTF_GATEWAY` and `RTF_REJECT` in Linux's
/// `uapi/linux/route.h` and `uapi/linux/ipv6_route.h`).
const UP: u32 = 0x0001;
const GATEWAY: u32 = 0x0002;
const REJECT: u32 = 0x0200;

/// The gateway of the default route, of IPv4 if there is one, otherwise of IPv6. `None` where there is no such route, as in
/// an internal network, and outside of Linux.
pub fn default_gateway() -> Option<IpAddr> {
    let read = |file| read_to_string(file).unwrap_or_default();
    gateway(&read("/proc/net/route"), || read("/proc/net/ipv6_route"))
}

pub(crate) fn gateway(ipv4: &str, ipv6: impl FnOnce() -> String) -> Option<IpAddr> {
    best(ipv4.lines().filter_map(ipv4_route)).or_else(|| best(ipv6().lines().filter_map(ipv6_route)))
}

/// The one that the kernel takes: the lowest metric, and the first of those.
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
/// `net/ipv6/ip6_fib.c`). A link-local gateway can't be dialled by its address alone.
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
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn ipv4(ip: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(ip))
    }

    fn line(destination: [u8; 4], gateway: [u8; 4], flags: &str, metric: u32, mask: [u8; 4]) -> String {
        let [destination, gateway, mask] = [destination, gateway, mask].map(ipv4);
        format!("eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0   \n")
    }

    fn found(ipv4: &str, ipv6: &str) -> Option<String> {
        gateway(ipv4, || ipv6.to_owned()).map(|ip| ip.to_string())
    }

    #[test]
    fn the_default_route() {
        let ours = line([172, 17, 0, 0], [0; 4], "0001", 0, [255, 255, 0, 0]);
        let default = line([0; 4], [172, 17, 0, 1], "0003", 0, [0; 4]);
        let other = line([0; 4], [10, 0, 0, 1], "0003", 100, [0; 4]);
        for table in [
            format!("{HEAD}{default}{ours}"),
            format!("{HEAD}{ours}{default}"),
            format!("{HEAD}{other}{default}"),
            format!("{default}{other}{default}"),
            default.clone(),
        ] {
            assert_eq!(found(&table, "").as_deref(), Some("172.17.0.1"), "{table}");
        }
        assert_eq!(found(&format!("{HEAD}{other}{ours}"), "").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn tables_without_one() {
        for table in [
            String::new(),
            HEAD.to_owned(),
            "garbage\n\n0 0 0 0 0 0 0 0\n".to_owned(),
            // a network, half of the Internet, a device without a gateway, a route that is down or refuses
            line([172, 17, 0, 0], [172, 17, 0, 1], "0003", 0, [255, 255, 0, 0]),
            line([0; 4], [172, 17, 0, 1], "0003", 0, [128, 0, 0, 0]),
            line([0; 4], [0; 4], "0001", 0, [0; 4]),
            line([0; 4], [0; 4], "0003", 0, [0; 4]),
            line([0; 4], [172, 17, 0, 1], "0002", 0, [0; 4]),
            line([0; 4], [172, 17, 0, 1], "0203", 0, [0; 4]),
            // no numbers
            line([0; 4], [172, 17, 0, 1], "000G", 0, [0; 4]),
            "eth0 00000000 0100000000 0003 0 0 0 00000000 0 0 0".to_owned(),
            "eth0 00000000 010011AC 0003 0 0 x 00000000 0 0 0".to_owned(),
        ] {
            assert_eq!(found(&table, ""), None, "{table}");
        }
    }

    #[test]
    fn where_there_is_no_ipv4() {
        let zero = "0".repeat(32);
        let line = |gateway: &str, metric: &str, flags: &str| {
            format!("{zero} 00 {zero} 00 {gateway} {metric} 00000001 00000000 {flags}     eth0\n")
        };
        let (one, two) = ("fd000e1d000000000000000000000001", "fd000e1d000000000000000000000002");
        let table = line(&zero, "ffffffff", "00200200")
            + &line(two, "00000400", "00000003")
            + &line(one, "00000100", "00000003");
        assert_eq!(found(HEAD, &table).as_deref(), Some("fd00:e1d::1"));
        for none in [
            line("fe800000000000000000000000000001", "00000400", "00000003"),
            line(&zero, "00000400", "00000003"),
            line(one, "00000400", "00000001"),
            line(one, "00000400", "00000203"),
            line(one, "00000400", "00000003").replacen("00 ", "40 ", 1),
            line(one, "00000400", "00000003").replace("eth0", ""),
        ] {
            assert_eq!(found(HEAD, &none), None, "{none}");
        }
        let ipv4 = super::tests::line([0; 4], [172, 17, 0, 1], "0003", 0, [0; 4]);
        assert_eq!(found(&ipv4, &table).as_deref(), Some("172.17.0.1"));
    }
}
