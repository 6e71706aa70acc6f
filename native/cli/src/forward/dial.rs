//! Finding a target and connecting to it, for one connection.

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

use super::own::Own;
use super::reach::Unreachable;
use super::target::{Hosted, Target};
use crate::engine_options::EngineOptions;

/// Of a name's addresses so many are tried.
const MAX_ADDRESSES: usize = 8;

/// A bridge that can't be dialled within this time is given up for another way.
const BRIDGE_TIME: Duration = Duration::from_secs(1);

/// Finds targets and connects to them. Whatever waits has to run on the one runtime of the command.
pub struct Dialer {
    engines: Registry,
    options: EngineOptions,
    connect_timeout: Duration,
    own: Own,
}

/// Where a target is, without asking anybody.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub to: SocketAddr,
    /// How long connecting may take.
    pub limit: Duration,
}

impl Dialer {
    pub fn new(options: EngineOptions, connect_timeout: Duration, own: Own) -> Self {
        Self {
            engines: Registry::new(own_container),
            options,
            connect_timeout,
            own,
        }
    }

    /// Where the target is, if it has an IP address, and is no container or is in its engine's directory.
    pub fn known(&self, target: &Target) -> Option<Known> {
        let limit = self.connect_timeout;
        match target {
            Target::Tcp { host, port } => {
                let to = SocketAddr::new(host.parse().ok()?, *port);
                Some(Known { to, limit })
            }
            Target::Docker { container, port } => {
                let ip = container.host.parse().ok()?;
                let directory = self.engines.existing(&self.options.location(&container.host, ip))?;
                let wanted = wanted(ip, *port, Bridge::Preferred);
                let route = directory.known_route(container.name.as_str(), &wanted)?;
                let limit = self.limit(&route);
                Some(Known { to: route.to, limit })
            }
        }
    }

    /// What is [`Known`] of the target is wrong: whether it may be another one when it is asked for again.
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

    /// A new connection to the target.
    ///
    /// # Errors
    ///
    /// Why the last attempt failed.
    pub async fn dial(&self, target: &Target) -> Result<OwnedFd, Unreachable> {
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

    /// Finds the container, so that its engine's directory is there when somebody connects.
    ///
    /// # Errors
    ///
    /// Why it can't be found now.
    pub async fn prepare(&self, target: &Target) -> Result<(), Unreachable> {
        let Target::Docker { container, port } = target else {
            return Ok(());
        };
        let find = |ip| async move { self.find(container, &wanted(ip, *port, Bridge::Preferred)).await };
        self.first(&container.host, find).await.map(|_| ())
    }

    /// The first success with an address of the host.
    async fn first<T, F: Future<Output = Result<T, Unreachable>>>(
        &self,
        host: &str,
        attempt: impl Fn(IpAddr) -> F,
    ) -> Result<T, Unreachable> {
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

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unreachable> {
        let answer = timeout(self.options.timeout(), lookup_host((host, 0))).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let addresses = answer.map_err(|error| unknown(host, Some(error)))?;
        Ok(addresses.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
    }

    /// If it can't be dialled where it is thought to be, or is said not to be there, or the engine is, it is looked up and dialled once
    /// more: such an answer, which others share, may have been on its way already when this connection was made.
    async fn dial_container(&self, container: &Hosted, ip: IpAddr, port: u16) -> Result<OwnedFd, Unreachable> {
        let mut bridge = Bridge::Preferred;
        match self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await {
            Err(Unreachable::Engine(error)) if !may_be_over(&error) => return Err(Unreachable::Engine(error)),
            Err(_) => {}
            connected => return connected,
        }
        let directory = self.directory(container, ip).map_err(Unreachable::Engine)?;
        directory.doubt(&container.name);
        self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await
    }

    /// A bridge that can't be dialled is the last resort from then on.
    async fn dial_route(
        &self,
        container: &Hosted,
        wanted: &Wanted,
        bridge: &mut Bridge,
    ) -> Result<OwnedFd, Unreachable> {
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

    async fn find(&self, container: &Hosted, wanted: &Wanted) -> Result<Route, Unreachable> {
        let directory = self.directory(container, wanted.host).map_err(Unreachable::Engine)?;
        let found = timeout(self.options.timeout(), directory.route(&container.name, wanted)).await;
        found.unwrap_or(Err(Error::Timeout)).map_err(Unreachable::Engine)
    }

    fn limit(&self, route: &Route) -> Duration {
        match route.kind {
            RouteKind::Bridge => self.connect_timeout.min(BRIDGE_TIME),
            _ => self.connect_timeout,
        }
    }

    fn directory(&self, container: &Hosted, ip: IpAddr) -> Result<Directory, Error> {
        let location = self.options.location(&container.host, ip);
        self.engines.get(&location, self.options.limits())
    }

    async fn connect(&self, to: SocketAddr, limit: Duration) -> Result<OwnedFd, Unreachable> {
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
            .map_err(|error| Unreachable::Dial { to, error })
    }

    /// A socket that connects; it does not block. When it becomes writable, it has done so, or it has an error.
    ///
    /// # Errors
    ///
    /// What is known at once.
    pub fn begin_to_connect(&self, to: SocketAddr) -> Result<OwnedFd, Unreachable> {
        if self.own.has(to) {
            return Err(Unreachable::Own { to });
        }
        begin_to_connect(to).map_err(|error| Unreachable::Dial {
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

/// Whether the next answer may be another one, and does not take long.
fn may_be_over(error: &Error) -> bool {
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

fn unknown(host: &str, error: Option<io::Error>) -> Unreachable {
    let host = host.to_owned();
    Unreachable::UnknownHost { host, error }
}
