//! Where an engine's API is.

use std::fmt;
use std::net::Ipv6Addr;

use hyper::Uri;

use crate::node_name::is_host;
use crate::Error;

/// The address of a Docker Engine API, as in the environment variable `DOCKER_HOST`: `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `host:port`, an IPv6 address in brackets.
    authority: String,
}

impl Endpoint {
    /// Parses `tcp://host:port`, where host is an IPv4 address, an IPv6 address in brackets, or a DNS name, and port is
    /// 1 to 65535. Nothing is looked up.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the text is anything else: there is no such engine.
    pub fn parse(text: &str) -> Result<Self, Error> {
        text.strip_prefix("tcp://")
            .and_then(tcp)
            .ok_or_else(|| Error::Unreachable("the engine's address is not of the form tcp://host:port".to_owned()))
    }

    /// The endpoint of a host.
    pub fn for_host(template: &str, _host: &str, ip: std::net::IpAddr) -> Result<Self, Error> {
        let ip = match ip {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self::parse(&template.replace("{host}", &ip))
    }

    /// The URI of `path_and_query` on this engine. Both parts are made of characters that a URI may hold.
    pub(crate) fn uri(&self, path_and_query: &str) -> Uri {
        Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path_and_query)
            .build()
            .expect("parsed hosts and containers are URI text")
    }
}

fn tcp(authority: &str) -> Option<Endpoint> {
    let (host, port) = authority.rsplit_once(':')?;
    let is_ours = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => is_host(host) && !host.contains(':'),
    };
    // `u16::from_str` alone would take "+80".
    let is_number = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|&port| is_number && port > 0)?;
    is_ours.then(|| Endpoint {
        authority: format!("{host}:{port}"),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for text in [
            "tcp://192.0.2.1:4243",
            "tcp://[2001:db8::1]:4243",
            "tcp://docker-host.example:1",
            "tcp://localhost:65535",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::parse("tcp://h:0080"), Endpoint::parse("tcp://h:80"));
    }

    #[test]
    fn texts_that_are_no_endpoint() {
        for text in [
            "",
            "192.0.2.1:4243",
            "tcp://",
            "tcp://h",
            "tcp://h:",
            "tcp://:80",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:+80",
            "tcp://h:80/x",
            "tcp://u@h:80",
            "tcp://2001:db8::1:80",
            "tcp://[h]:80",
            "tcp://[::1:80",
            "tcp://h h:80",
            "tcp://0x7f.1:80",
            "http://h:80",
            "https://h:80",
            "unix:///var/run/docker.sock",
        ] {
            assert!(matches!(Endpoint::parse(text), Err(Error::Unreachable(_))), "{text}");
        }
    }

    #[test]
    fn uris() {
        let endpoint = Endpoint::parse("tcp://[::1]:4243").unwrap();
        assert_eq!(endpoint.uri("/v1.41/_ping"), "http://[::1]:4243/v1.41/_ping");
    }
}
