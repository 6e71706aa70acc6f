//! How to dial a container: a pure function of what is known of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::container::{Attachment, Binding};
use crate::{Container, Error};

/// Where to dial, and why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it relies on.
    pub kind: RouteKind,
    /// The address and the port.
    pub to: SocketAddr,
}

/// What a route relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// It is the container that this process runs in.
    Loopback,
    /// The container uses its host's network: the Erlang port at the host's address.
    Host,
    /// Both containers are on the same engine and in the same Docker network: the container's own address there.
    Bridge,
    /// The host's port on which the Erlang port was published.
    Published,
}

impl RouteKind {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Host => "host",
            Self::Bridge => "bridge",
            Self::Published => "published",
        }
    }
}

/// When to take a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// Wherever there is one: it spares the detour through the host's port.
    Preferred,
    /// Only if nothing else is there, and to this address, which could not be dialled, after all others.
    LastResort(IpAddr),
    /// Not at all.
    Never,
}

/// How to dial `target`. `own` is the container that this process runs in, if it is on the same engine; `host` is the
/// address of the target's host.
///
/// # Errors
///
/// [`Error::NotRunning`], and those of [`published`] where there is no other way.
pub fn route(
    target: &Container,
    own: Option<&Container>,
    erlang_port: u16,
    host: IpAddr,
    bridge: Bridge,
) -> Result<Route, Error> {
    let route = |kind, ip| Route {
        kind,
        to: SocketAddr::new(ip, erlang_port),
    };
    // Podman shows the ports of stopped containers too.
    if !target.running {
        return Err(Error::NotRunning);
    }
    if own.is_some_and(|own| own.id == target.id) {
        return Ok(route(RouteKind::Loopback, loopback(host)));
    }
    if target.host_network {
        return Ok(route(RouteKind::Host, host));
    }
    let shared = || shared_addresses(target, own, host).map(|ip| route(RouteKind::Bridge, ip));
    let published = || {
        let to = published(&target.bindings, erlang_port, host)?;
        let kind = RouteKind::Published;
        Ok(Route { kind, to })
    };
    match bridge {
        Bridge::Preferred => shared().next().map_or_else(published, Ok),
        Bridge::LastResort(failed) => {
            let another = || {
                shared()
                    .find(|route| route.to.ip() != failed)
                    .or_else(|| shared().next())
            };
            published().or_else(|error| another().ok_or(error))
        }
        Bridge::Never => published(),
    }
}

fn loopback(host: IpAddr) -> IpAddr {
    match host.to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The target's addresses in the networks that both are in, of the family that the host is addressed by; the other
/// family of an IPv6 node reaches IPv4 too. No engine gives a container an address that means something else to
/// whoever dials it.
fn shared_addresses<'a>(
    target: &'a Container,
    own: Option<&'a Container>,
    host: IpAddr,
) -> impl Iterator<Item = IpAddr> + 'a {
    let ours = own.map_or(&[][..], |own| &own.attachments);
    let is_shared = |theirs: &&Attachment| ours.iter().any(|our| our.network == theirs.network);
    let wants_ipv6 = host.to_canonical().is_ipv6();
    target.attachments.iter().filter(is_shared).filter_map(move |theirs| {
        let ipv6 = theirs.ipv6.map(IpAddr::V6).filter(|_| wants_ipv6);
        ipv6.or(theirs.ipv4.map(IpAddr::V4)).filter(is_a_containers)
    })
}

