//! Where an engine's API is, and how to get there.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use hyper::Uri;

use crate::node_name::is_host;
use crate::Error;

/// Stands for the host part of a node name in a template.
const HOST: &str = "{host}";

/// The bytes of `sun_path` on Linux without the NUL that ends it (unix(7)).
const MAX_UNIX_PATH: usize = 107;

/// The address of a Docker Engine API, as in the environment variable `DOCKER_HOST`: `tcp://host:port`,
/// `https://host:port` or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Transport);

/// What is contacted, and for TLS also who must answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// HTTP over TCP.
    Tcp(Address),
    /// HTTP over TLS over TCP. The server's certificate has to be for `server`, whatever is dialled.
    Tls { server: Host, dial: Address },
    /// HTTP over the socket at this path.
    Unix(PathBuf),
}

/// The two ends of `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: Host,
    /// Not 0.
    pub(crate) port: u16,
}

/// A host in its canonical form, so that what means the same is equal: no IPv4-mapped IPv6 address, no capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Endpoint {
    /// Parses `tcp://host:port` and `https://host:port`, where host is an IPv4 address, an IPv6 address in brackets, or
    /// a DNS name, and port is 1 to 65535, and `unix:///path`, where the path is absolute and at most 107 bytes long.
    /// Nothing is looked up.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the text is anything else: there is no such engine.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(rest) = text.strip_prefix("tcp://") {
            Address::parse(rest).map(Transport::Tcp)
        } else if let Some(rest) = text.strip_prefix("https://") {
            Address::parse(rest).map(|dial| Transport::Tls {
                server: dial.host.clone(),
                dial,
            })
        } else {
            text.strip_prefix("unix://").and_then(unix)
        }
        .map(Self)
        .ok_or_else(|| {
            let forms = "tcp://host:port, https://host:port or unix:///path";
            Error::Unreachable(format!("the engine's address is not of the form {forms}"))
        })
    }

    /// The endpoint that a template means for one host: an endpoint's text in which each `{host}` is replaced by `host`,
    /// the host part of a node name. `ip` is the address that the caller has resolved it to. Nothing is looked up.
    ///
    /// Where the template's host is `{host}` and nothing else, `ip` is what will be contacted, and for `https` the
    /// server's certificate has to be for `host`. A template without `{host}` is the same endpoint for every host.
    ///
    /// # Errors
    ///
    /// [`Error::BadNodeName`] if `host` is no IP address and no DNS name; [`Error::Unreachable`] if what comes out is no
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

    /// Whether all that is sent there may be read on the way.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.0, Transport::Tcp(_))
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0
    }

    /// The URI of `path_and_query` on this engine. Both parts are made of characters that a URI may hold.
    pub(crate) fn uri(&self, path_and_query: &str) -> Uri {
        let (scheme, authority) = match &self.0 {
            Transport::Tcp(address) => ("http", address.to_string()),
            Transport::Tls { server, dial } => ("https", format!("{server}:{}", dial.port)),
            // HTTP/1.1 wants a host; it means nothing here, but engines check its syntax.
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
        // `u16::from_str` alone would take "+80".
        let is_number = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|&port| is_number && port > 0)?;
        Some(Self { host, port })
    }
}

impl Host {
    /// `text` is a host as [`is_host`] has it.
    fn parse(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) => Self::Name(text.to_ascii_lowercase()),
        }
    }
}

/// No braces: they would be a placeholder that nobody replaced, most likely misspelt.
fn unix(path: &str) -> Option<Transport> {
    let is_ours = path.len() <= MAX_UNIX_PATH
        && Path::new(path).is_absolute()
        && !path.contains(|c: char| c.is_control() || c == '{' || c == '}');
    is_ours.then(|| Transport::Unix(path.into()))
}

