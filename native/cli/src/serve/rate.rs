//! How many requests a second one address may send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Of so many addresses it is known how much they have sent; those that have sent least are forgotten.
const MAX_CLIENTS: usize = 10_000;

/// For each address a bucket of as many requests as may come in two seconds, which fills at the rate.
pub struct Rate {
    per_second: f64,
    buckets: Mutex<HashMap<Client, Bucket>>,
}

/// Who sends: an IPv4 address, the network of an IPv6 address, which its owner can have any address of, or a unix socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
    Unix,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// 0 is no limit.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            buckets: Mutex::default(),
        }
    }

    /// Whether a request may be answered now.
    pub fn allows(&self, client: Option<IpAddr>) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let now = Instant::now();
        let most = 2.0 * self.per_second;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let client = Client::of(client);
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| bucket.filled(now, self.per_second) < most);
            if buckets.len() >= MAX_CLIENTS {
                return false;
            }
        }
        let bucket = buckets.entry(client).or_insert(Bucket { left: most, at: now });
        bucket.left = bucket.filled(now, self.per_second).min(most);
        bucket.at = now;
        let is_allowed = bucket.left >= 1.0;
        if is_allowed {
            bucket.left -= 1.0;
        }
        is_allowed
    }
}

impl Bucket {
    fn filled(&self, now: Instant, per_second: f64) -> f64 {
        self.left + now.duration_since(self.at).as_secs_f64() * per_second
    }
}

impl Client {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => Self::V6(*ip.octets().first_chunk().expect("it has 16")),
            None => Self::Unix,
        }
    }
}