fn is_a_containers(ip: &IpAddr) -> bool {
    let is_link_local = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let ip = ip.to_canonical();
    !(is_link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The address at which `erlang_port` of a container with these bindings is reached on its host's address `host`.
///
/// Of several bindings the one on exactly `host` is taken, then a wildcard of its address family; a loopback one only
/// if `host` itself is that loopback address. The order of the bindings means nothing: engine 26 sorts them and 28
/// keeps the order of the command line. Where two are equally good, the lower port is taken, so that the answer is
/// always the same.
///
/// # Errors
///
/// [`Error::NotPublished`] if there is no TCP binding of `erlang_port` at all, [`Error::PublishedOnLoopback`] if all of
/// them are on loopback addresses, [`Error::PublishedElsewhere`] if none is on `host`.
pub fn published(bindings: &[Binding], erlang_port: u16, host: IpAddr) -> Result<SocketAddr, Error> {
    // `inet:getaddr("192.0.2.1", inet6)` is ::ffff:192.0.2.1: the same address of the host in another notation.
    let host_ip = host.to_canonical();
    let ours = || bindings.iter().filter(|b| b.tcp && b.container_port == erlang_port);
    let best = ours()
        .filter_map(|binding| Some((fit(binding.host_ip, host_ip)?, binding.host_port)))
        .min();
    if let Some((_, host_port)) = best {
        Ok(SocketAddr::new(host, host_port))
    } else if ours().next().is_none() {
        Err(Error::NotPublished)
    } else if ours().all(|b| b.host_ip.is_some_and(|ip| ip.to_canonical().is_loopback())) {
        Err(Error::PublishedOnLoopback)
    } else {
        Err(Error::PublishedElsewhere)
    }
}

/// How well a binding suits, best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    WildcardOfTheFamily,
    WildcardOfEveryFamily,
}

fn fit(binding: Option<IpAddr>, host: IpAddr) -> Option<Fit> {
    match binding {
        None => Some(Fit::WildcardOfEveryFamily),
        Some(ip) if ip.to_canonical() == host => Some(Fit::Exact),
        Some(ip) if ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4() => Some(Fit::WildcardOfTheFamily),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 12345;

    fn container(id: &str, addresses: &[(&str, &str)], bindings: &[&str]) -> Container {
        let attachment = |&(network, ip): &(&str, &str)| {
            let (ipv4, ipv6) = ip.split_once(' ').unwrap_or((ip, ""));
            Attachment {
                network: network.to_owned(),
                ipv4: ipv4.parse().ok(),
                ipv6: ipv6.parse().ok(),
            }
        };
        Container {
            id: id.to_owned(),
            running: true,
            bindings: bindings.iter().map(|text| binding(text)).collect(),
            attachments: addresses.iter().map(attachment).collect(),
            ..Container::default()
        }
    }

    #[test]
    fn the_table_of_routes() {
        use Bridge::{LastResort, Never, Preferred};
        use RouteKind::{Host, Loopback, Published};
        const BRIDGE: RouteKind = RouteKind::Bridge;
        let failed = |ip: &str| LastResort(ip.parse().unwrap());
        let own = container("a", &[("n1", "10.0.1.1"), ("n2", "10.0.2.1 fd00:2::1")], &[]);
        let published = &["0.0.0.0:5"][..];
        let on_host = Container {
            host_network: true,
            ..container("b", &[], &[])
        };
        let stopped = Container {
            running: false,
            ..container("b", &[("n1", "10.0.1.2")], published)
        };
        let one = container("b", &[("n1", "10.0.1.2")], published);
        let two = container("b", &[("n1", "10.0.1.2"), ("n2", "10.0.2.2")], published);
        let other = container("b", &[("n3", "10.0.1.2")], published);
        let hidden = container("b", &[("n1", "10.0.1.2")], &[]);
        let hidden2 = container("b", &[("n1", "10.0.1.2"), ("n2", "10.0.2.2 fd00:2::2")], &[]);
        let nowhere = container("b", &[], published);
        let v4 = "192.0.2.1";
        let v6 = "2001:db8::1";
        let yes = Some(&own);
        type Row<'a> = (
            &'a Container,
            Option<&'a Container>,
            &'a str,
            Bridge,
            Result<(RouteKind, &'a str), Error>,
        );
        let table: &[Row] = &[
            // whoever does not run is not there, and who it is decides before how it is connected
            (&stopped, yes, v4, Preferred, Err(Error::NotRunning)),
            (&own, yes, v4, Preferred, Ok((Loopback, "127.0.0.1:12345"))),
            (&own, yes, v6, Preferred, Ok((Loopback, "[::1]:12345"))),
            (&own, yes, v4, Never, Ok((Loopback, "127.0.0.1:12345"))),
            (&own, None, v4, Preferred, Err(Error::NotPublished)),
            // the host's network
            (&on_host, yes, v4, Preferred, Ok((Host, "192.0.2.1:12345"))),
            (&on_host, None, v6, Never, Ok((Host, "[2001:db8::1]:12345"))),
            // a bridge
            (&one, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
            (&two, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
            (&hidden, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
            (&hidden2, yes, v6, failed("10.0.1.2"), Ok((BRIDGE, "[fd00:2::2]:12345"))),
            (&one, yes, v6, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
            // no bridge: another engine, another network, none at all
            (&one, None, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
            (&other, yes, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
            (&nowhere, yes, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
            (&hidden, None, v4, Preferred, Err(Error::NotPublished)),
            // none that is wanted
            (&one, yes, v4, Never, Ok((Published, "192.0.2.1:5"))),
            (&hidden, yes, v4, Never, Err(Error::NotPublished)),
            // none that works
            (&one, yes, v4, failed("10.0.1.2"), Ok((Published, "192.0.2.1:5"))),
            (&two, yes, v4, failed("10.0.1.2"), Ok((Published, "192.0.2.1:5"))),
            (&hidden, yes, v4, failed("10.0.1.2"), Ok((BRIDGE, "10.0.1.2:12345"))),
            (&hidden, yes, v4, failed("10.0.1.9"), Ok((BRIDGE, "10.0.1.2:12345"))),
            (&hidden2, yes, v4, failed("10.0.1.2"), Ok((BRIDGE, "10.0.2.2:12345"))),
        ];
        for odd in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let odd = container("b", &[("n1", odd)], published);
            let found = route(&odd, yes, PORT, v4.parse().unwrap(), Preferred).unwrap();
            assert_eq!(found.kind, Published);
        }
        for (number, (target, own, host, bridge, expected)) in table.iter().enumerate() {
            let found = route(target, *own, PORT, host.parse().unwrap(), *bridge);
            let found = found.map(|route| (route.kind, route.to.to_string()));
            let expected = expected.clone().map(|(kind, to)| (kind, to.to_owned()));
            assert_eq!(found, expected, "row {number}");
        }
    }

    /// `"192.0.2.1:5"`, with `*` for no address.
    fn binding(text: &str) -> Binding {
        let (ip, port) = text.rsplit_once(':').unwrap();
        Binding {
            host_ip: (ip != "*").then(|| ip.parse().unwrap()),
            host_port: port.parse().unwrap(),
            container_port: PORT,
            tcp: true,
        }
    }

    fn permutations(items: &[Binding]) -> Vec<Vec<Binding>> {
        if items.is_empty() {
            return vec![vec![]];
        }
        let mut all = vec![];
        for (i, first) in items.iter().enumerate() {
            let rest = [&items[..i], &items[i + 1..]].concat();
            all.extend(
                permutations(&rest)
                    .into_iter()
                    .map(|tail| [vec![first.clone()], tail].concat()),
            );
        }
        all
    }

    #[test]
    fn the_table() {
        use Error::{NotPublished, PublishedElsewhere, PublishedOnLoopback};
        let table: &[(&[&str], &str, Result<u16, Error>)] = &[
            // one binding
            (&[], "192.0.2.1", Err(NotPublished)),
            (&["192.0.2.1:5"], "192.0.2.1", Ok(5)),
            (&["0.0.0.0:5"], "192.0.2.1", Ok(5)),
            (&["*:5"], "192.0.2.1", Ok(5)),
            (&["*:5"], "2001:db8::1", Ok(5)),
            (&["2001:db8::1:5"], "2001:db8::1", Ok(5)),
            (&[":::5"], "2001:db8::1", Ok(5)),
            (&[":::5"], "192.0.2.1", Err(PublishedElsewhere)),
            (&["0.0.0.0:5"], "2001:db8::1", Err(PublishedElsewhere)),
            (&["192.0.2.2:5"], "192.0.2.1", Err(PublishedElsewhere)),
            // loopback
            (&["127.0.0.1:5"], "192.0.2.1", Err(PublishedOnLoopback)),
            (&["::1:5"], "192.0.2.1", Err(PublishedOnLoopback)),
            (&["127.0.0.1:5", "::1:6"], "192.0.2.1", Err(PublishedOnLoopback)),
            (&["127.0.0.1:5", "192.0.2.2:6"], "192.0.2.1", Err(PublishedElsewhere)),
            (&["127.0.0.1:5", ":::6"], "192.0.2.1", Err(PublishedElsewhere)),
            (&["127.0.0.1:5"], "127.0.0.1", Ok(5)),
            (&["127.0.0.1:5"], "127.0.0.2", Err(PublishedOnLoopback)),
            (&["127.0.0.1:5", "0.0.0.0:6"], "127.0.0.2", Ok(6)),
            (&["::1:5"], "::1", Ok(5)),
            // several
            (&["0.0.0.0:5", ":::6"], "192.0.2.1", Ok(5)),
            (&["0.0.0.0:5", ":::6"], "2001:db8::1", Ok(6)),
            (&["0.0.0.0:5", "192.0.2.1:6"], "192.0.2.1", Ok(6)),
            (&["0.0.0.0:5", "192.0.2.1:6", "*:4", "127.0.0.1:3"], "192.0.2.1", Ok(6)),
            (&["*:4", "0.0.0.0:5", "127.0.0.1:3"], "192.0.2.1", Ok(5)),
            (&["192.0.2.1:6", "192.0.2.1:5"], "192.0.2.1", Ok(5)),
            // IPv4 in IPv6's notation
            (&["192.0.2.1:5", ":::6"], "::ffff:192.0.2.1", Ok(5)),
            (&["0.0.0.0:5", ":::6"], "::ffff:192.0.2.1", Ok(5)),
            (&["127.0.0.1:5"], "::ffff:192.0.2.1", Err(PublishedOnLoopback)),
        ];
        for (bindings, host, expected) in table {
            let host: IpAddr = host.parse().unwrap();
            let expected = expected.clone().map(|port| SocketAddr::new(host, port));
            let bindings: Vec<Binding> = bindings.iter().map(|text| binding(text)).collect();
            for order in permutations(&bindings) {
                assert_eq!(published(&order, PORT, host), expected, "{order:?} for {host}");
            }
        }
    }

    #[test]
    fn other_ports_and_protocols_do_not_count() {
        let host = "192.0.2.1".parse().unwrap();
        let udp = Binding {
            tcp: false,
            ..binding("192.0.2.1:5")
        };
        let other = Binding {
            container_port: 80,
            ..binding("192.0.2.1:6")
        };
        let ours = binding("0.0.0.0:7");
        assert_eq!(
            published(&[udp.clone(), other.clone()], PORT, host),
            Err(Error::NotPublished)
        );
        assert_eq!(published(&[udp, other, ours], PORT, host).map(|to| to.port()), Ok(7));
    }
}
