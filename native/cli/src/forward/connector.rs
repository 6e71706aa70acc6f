//! Finds a target and connects to it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use eid_docker::{own_container, Bridge, Directory, Error, Registry, Route, RouteKind, Wanted};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};
use tokio::net::{lookup_host, TcpStream};
use tokio::time::timeout;

use super::rules::{RemoteContainer, Target};
use super::self_loop::OwnAddresses;
use super::target_health::TargetError;
use crate::args::EngineOptions;

/// The maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Time limit for a bridge. On a bridge a dial succeeds within milliseconds or never, so fail over early.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Finds targets and connects to them. Its async functions must run on the one runtime of the command.
pub struct Connector {
    registry: Registry,
    options: EngineOptions,
    connect_timeout: Duration,
    own_addresses: OwnAddresses,
}

/// The address of a target, as far as it is known without a query.
#[derive(Clone, Copy, Debug)]
pub struct KnownAddress {
    /// The address to dial.
    pub to: SocketAddr,
    /// Time limit for the dial.
    pub limit: Duration,
}

impl Connector {
    /// Makes a connector that refuses to connect to `own_addresses`.
    pub fn new(options: EngineOptions, connect_timeout: Duration, own_addresses: OwnAddresses) -> Self {
        Self {
            registry: Registry::new(own_container),
            options,
            connect_timeout,
            own_addresses,
        }
    }

    /// Returns the address of the target, if the target has an IP address and, for a container, is in its engine's directory.
    pub fn known(&self, target: &Target) -> Option<KnownAddress> {
        let limit = self.connect_timeout;
        match target {
            Target::Tcp { host, port } => {
                let to = SocketAddr::new(host.parse().ok()?, *port);
                Some(KnownAddress { to, limit })
            }
            Target::Docker { container, port } => {
                let ip = container.host.parse().ok()?;
                let directory = self.registry.existing(&self.options.location(&container.host, ip))?;
                let wanted = wanted(ip, *port, Bridge::Preferred);
                let route = directory.known_route(container.name.as_str(), &wanted)?;
                let limit = self.limit(&route);
                Some(KnownAddress { to: route.to, limit })
            }
        }
    }

    /// Invalidates the cached address. Returns whether a new lookup could give another one.
    pub fn doubt(&self, target: &Target) -> bool {
        let Target::Docker { container, .. } = target else {
            return false;
        };
        let ip = container.host.parse().ok();
        if let Some(directory) = ip.and_then(|ip| self.directory(container, ip).ok()) {
            directory.doubt(&container.name);
        }
        true
    }

    /// Finds the target and connects to it.
    pub async fn dial(&self, target: &Target) -> Result<OwnedFd, TargetError> {
        match target {
            Target::Tcp { host, port } => {
                let connect = |ip| self.connect(SocketAddr::new(ip, *port), self.connect_timeout);
                self.first(host, connect).await
            }
            Target::Docker { container, port } => {
                let dial = |ip| self.dial_container(container, ip, *port);
                self.first(&container.host, dial).await
            }
        }
    }

    /// Looks the container up, so that its engine's directory is loaded before the first connection.
    pub async fn prepare(&self, target: &Target) -> Result<(), TargetError> {
        let Target::Docker { container, port } = target else {
            return Ok(());
        };
        let find = |ip| async move { self.find(container, &wanted(ip, *port, Bridge::Preferred)).await };
        self.first(&container.host, find).await.map(|_| ())
    }

