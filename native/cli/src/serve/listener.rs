//! The addresses that `eid serve` listens on, and who can reach them.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};

use crate::sockets::local_addresses;

/// A value of `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `ADDRESS:PORT`: TLS if there are certificates.
    Tcp(SocketAddr),
    /// `tcp://`: never TLS.
    Plain(SocketAddr),
    /// `https://`: always TLS.
    Tls(SocketAddr),
    /// `unix://`: the path of a socket.
    Unix(PathBuf),
}

/// A listening socket.
pub enum Listener {
    /// TCP.
    Plain(TcpListener),
    /// TLS.
    Tls(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// The clients that can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Processes and containers of this host.
    Host,
    /// Every host that has a route.
    Network,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        let listen = if let Some(path) = text.strip_prefix("unix://") {
            Some(Self::Unix(path.into())).filter(|_| path.starts_with('/'))
        } else if let Some(rest) = text.strip_prefix("tcp://") {
            address(rest).map(Self::Plain)
        } else if let Some(rest) = text.strip_prefix("https://") {
            address(rest).map(Self::Tls)
        } else {
            address(text).map(Self::Tcp)
        };
        listen.ok_or_else(|| {
            "it must be an IP address and a port, such as 192.168.4.231:4243 or [2001:db8::1]:4243, with tcp:// or https:// before it \
             if need be, or unix:///path"
                .to_owned()
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Plain(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// Decides whether [`ListenAddress::Tcp`] uses TLS.
    pub fn with_tls(self, has_certificates: bool) -> Self {
        match self {
            Self::Tcp(address) if has_certificates => Self::Tls(address),
            Self::Tcp(address) => Self::Plain(address),
            other => other,
        }
    }

    /// Returns whether this is TCP without TLS.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Returns whether this is TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Returns which clients can reach this address.
    pub fn exposure(&self) -> Exposure {
        match self {
            Self::Unix(_) => Exposure::Host,
            Self::Tcp(address) | Self::Plain(address) | Self::Tls(address) => exposure(address.ip().to_canonical()),
        }
    }

    /// Starts to listen. A stale unix socket is replaced. The user and the group of this process may connect to a new one.
    pub fn open(&self) -> io::Result<Listener> {
        let tcp = |address: &SocketAddr| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        Ok(match self {
            Self::Tcp(address) | Self::Plain(address) => Listener::Plain(tcp(address)?),
            Self::Tls(address) => Listener::Tls(tcp(address)?),
            Self::Unix(path) => Listener::Unix(open_unix(path)?),
        })
    }
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if is_socket
        && BlockingUnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    // The socket has mode 0660 from the start.
    let before = umask(Mode::from_raw_mode(0o117));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

/// The gateway address of an engine's bridge is for the containers on it. Other hosts have no route to it by default.
fn exposure(ip: IpAddr) -> Exposure {
    if ip.is_loopback() {
        return Exposure::Host;
    }
    let bridges = bridges();
    if local_addresses().any(|(interface, own)| own == ip && bridges.contains(&interface)) {
        Exposure::Host
    } else {
        Exposure::Network
    }
}

/// Returns the bridges of Docker and Podman that connect only containers. A bridge with a network card, as virtual machines use
/// it, belongs to the host's network.
fn bridges() -> HashSet<String> {
    let all = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let bridges =
        all.filter(|interface| interface.path().join("bridge").is_dir() && has_only_containers(&interface.path()));
    bridges
        .filter_map(|interface| interface.file_name().into_string().ok())
        .filter(|name| is_engine_bridge(name))
        .collect()
}

/// Returns whether all interfaces in a bridge are veth devices, whose other ends are in containers.
fn has_only_containers(bridge: &Path) -> bool {
    let members = std::fs::read_dir(bridge.join("brif"));
    members.is_ok_and(|mut members| {
        members.all(|member| member.is_ok_and(|member| member.file_name().to_string_lossy().starts_with("veth")))
    })
}

/// Returns whether an engine names bridges like this: `docker0`, `docker_gwbridge` of a swarm, `br-` and the beginning of a network's
/// ID, `podman0`, `cni-podman0`. `br-lan` is not such a name.
fn is_engine_bridge(bridge: &str) -> bool {
    let numbered = |start: &str| {
        let number = bridge.strip_prefix(start);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let id = bridge.strip_prefix("br-");
    bridge == "docker_gwbridge"
        || ["docker", "podman", "cni-podman"].into_iter().any(numbered)
        || id.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_engine_bridges() {
        for name in [
            "docker0",
            "docker_gwbridge",
            "br-0123456789ab",
            "podman1",
            "cni-podman0",
        ] {
            assert!(is_engine_bridge(name), "{name}");
        }
        for name in [
            "br-lan",
            "br-ex",
            "br-eth0",
            "br-0123456789abc",
            "br0",
            "docker",
            "docker-lan",
            "podmanx",
            "virbr0",
            "lo",
        ] {
            assert!(!is_engine_bridge(name), "{name}");
        }
    }

    #[test]
    fn bridges_with_a_network_card() {
        let bridge = std::env::temp_dir().join(format!("eid-bridge-{}", std::process::id()));
        let members = bridge.join("brif");
        std::fs::create_dir_all(&members).unwrap();
        assert!(has_only_containers(&bridge));
        std::fs::write(members.join("veth0a1b2c3"), "").unwrap();
        assert!(has_only_containers(&bridge));
        std::fs::write(members.join("eth0"), "").unwrap();
        assert!(!has_only_containers(&bridge));
        std::fs::remove_dir_all(&bridge).unwrap();
        assert!(!has_only_containers(&bridge));
    }
}
