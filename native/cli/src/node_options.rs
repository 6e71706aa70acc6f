//! How nodes are dialled: the options that all commands share which look for one.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::failure::Failure;

/// What a node knows by its carrier and its configuration.
#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// The TCP port that every node listens on in its container (-kernel erlang_port)
    #[arg(long, value_name = "PORT", default_value = "12345", value_parser = clap::value_parser!(u16).range(1..))]
    pub erlang_port: u16,

    /// Take the IPv6 address of a host with a DNS name, as -proto_dist eid6_tcp does
    #[arg(long)]
    pub inet6: bool,
}

impl NodeOptions {
    /// The address of a host as it stands in a node's name; of several the first. DNS may take so long.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownHost`], [`Failure::SlowDns`].
    pub async fn address(&self, host: &str, limit: Duration) -> Result<IpAddr, Failure> {
        self.addresses(host, limit).await.map(|addresses| addresses[0])
    }

    /// All its addresses, at least one, each once, in the order in which the system has them.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownHost`], [`Failure::SlowDns`].
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let family = if self.inet6 { "IPv6" } else { "IPv4" };
        let Ok(found) = timeout(limit, lookup_host((host, 0))).await else {
            let host = host.to_owned();
            return Err(Failure::SlowDns { host });
        };
        let mut addresses = Vec::new();
        for ip in found.into_iter().flatten().map(|address| address.ip()) {
            if ip.is_ipv6() == self.inet6 && !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() {
            let host = host.to_owned();
            return Err(Failure::UnknownHost { host, family });
        }
        Ok(addresses)
    }
}