    /// Tries each address of the host until an attempt succeeds.
    async fn first<T, F: Future<Output = Result<T, TargetError>>>(
        &self,
        host: &str,
        attempt: impl Fn(IpAddr) -> F,
    ) -> Result<T, TargetError> {
        if let Ok(ip) = host.parse() {
            return attempt(ip).await;
        }
        let mut failure = None;
        for ip in self.addresses(host).await? {
            match attempt(ip).await {
                Ok(success) => return Ok(success),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| unknown(host, None)))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, TargetError> {
        let answer = timeout(self.options.timeout(), lookup_host((host, 0))).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let addresses = answer.map_err(|error| unknown(host, Some(error)))?;
        Ok(addresses.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
    }

    /// Looks up and dials once more if the dial failed, or if the engine reported the container as gone or did not answer. The first
    /// lookup may have shared an answer from before this connection.
    async fn dial_container(&self, container: &RemoteContainer, ip: IpAddr, port: u16) -> Result<OwnedFd, TargetError> {
        let mut bridge = Bridge::Preferred;
        match self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await {
            Err(TargetError::Engine(error)) if !is_worth_a_retry(&error) => return Err(TargetError::Engine(error)),
            Err(_) => {}
            connected => return connected,
        }
        let directory = self.directory(container, ip).map_err(TargetError::Engine)?;
        directory.doubt(&container.name);
        self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await
    }

    /// Dials once. A bridge that fails becomes the last resort.
    async fn dial_route(
        &self,
        container: &RemoteContainer,
        wanted: &Wanted,
        bridge: &mut Bridge,
    ) -> Result<OwnedFd, TargetError> {
        let route = self.find(container, wanted).await?;
        let mut limit = self.connect_timeout;
        if *bridge == Bridge::Preferred {
            limit = self.limit(&route);
            if route.kind == RouteKind::Bridge {
                *bridge = Bridge::LastResort(route.to.ip());
            }
        }
        self.connect(route.to, limit).await
    }

    async fn find(&self, container: &RemoteContainer, wanted: &Wanted) -> Result<Route, TargetError> {
        let directory = self.directory(container, wanted.host).map_err(TargetError::Engine)?;
        let found = timeout(self.options.timeout(), directory.route(&container.name, wanted)).await;
        found.unwrap_or(Err(Error::Timeout)).map_err(TargetError::Engine)
    }

    fn limit(&self, route: &Route) -> Duration {
        match route.kind {
            RouteKind::Bridge => self.connect_timeout.min(BRIDGE_TIMEOUT),
            _ => self.connect_timeout,
        }
    }

    fn directory(&self, container: &RemoteContainer, ip: IpAddr) -> Result<Directory, Error> {
        let location = self.options.location(&container.host, ip);
        self.registry.get(&location, self.options.limits())
    }

    async fn connect(&self, to: SocketAddr, limit: Duration) -> Result<OwnedFd, TargetError> {
        let socket = self.begin_to_connect(to)?;
        let connect = async {
            let stream = TcpStream::from_std(socket.into())?;
            stream.writable().await?;
            match stream.take_error()? {
                Some(error) => Err(error),
                None => stream.into_std(),
            }
        };
        let connected = timeout(limit, connect).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map(OwnedFd::from)
            .map_err(|error| TargetError::Dial { to, error })
    }

    /// Starts to connect a non-blocking socket. When it becomes writable, it is connected or has an error.
    pub fn begin_to_connect(&self, to: SocketAddr) -> Result<OwnedFd, TargetError> {
        if self.own_addresses.contains(to) {
            return Err(TargetError::SelfLoop { to });
        }
        begin_to_connect(to).map_err(|error| TargetError::Dial {
            to,
            error: error.into(),
        })
    }
}

fn begin_to_connect(to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Returns whether a second lookup may succeed soon.
fn is_worth_a_retry(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable(..)
            | Error::Config(..)
            | Error::Defect(_)
            | Error::NoSuchContainer
            | Error::NotRunning
            | Error::NotPublished
            | Error::PublishedOnLoopback
            | Error::PublishedElsewhere
    )
}

fn wanted(host: IpAddr, port: u16, bridge: Bridge) -> Wanted {
    Wanted {
        host,
        erlang_port: port,
        bridge,
    }
}

fn unknown(host: &str, error: Option<io::Error>) -> TargetError {
    let host = host.to_owned();
    TargetError::UnknownHost { host, error }
}
