//! How to dial a container: a pure function of its ports and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::container::{Attachment, Binding, Container};
use crate::error::Error;

/// An address to dial, and why it is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Why this address reaches the container.
    pub kind: RouteKind,
    /// The address and the port.
    pub to: SocketAddr,
}

/// Why a route reaches the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// This process runs in the container.
    Loopback,
    /// The container uses its host's network: its distribution port at the host's address.
    Host,
    /// Both containers are on the same engine and in the same Docker network: the container's own address there.
    Bridge,
    /// The port of the host on which the distribution port is published.
    Published,
}

impl RouteKind {
    /// This kind as one word.
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
    /// Whenever there is one, because it avoids the detour through the host's port.
    Preferred,
    /// Only if there is no other route. Dialling this address has failed, so it comes after all others.
    LastResort(IpAddr),
    /// Never.
    Never,
}

/// Decides how to dial `target`. `own` is the container that this process runs in, if it is on the same engine. `host` is the
/// address of the target's host.
///
/// # Errors
///
/// [`Error::NotRunning`]; if there is no other route, the errors of [`published`].
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

/// The target's addresses in the networks that it shares with the own container. They have the family of the host's address,
/// but an IPv6 node also takes IPv4. Only addresses that always mean a container count: an engine may send any text.
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
        ipv6.or(theirs.ipv4.map(IpAddr::V4)).filter(|&ip| {
            let is_link_local = matches!(ip.to_canonical(), IpAddr::V4(ip) if ip.is_link_local());
            is_dialable(ip) && !is_link_local
        })
    })
}

/// Returns `true` unless the address is special: one that means another thing to each process that dials it, or a group.
pub(crate) fn is_dialable(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_special = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // It means something only together with an interface.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_special || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The host's address and port on which `erlang_port` of a container is published. `host` is the address to dial.
///
/// A binding on exactly `host` comes first, then a wildcard of its address family. A loopback binding counts only if `host` is
/// that loopback address. The order of the bindings means nothing: engine 26 sorts them and 28 keeps the order of the command
/// line. If two bindings are equally good, the lower port wins, so that the answer is always the same.
///
/// # Errors
///
/// [`Error::NotPublished`] if there is no TCP binding of `erlang_port`, [`Error::PublishedOnLoopback`] if all of them are on
/// loopback addresses, [`Error::PublishedElsewhere`] if none is on `host`.
pub fn published(bindings: &[Binding], erlang_port: u16, host: IpAddr) -> Result<SocketAddr, Error> {
    // `inet:getaddr("192.0.2.1", inet6)` is ::ffff:192.0.2.1, the same address in another notation.
    let host_ip = host.to_canonical();
    let ours = || bindings.iter().filter(|b| b.tcp && b.container_port == erlang_port);
    let best = ours()
        .filter_map(|binding| Some((quality(binding.host_ip, host_ip)?, binding.host_port)))
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

/// How well a binding matches the host's address, best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Exact,
    WildcardOfTheFamily,
    WildcardOfEveryFamily,
}

fn quality(binding: Option<IpAddr>, host: IpAddr) -> Option<Match> {
    match binding {
        None => Some(Match::WildcardOfEveryFamily),
        Some(ip) if ip.to_canonical() == host => Some(Match::Exact),
        Some(ip) if ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4() => Some(Match::WildcardOfTheFamily),
        Some(_) => None,
    }
}

#[cfg(test)]
#[path = "../tests/unit/route.rs"]
mod tests;
