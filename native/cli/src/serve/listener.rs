//! Where clients come in, and who can get there.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};

/// Where to listen, as `--listen` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TLS if there are certificates.
    Tcp(SocketAddr),
    /// No TLS, whatever there is.
    Plain(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

/// A port or a socket that is open.
pub enum Listener {
    Plain(TcpListener),
    Tls(TcpListener),
    Unix(UnixListener),
}

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Processes of this host, or its containers too.
    Host,
    /// Whoever has a route to it.
    Anybody,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        let place = if let Some(path) = text.strip_prefix("unix://") {
            Some(Self::Unix(path.into())).filter(|_| path.starts_with('/'))
        } else if let Some(rest) = text.strip_prefix("tcp://") {
            address(rest).map(Self::Plain)
        } else if let Some(rest) = text.strip_prefix("https://") {
            address(rest).map(Self::Tls)
        } else {
            address(text).map(Self::Tcp)
        };
        place.ok_or_else(|| {
            "it must be an IP address and a port, such as 192.168.4.231:4243 or [2001:db8::1]:4243, with tcp:// or https:// before it \
             if need be, or unix:///path"
                .to_owned()
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Plain(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl Place {
    /// The same where it is known whether there are certificates.
    pub fn with_tls(self, has_certificates: bool) -> Self {
        match self {
            Self::Tcp(address) if has_certificates => Self::Tls(address),
            Self::Tcp(address) => Self::Plain(address),
            place => place,
        }
    }

    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub fn reach(&self) -> Reach {
        match self {
            Self::Unix(_) => Reach::Host,
            Self::Tcp(address) | Self::Plain(address) | Self::Tls(address) => reach(address.ip().to_canonical()),
        }
    }

    /// Opens it. A socket that nobody listens on any more is replaced; the user and the group of this process may connect to
    /// a new one.
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
    // From the first moment on: 0660.
    let before = umask(Mode::from_raw_mode(0o117));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

/// A bridge of Docker's has an address that the containers on it reach, and nobody else who is not sent there.
fn reach(ip: IpAddr) -> Reach {
    if ip.is_loopback() {
        return Reach::Host;
    }
    let bridges = bridges();
    let own = getifaddrs().into_iter().flatten();
    let mut of_bridges = own.filter(|own| bridges.contains(&own.interface_name));
    let is_it = of_bridges.any(|own| {
        let address = own.address.as_ref();
        let v4 = address.and_then(|address| Some(IpAddr::V4(address.as_sockaddr_in()?.ip())));
        let v6 = address.and_then(|address| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())));
        v4.or(v6) == Some(ip)
    });
    match is_it {
        true => Reach::Host,
        false => Reach::Anybody,
    }
}

/// The bridges that Docker makes, and Podman, with nothing in them but containers: a bridge with a network card in it, as
/// virtual machines have it, is on the network of the host.
fn bridges() -> HashSet<String> {
    let all = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let bridges =
        all.filter(|interface| interface.path().join("bridge").is_dir() && has_only_containers(&interface.path()));
    bridges
        .filter_map(|interface| interface.file_name().into_string().ok())
        .filter(|name| is_engines(name))
        .collect()
}

/// A container's end of the cable is in its network namespace, the other one here.
fn has_only_containers(bridge: &Path) -> bool {
    let members = std::fs::read_dir(bridge.join("brif"));
    members.is_ok_and(|mut members| {
        members.all(|member| member.is_ok_and(|member| member.file_name().to_string_lossy().starts_with("veth")))
    })
}

/// `docker0`, `docker_gwbridge` of a swarm, `br-` and the beginning of a network's ID, `podman0`, `cni-podman0`; not `br-lan`.
fn is_engines(bridge: &str) -> bool {
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
    fn the_bridges_of_engines() {
        for name in [
            "docker0",
            "docker_gwbridge",
            "br-0123456789ab",
            "podman1",
            "cni-podman0",
        ] {
            assert!(is_engines(name), "{name}");
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
            assert!(!is_engines(name), "{name}");
        }
    }

    #[test]
    fn a_network_card_in_a_bridge() {
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
