//! Finding a target and connecting to it, for one connection.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use eid_docker::{Bridge, Directory, Engines, Error, NodeName, Route, RouteKind, Wanted};
use tokio::net::{lookup_host, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::reach::Unreachable;
use super::target::Target;
use crate::engine_options::EngineOptions;

/// Of a name's addresses so many are tried.
const MAX_ADDRESSES: usize = 8;

/// A bridge that can't be dialled within this time is given up for another way.
const BRIDGE_TIME: Duration = Duration::from_secs(1);

/// Connects to targets. Names and engines are asked on a runtime of its own, which lives as long as the command.
pub struct Dialer {
    asks: Handle,
    engines: Engines,
    options: EngineOptions,
    connect_timeout: Duration,
}

impl Dialer {
    /// `asks` is the runtime that names and engines are asked on.
    pub fn new(asks: Handle, options: EngineOptions, connect_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            asks,
            engines: Engines::default(),
            options,
            connect_timeout,
        })
    }

    /// A new connection to the target.
    ///
    /// # Errors
    ///
    /// Why the last attempt failed.
    pub async fn dial(self: &Arc<Self>, target: &Target) -> Result<TcpStream, Unreachable> {
        match target {
            Target::Tcp { host, port } => {
                self.first(host, |ip| {
                    self.connect(SocketAddr::new(ip, *port), self.connect_timeout)
                })
                .await
            }
            Target::Docker { container, port } => {
                // Boxed, so that the others are small.
                Box::pin(self.first(container.host(), |ip| self.dial_container(container, ip, *port))).await
            }
        }
    }

    /// Finds the container, so that its engine's directory is there when somebody connects.
    ///
    /// # Errors
    ///
    /// Why it can't be found now.
    pub async fn prepare(self: &Arc<Self>, target: &Target) -> Result<(), Unreachable> {
        let Target::Docker { container, port } = target else {
            return Ok(());
        };
        let find = |ip| async move { self.find(container, &wanted(ip, *port, Bridge::Preferred)).await };
        self.first(container.host(), find).await.map(|_| ())
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
        let name = host.to_owned();
        let asked = self.asks.spawn(async move {
            let addresses = lookup_host((name, 0)).await?;
            io::Result::Ok(addresses.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
        });
        let answer = asked.await.unwrap_or_else(|_| Ok(Vec::new()));
        answer.map_err(|error| unknown(host, Some(error)))
    }

    /// If it can't be dialled where it is thought to be, or is said not to be there, it is looked up and dialled once more: such an
    /// answer may have been on its way already when this connection was made.
    async fn dial_container(
        self: &Arc<Self>,
        container: &NodeName,
        ip: IpAddr,
        port: u16,
    ) -> Result<TcpStream, Unreachable> {
        let mut bridge = Bridge::Preferred;
        match self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await {
            Err(Unreachable::Engine(error)) if !is_about_the_container(&error) => {
                return Err(Unreachable::Engine(error))
            }
            Err(_) => {}
            connected => return connected,
        }
        let directory = self.directory(container, ip).map_err(Unreachable::Engine)?;
        directory.doubt(container.container());
        self.dial_route(container, &wanted(ip, port, bridge), &mut bridge).await
    }

    /// A bridge that can't be dialled is the last resort from then on.
    async fn dial_route(
        self: &Arc<Self>,
        container: &NodeName,
        wanted: &Wanted,
        bridge: &mut Bridge,
    ) -> Result<TcpStream, Unreachable> {
        let route = self.find(container, wanted).await?;
        let mut limit = self.connect_timeout;
        if route.kind == RouteKind::Bridge && *bridge == Bridge::Preferred {
            *bridge = Bridge::LastResort(route.to.ip());
            limit = limit.min(BRIDGE_TIME);
        }
        self.connect(route.to, limit).await
    }

    async fn find(self: &Arc<Self>, container: &NodeName, wanted: &Wanted) -> Result<Route, Unreachable> {
        let location = self.options.location(container.host(), wanted.host);
        let known = self.engines.existing(&location);
        if let Some(route) = known.and_then(|known| known.known_route(container.container().as_str(), wanted)) {
            return Ok(route);
        }
        let (dialer, container, wanted) = (Arc::clone(self), container.clone(), *wanted);
        let asked = self.asks.spawn(async move {
            let directory = dialer.directory(&container, wanted.host)?;
            let found = timeout(
                dialer.options.timeout(),
                directory.route(container.container(), &wanted),
            );
            found.await.unwrap_or(Err(Error::Timeout))
        });
        let found = asked.await.unwrap_or_else(|_| Err(Error::abandoned()));
        found.map_err(Unreachable::Engine)
    }

    fn directory(&self, container: &NodeName, ip: IpAddr) -> Result<Directory, Error> {
        let location = self.options.location(container.host(), ip);
        self.engines.get(&location, self.options.limits())
    }

    async fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream, Unreachable> {
        let connect = async {
            let socket = match to {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_nodelay(true)?;
            socket.connect(to).await
        };
        let connected = timeout(limit, connect).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| Unreachable::Dial { to, error })
    }
}

/// And not about the engine, which would say the same again.
fn is_about_the_container(error: &Error) -> bool {
    matches!(
        error,
        Error::NoSuchContainer
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
