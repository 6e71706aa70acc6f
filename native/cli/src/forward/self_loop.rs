//! Detects targets at which this process itself listens. Forwarding there would loop for ever.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::sockets::local_addresses;

/// How long the addresses of this machine are cached.
const CACHE_TIME: Duration = Duration::from_secs(10);

/// The addresses that this process listens on.
pub struct OwnAddresses {
    listening: Vec<SocketAddr>,
    /// The addresses of this machine, and the time of the query. Most targets have a port that this process listens on, so this is
    /// read for most connections.
    local: RwLock<Option<(Instant, Vec<IpAddr>)>>,
}

impl OwnAddresses {
    /// Makes it from the addresses of the listening sockets.
    pub fn new(listening: Vec<SocketAddr>) -> Self {
        let local = RwLock::new(None);
        Self { listening, local }
    }

    /// Returns whether this process would accept a connection to this address.
    pub fn contains(&self, to: SocketAddr) -> bool {
        let ip = match to.ip().to_canonical() {
            // Connecting to the unspecified address connects to loopback.
            IpAddr::V4(none) if none.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(none) if none.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let accepts = |listening: &SocketAddr| match listening.ip() {
            IpAddr::V6(any) if any.is_unspecified() => self.is_local(ip),
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && self.is_local(ip),
            own => own.to_canonical() == ip,
        };
        let mut with_port = self.listening.iter().filter(|listening| listening.port() == to.port());
        with_port.any(accepts)
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let now = Instant::now();
        let known = self.local.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, local)) = known.as_ref().filter(|(asked, _)| now - *asked < CACHE_TIME) {
            return local.contains(&ip);
        }
        drop(known);
        let local: Vec<IpAddr> = local_addresses().map(|(_, ip)| ip).collect();
        let is_local = local.contains(&ip);
        *self.local.write().unwrap_or_else(PoisonError::into_inner) = Some((now, local));
        is_local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listening: &[&str]) -> OwnAddresses {
        OwnAddresses::new(listening.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn single_addresses() {
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
            assert_eq!(own.contains(to.parse().unwrap()), is_own, "{to}");
        }
    }

    #[test]
    fn all_addresses() {
        let (both, v4) = (own(&["[::]:6379"]), own(&["0.0.0.0:6379"]));
        let mine: Vec<IpAddr> = local_addresses().map(|(_, ip)| ip).collect();
        assert!(!mine.is_empty());
        for ip in mine.into_iter().chain(["127.9.9.9".parse().unwrap()]) {
            let to = SocketAddr::new(ip, 6379);
            assert_eq!((both.contains(to), v4.contains(to)), (true, ip.is_ipv4()), "{to}");
            assert!(!both.contains(SocketAddr::new(ip, 6380)));
        }
        // Addresses for documentation belong to no machine.
        for to in ["192.0.2.200:6379", "[2001:db8::200]:6379"] {
            assert!(
                !both.contains(to.parse().unwrap()) && !v4.contains(to.parse().unwrap()),
                "{to}"
            );
        }
    }
}
