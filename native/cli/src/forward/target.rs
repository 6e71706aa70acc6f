//! Where connections go, as the user says it.

use std::fmt;

use eid_docker::{ContainerRef, Endpoint};

/// One end of the forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service at an address, or at the addresses of a DNS name.
    Tcp { host: String, port: u16 },
    /// A port of a container, wherever its host has published it.
    Docker { container: Hosted, port: u16 },
}

/// A container, and the host that it runs on. It need not have a name that a node could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    pub name: ContainerRef,
    pub host: String,
}

impl Target {
    /// Parses `tcp://host:port` and `docker://container@host:port`, where an IPv6 address is in brackets. Nothing is looked up.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || "it is not of the form tcp://HOST:PORT or docker://CONTAINER@HOST:PORT".to_owned();
        if let Some(place) = text.strip_prefix("tcp://") {
            let (host, port) = place_of(place).ok_or_else(refused)?;
            return Ok(Self::Tcp { host, port });
        }
        let (container, place) = text
            .strip_prefix("docker://")
            .and_then(|rest| rest.split_once('@'))
            .ok_or_else(refused)?;
        let (host, port) = place_of(place).ok_or_else(refused)?;
        let name = ContainerRef::parse(container).ok_or_else(|| format!("{container} is no container's ID or name"))?;
        let container = Hosted { name, host };
        Ok(Self::Docker { container, port })
    }
}

/// The two parts of `host:port`, by the same rules as an engine's address.
fn place_of(place: &str) -> Option<(String, u16)> {
    Endpoint::parse(&format!("tcp://{place}")).ok()?;
    let (host, port) = place.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
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
