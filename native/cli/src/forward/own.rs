//! The places that this process itself listens at: whoever is forwarded there comes back, again and again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;

/// The addresses of this machine change, but seldom.
const FRESH: Duration = Duration::from_secs(10);

/// Where it listens.
pub struct Own {
    places: Vec<SocketAddr>,
    /// The addresses of this machine, and when they were asked for. Most targets have the port that is listened at and are
    /// elsewhere, so this is read for most connections.
    local: RwLock<Option<(Instant, Vec<IpAddr>)>>,
}

impl Own {
    pub fn new(places: Vec<SocketAddr>) -> Self {
        let local = RwLock::new(None);
        Self { places, local }
    }

    /// Whether a connection to this address would be accepted here.
    pub fn has(&self, to: SocketAddr) -> bool {
        let ip = match to.ip().to_canonical() {
            // To connect to no address is to connect to this one.
            IpAddr::V4(none) if none.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(none) if none.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let is_at = |place: &SocketAddr| match place.ip() {
            IpAddr::V6(any) if any.is_unspecified() => self.is_local(ip),
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && self.is_local(ip),
            own => own.to_canonical() == ip,
        };
        let mut places = self.places.iter().filter(|place| place.port() == to.port());
        places.any(is_at)
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let now = Instant::now();
        let known = self.local.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, local)) = known.as_ref().filter(|(asked, _)| now - *asked < FRESH) {
            return local.contains(&ip);
        }
        drop(known);
        let local = addresses();
        let is_local = local.contains(&ip);
        *self.local.write().unwrap_or_else(PoisonError::into_inner) = Some((now, local));
        is_local
    }
}

/// Those of this machine; none if the system does not say.
fn addresses() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten();
    let addresses = all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(places: &[&str]) -> Own {
        Own::new(places.iter().map(|place| place.parse().unwrap()).collect())
    }

    #[test]
    fn places_at_addresses() {
        let own = own(&["192.0.2.1:6379", "[2001:db8::1]:6379", "127.0.0.1:80"]);
        for (to, is_own) in [
            ("192.0.2.1:6379", true),
            ("[::ffff:192.0.2.1]:6379", true),
            ("[2001:db8::1]:6379", true),
            ("127.0.0.1:80", true),
            ("0.0.0.0:80", true),
            ("192.0.2.1:80", false),
            ("192.0.2.2:6379", false),
            ("127.0.0.1:6379", false),
            ("127.0.0.2:80", false),
            ("[::]:80", false),
        ] {
            assert_eq!(own.has(to.parse().unwrap()), is_own, "{to}");
        }
    }

    #[test]
    fn places_at_all_addresses() {
        let (both, v4) = (own(&["[::]:6379"]), own(&["0.0.0.0:6379"]));
        let mine = addresses();
        assert!(!mine.is_empty());
        for ip in mine.into_iter().chain(["127.9.9.9".parse().unwrap()]) {
            let to = SocketAddr::new(ip, 6379);
            assert_eq!((both.has(to), v4.has(to)), (true, ip.is_ipv4()), "{to}");
            assert!(!both.has(SocketAddr::new(ip, 6380)));
        }
        // Those that documents speak of.
        for to in ["192.0.2.200:6379", "[2001:db8::200]:6379"] {
            assert!(!both.has(to.parse().unwrap()) && !v4.has(to.parse().unwrap()), "{to}");
        }
    }
}
