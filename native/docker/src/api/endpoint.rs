//! The address of an engine's API, and the version in its paths.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use hyper::Uri;

use crate::error::{Error, Subject};
use crate::node_name::is_host;

/// The placeholder for the host part of a node name in a template.
const HOST: &str = "{host}";

/// Maximum length of a socket's path in bytes: `sun_path` on Linux without the final NUL (unix(7)).
const MAX_UNIX_PATH: usize = 107;

/// The newest version of the API that this crate can read.
const NEWEST: (u16, u16) = (1, 52);

/// The address of a Docker Engine API, as in the environment variable `DOCKER_HOST`: `tcp://host:port`,
/// `https://host:port` or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Transport);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    /// HTTP over TCP.
    Tcp(Address),
    /// HTTP over TLS over TCP. The server's certificate must be for `server`, whatever address is dialled.
    Tls { server: Host, dial: Address },
    /// HTTP over the socket at this path.
    Unix(PathBuf),
}

/// The two parts of `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    host: Host,
    /// Not 0.
    port: u16,
}

/// A host in its canonical form, so that equal hosts compare equal: no IPv4-mapped IPv6 address, no capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Endpoint {
    /// Parses `tcp://host:port`, `https://host:port` and `unix:///path`. The host is an IPv4 address, an IPv6 address in
    /// brackets, or a DNS name. The port is 1 to 65535. The path is absolute and at most 107 bytes long. This does not
    /// resolve any name.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let transport = if let Some(rest) = text.strip_prefix("tcp://") {
            Address::parse(rest).map(Transport::Tcp)
        } else if let Some(rest) = text.strip_prefix("https://") {
            Address::parse(rest).map(|dial| Transport::Tls {
                server: dial.host.clone(),
                dial,
            })
        } else {
            text.strip_prefix("unix://").and_then(unix)
        };
        transport.map(Self).ok_or_else(|| {
            let forms = "tcp://host:port, https://host:port or unix:///path";
            let why = format!("the engine's address is not of the form {forms}");
            Error::Config(Subject::Address, why)
        })
    }

    /// The endpoint of one host. `template` is the text of an endpoint in which each `{host}` is replaced by `host`, the host
    /// part of a node name. `ip` is the address of that host. This does not resolve any name.
    ///
    /// If the template's host is exactly `{host}`, connections go to `ip`, and for `https` the server's certificate must be
    /// for `host`. A template without `{host}` is the same endpoint for every host.
    ///
    /// # Errors
    ///
    /// [`Error::BadNodeName`] if `host` is neither an IP address nor a DNS name; [`Error::Config`] if the result is not an
    /// endpoint.
    pub fn for_host(template: &str, host: &str, ip: IpAddr) -> Result<Self, Error> {
        if !is_host(host) {
            return Err(Error::BadNodeName);
        }
        let Some((scheme @ ("tcp" | "https"), port)) = template.split_once("://{host}:") else {
            return Self::parse(&template.replace(HOST, host));
        };
        let mut endpoint = Self::parse(&format!("{scheme}://{}:{port}", Host::parse(host)))?;
        if let Transport::Tcp(dial) | Transport::Tls { dial, .. } = &mut endpoint.0 {
            dial.host = Host::Ip(ip.to_canonical());
        }
        Ok(endpoint)
    }

    /// Returns `true` if others on the way can read the connection.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.0, Transport::Tcp(_))
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0
    }

    /// The URI of `path_and_query` on this engine. Both parts consist of characters that a URI may contain.
    pub(crate) fn uri(&self, path_and_query: &str) -> Uri {
        let (scheme, authority) = match &self.0 {
            Transport::Tcp(address) => ("http", address.to_string()),
            Transport::Tls { server, dial } => ("https", format!("{server}:{}", dial.port)),
            // HTTP/1.1 requires a host. It means nothing here, but engines check its syntax.
            Transport::Unix(_) => ("http", "localhost".to_owned()),
        };
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path_and_query)
            .build()
            .expect("parsed hosts and containers are URI text")
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => Host::Ip(rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_canonical()),
            None if is_host(host) && !host.contains(':') => Host::parse(host),
            None => return None,
        };
        // `u16::from_str` also takes "+80".
        let is_number = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|&port| is_number && port > 0)?;
        Some(Self { host, port })
    }
}

impl Host {
    /// `text` must satisfy [`is_host`].
    fn parse(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) => Self::Name(text.to_ascii_lowercase()),
        }
    }
}

/// Refuses braces: they are probably a misspelt placeholder.
fn unix(path: &str) -> Option<Transport> {
    let is_allowed = path.len() <= MAX_UNIX_PATH
        && Path::new(path).is_absolute()
        && !path.contains(|c: char| c.is_control() || c == '{' || c == '}');
    is_allowed.then(|| Transport::Unix(path.into()))
}

/// The text that [`Endpoint::parse`] takes. For an `https` template with `{host}` it shows the host of the server's
/// certificate, not the address that is dialled.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Transport::Tcp(address) => write!(f, "tcp://{address}"),
            Transport::Tls { server, dial } => write!(f, "https://{server}:{}", dial.port),
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// As in a URI: an IPv6 address is in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The version in a request's path. Its text comes before the path: `/v1.41`, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiVersion {
    /// `/v1.41/containers/json`.
    Numbered(u16, u16),
    /// `/containers/json`: the engine uses its default version.
    Unnumbered,
}

impl ApiVersion {
    /// The newest version that both sides know, from the header `Api-Version` of an engine's ping.
    ///
    /// Engine 29 refuses versions below 1.44, older engines refuse versions above their own. Without a header of the form
    /// `1.41` (an old engine, or a proxy that does not pass `_ping`) the engine chooses.
    pub(super) fn negotiate(header: Option<&str>) -> Self {
        let number = |text: &str| {
            let is_number = text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| is_number)
        };
        let numbers = header.and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((number(major)?, number(minor)?))
        });
        match numbers.map(|theirs| theirs.min(NEWEST)) {
            Some((major, minor)) => Self::Numbered(major, minor),
            None => Self::Unnumbered,
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(major, minor) => write!(f, "/v{major}.{minor}"),
            Self::Unnumbered => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/endpoint.rs"]
mod tests;

#[cfg(test)]
#[path = "../../tests/unit/api_version.rs"]
mod version_tests;
