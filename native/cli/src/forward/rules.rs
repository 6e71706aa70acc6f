//! The forwarding rules: where to listen, and which target each connection goes to.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use eid_docker::{ContainerRef, Endpoint};

/// A port to listen on, at one address or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenPort {
    /// `None` means every address of this machine, of both families.
    pub ip: Option<IpAddr>,
    /// The port. `--listen 0` lets the system choose one.
    pub port: u16,
}

/// Connections to the port go to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where to listen.
    pub listen: ListenPort,
    /// Where connections go.
    pub target: Target,
}

impl ListenPort {
    /// Parses `PORT` and `ADDRESS:PORT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let port = |port: &str| port.parse().map_err(|_| format!("{port} is no port"));
        if text.contains(':') {
            let address: SocketAddr = text.parse().map_err(|_| {
                "it is neither a PORT nor an ADDRESS:PORT with an IP address, one of IPv6 in brackets".to_owned()
            })?;
            let ip = Some(address.ip());
            return Ok(Self {
                ip,
                port: address.port(),
            });
        }
        let port = port(text)?;
        Ok(Self { ip: None, port })
    }

    /// Returns whether both have a port and an address in common, so that only one of them can be used.
    pub fn overlaps(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| match (one.ip.map(|ip| ip.to_canonical()), other.ip) {
            (None, _) => true,
            // `[::]` accepts IPv4, too.
            (Some(IpAddr::V6(any)), _) if any.is_unspecified() => true,
            (Some(IpAddr::V4(any)), Some(ip)) if any.is_unspecified() => ip.to_canonical().is_ipv4(),
            (Some(one), Some(other)) => one == other.to_canonical(),
            (Some(_), None) => false,
        };
        self.port == other.port && self.port > 0 && (covers(self, other) || covers(other, self))
    }
}

impl fmt::Display for ListenPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// Reads the rules from environment variables, `NAME_PORT_<n>_TCP=target`, as Docker's links set them. An empty variable counts
/// as unset. The rules are sorted by port.
/// Errors: A sentence that names the variable.
pub fn from_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Rule>, String> {
    let mut named: HashMap<u16, String> = HashMap::new();
    let mut rules = Vec::new();
    for (name, value) in variables {
        let Some(number) = name.to_str().and_then(port_in) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        let wrong = |why: &str| format!("the variable {name} is wrong: {why}");
        let port = number.parse().ok().filter(|&port: &u16| port > 0);
        let port = port.ok_or_else(|| wrong("the number in its name is no port"))?;
        let value = value.to_str().ok_or_else(|| wrong("it is no text"))?;
        let target = Target::parse(value).map_err(|why| wrong(&why))?;
        if let Some(other) = named.insert(port, name.clone()) {
            let mut both = [other, name];
            both.sort();
            let [one, two] = both;
            return Err(format!(
                "the variables {one} and {two} are for the same port; unset one of them"
            ));
        }
        let listen = ListenPort { ip: None, port };
        rules.push(Rule { listen, target });
    }
    rules.sort_by_key(|rule| rule.listen.port);
    Ok(rules)
}

/// Returns the number in `NAME_PORT_<number>_TCP`.
fn port_in(name: &str) -> Option<&str> {
    let (alias, number) = name.strip_suffix("_TCP")?.rsplit_once("_PORT_")?;
    (!alias.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// The service that connections are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service at an address, or at the addresses of a DNS name.
    Tcp { host: String, port: u16 },
    /// A port of a container, whose Docker API knows where the port is published.
    Docker { container: RemoteContainer, port: u16 },
}

/// A container and its host. Other than in a node name, the container's name may have dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteContainer {
    /// The name or ID.
    pub name: ContainerRef,
    /// The IP address or DNS name of the Docker host.
    pub host: String,
}

impl Target {
    /// Parses `tcp://host:port` and `docker://container@host:port`, with an IPv6 address in brackets. Nothing is resolved.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || "it is not of the form tcp://HOST:PORT or docker://CONTAINER@HOST:PORT".to_owned();
        if let Some(address) = text.strip_prefix("tcp://") {
            let (host, port) = host_and_port(address).ok_or_else(refused)?;
            return Ok(Self::Tcp { host, port });
        }
        let (container, address) = text
            .strip_prefix("docker://")
            .and_then(|rest| rest.split_once('@'))
            .ok_or_else(refused)?;
        let (host, port) = host_and_port(address).ok_or_else(refused)?;
        let name = ContainerRef::parse(container).ok_or_else(|| format!("{container} is no container's ID or name"))?;
        let container = RemoteContainer { name, host };
        Ok(Self::Docker { container, port })
    }
}

/// Splits `host:port`, by the same rules as an engine's address.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    Endpoint::parse(&format!("tcp://{address}")).ok()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| {
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            }
        };
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Docker { container, port } => {
                let host = bracketed(&container.host);
                write!(f, "docker://{}@{host}:{port}", container.name)
            }
        }
    }
}