/// The text that [`Endpoint::parse`] takes. Where a template's host was resolved, `https` shows the host as it is in the
/// server's certificate, not the address that is contacted.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(text: &str) -> bool {
        matches!(Endpoint::parse(text), Err(Error::Unreachable(_)))
    }

    #[test]
    fn endpoints() {
        for text in [
            "tcp://192.0.2.1:4243",
            "tcp://[2001:db8::1]:4243",
            "tcp://docker-host.example:1",
            "tcp://localhost:65535",
            "https://192.0.2.1:2376",
            "https://[2001:db8::1]:2376",
            "https://docker_host.example:443",
            "unix:///var/run/docker.sock",
            "unix:///a b",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn different_texts_of_one_endpoint() {
        for (text, canonical) in [
            ("tcp://h:0080", "tcp://h:80"),
            ("tcp://Docker.Example:80", "tcp://docker.example:80"),
            ("tcp://[2001:DB8:0::1]:80", "tcp://[2001:db8::1]:80"),
            ("https://[::ffff:192.0.2.1]:80", "https://192.0.2.1:80"),
        ] {
            assert_eq!(Endpoint::parse(text), Endpoint::parse(canonical));
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn addresses_that_are_none() {
        for scheme in ["tcp", "https"] {
            for address in [
                "",
                "h",
                "h:",
                ":80",
                "h:0",
                "h:65536",
                "h:+80",
                "h:-1",
                "h: 80",
                "h:80/",
                "h:80/x",
                "h:80?x",
                "h:80#x",
                "u@h:80",
                "u:p@h:80",
                "h@i:80",
                "2001:db8::1:80",
                "[2001:db8::1]",
                "[h]:80",
                "[192.0.2.1]:80",
                "[::1:80",
                "::1]:80",
                "[fe80::1%eth0]:80",
                "h h:80",
                "h\r\nX:80",
                "h\0:80",
                "h%00:80",
                "h\\:80",
                "hé:80",
                "..:80",
                "h.:80",
                "0x7f.1:80",
                "{host}:80",
                "/var/run/docker.sock",
            ] {
                let text = format!("{scheme}://{address}");
                assert!(is_refused(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn schemes_that_are_none() {
        for text in [
            "",
            "192.0.2.1:4243",
            "h:80",
            "http://h:80",
            "HTTPS://h:80",
            " tcp://h:80",
            "tcp:h:80",
            "tcp:/h:80",
            "ssh://h:22",
            "npipe:////./pipe/docker_engine",
            "fd://",
            "/var/run/docker.sock",
        ] {
            assert!(is_refused(text), "{text:?}");
        }
    }

    #[test]
    fn unix_paths() {
        let longest = format!("/{}", "p".repeat(MAX_UNIX_PATH - 1));
        assert!(Endpoint::parse(&format!("unix://{longest}")).is_ok());
        for path in [
            "",
            "docker.sock",
            "./docker.sock",
            "../docker.sock",
            "@abstract",
            "\0abstract",
            "/a\0b",
            "/a\nb",
            "/a\u{85}b",
            "/{host}.sock",
            "/{hots}.sock",
            &format!("{longest}p"),
            &format!("/{}", "é".repeat(54)),
        ] {
            assert!(is_refused(&format!("unix://{path}")), "{path:?}");
        }
    }

    fn tls(server: &str, ip: &str, port: u16) -> Endpoint {
        Endpoint(Transport::Tls {
            server: Host::parse(server),
            dial: Address {
                host: Host::parse(ip),
                port,
            },
        })
    }

    #[test]
    fn templates() {
        let cases = [
            ("tcp://{host}:4243", "192.0.2.1", "192.0.2.1", "tcp://192.0.2.1:4243"),
            (
                "tcp://{host}:4243",
                "docker.example",
                "192.0.2.1",
                "tcp://192.0.2.1:4243",
            ),
            (
                "tcp://{host}:4243",
                "2001:db8::1",
                "2001:db8::1",
                "tcp://[2001:db8::1]:4243",
            ),
            (
                "tcp://{host}:4243",
                "::ffff:192.0.2.1",
                "::ffff:192.0.2.1",
                "tcp://192.0.2.1:4243",
            ),
            // Nothing of the host: one engine, or one proxy, for all.
            (
                "tcp://proxy.example:80",
                "192.0.2.1",
                "192.0.2.1",
                "tcp://proxy.example:80",
            ),
            (
                "https://proxy.example:80",
                "192.0.2.1",
                "192.0.2.1",
                "https://proxy.example:80",
            ),
            (
                "unix:///run/docker.sock",
                "192.0.2.1",
                "192.0.2.1",
                "unix:///run/docker.sock",
            ),
            // Another name, which is looked up when it is contacted.
            (
                "tcp://api-{host}:80",
                "h.example",
                "192.0.2.1",
                "tcp://api-h.example:80",
            ),
            ("https://{host}.example:80", "h", "192.0.2.1", "https://h.example:80"),
            ("https://{host}.{host}:80", "h", "192.0.2.1", "https://h.h:80"),
            (
                "unix:///run/{host}.sock",
                "h.example",
                "192.0.2.1",
                "unix:///run/h.example.sock",
            ),
            ("unix:///run/{host}/{host}", "::1", "::1", "unix:///run/::1/::1"),
        ];
        for (template, host, ip, text) in cases {
            let endpoint = Endpoint::for_host(template, host, ip.parse().unwrap());
            assert_eq!(endpoint, Endpoint::parse(text), "{template} {host}");
            assert_eq!(endpoint.unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_certificate_is_for_the_host_and_the_connection_goes_to_its_address() {
        let cases = [
            ("docker.example", "192.0.2.1", "https://docker.example:2376"),
            ("192.0.2.1", "192.0.2.1", "https://192.0.2.1:2376"),
            ("2001:db8::1", "2001:db8::1", "https://[2001:db8::1]:2376"),
            ("docker.example", "::ffff:192.0.2.1", "https://docker.example:2376"),
        ];
        for (host, ip, text) in cases {
            let endpoint = Endpoint::for_host("https://{host}:2376", host, ip.parse().unwrap()).unwrap();
            assert_eq!(endpoint, tls(host, ip, 2376));
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn templates_that_are_none() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for template in [
            "",
            "{host}",
            "{host}:80",
            "tcp://{host}",
            "tcp://{host}:",
            "tcp://{host}:0",
            "tcp://{host}:{port}",
            "tcp://{host}:80/",
            "tcp://u@{host}:80",
            "tcp://{HOST}:80",
            "tcp://{ip}:80",
            "tcp://{{host}}:80",
            "http://{host}:80",
            "x://{host}:80",
            "unix://{host}",
            "unix:///run/{ip}.sock",
        ] {
            let endpoint = Endpoint::for_host(template, "h", ip);
            assert!(matches!(endpoint, Err(Error::Unreachable(_))), "{template}");
        }
        // Brackets are ours to add.
        assert!(Endpoint::for_host("tcp://api-{host}:80", "::1", ip).is_err());
    }

    #[test]
    fn hosts_that_are_none() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for host in [
            "", "..", "../x", "a/b", "a@b", "a b", "[::1]", "h:80", "h\0", "{host}", "127.1",
        ] {
            for template in [
                "tcp://{host}:80",
                "https://x-{host}:80",
                "unix:///run/{host}",
                "tcp://h:80",
            ] {
                assert_eq!(
                    Endpoint::for_host(template, host, ip),
                    Err(Error::BadNodeName),
                    "{host:?}"
                );
            }
        }
    }

    #[test]
    fn uris() {
        for (endpoint, uri) in [
            ("tcp://[::1]:4243", "http://[::1]:4243/v1.41/_ping"),
            ("https://docker.example:2376", "https://docker.example:2376/v1.41/_ping"),
            ("unix:///var/run/docker.sock", "http://localhost/v1.41/_ping"),
        ] {
            assert_eq!(Endpoint::parse(endpoint).unwrap().uri("/v1.41/_ping"), uri);
        }
        let dialled = tls("docker.example", "2001:db8::1", 2376);
        assert_eq!(dialled.uri("/_ping"), "https://docker.example:2376/_ping");
    }
}
