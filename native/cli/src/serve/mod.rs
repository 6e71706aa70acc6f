//! `eid serve`: a read-only proxy for the part of a host's Docker API that nodes need.
//!
//! [`upstream`] follows the engine. It turns each answer ([`engine_container`]) into a public [`container`], each [`event`] into a
//! public event, and keeps both in the [`store`]. [`service`] answers requests from the store, with the filters of [`query`].
//! [`connection`] accepts clients at each [`listener`], and [`access`] decides which of them may ask.

mod access;
mod connection;
mod container;
mod engine_container;
mod event;
mod listener;
mod metrics;
mod query;
mod service;
mod store;
mod upstream;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use eid_docker::{is_host, Credentials, Endpoint, Engine, Error, Follower, Limits};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::args::{detail, endpoint, LogOptions};
use crate::output::{self, Failure, STATUS};
use crate::sockets::raise_open_file_limit;

use self::access::{Files, RequestRate, Secrets};
use self::connection::Server;
use self::container::Policy;
use self::listener::{Exposure, ListenAddress};
use self::metrics::Metrics;
use self::service::Service;
use self::store::Store;
use self::upstream::Upstream;

/// File descriptors that are kept for other purposes than connections.
const OTHER_DESCRIPTORS: usize = 64;

/// Serve a read-only part of this host's Docker API
///
/// Run it on each host, with access to the engine's unix socket: nodes need nothing else
/// of Docker, and clients need no change. It answers GET and HEAD of /_ping, /version,
/// /containers/json, /containers/ID/json and /events. It also answers /eid/host, for eid
/// name, and /metrics, for Prometheus. Nothing can be changed through it.
///
/// It shows only containers that publish or expose the distribution port, use the
/// host's network, or have a label eid.*. It shows these properties: the ID, the name,
/// the state, the time of the start, the labels eid.*, the network mode, the ports, and
/// the IDs of the networks with the container's addresses. It never shows the
/// environment, the command, mounts, or other labels.
///
/// With --certs it speaks TLS. If the folder has a ca.pem, clients need a certificate
/// from one of its authorities. With --token-file every request needs that token.
/// Without these options it listens only on loopback, on unix sockets, and on the
/// gateway address of a Docker bridge, which this host's containers can reach. It reads
/// the files again when they change. For example:
///
///   eid serve --listen 172.17.0.1:4243 --advertise 192.168.4.231
///   eid serve --listen 192.168.4.231:2376 --certs /etc/eid/certs
///
/// After SIGTERM it accepts no connections, ends the streams of events, finishes the
/// requests that it has received, and exits with status 0.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// URL of the Docker API: unix:///path, tcp://host:port or https://host:port
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock", value_parser = endpoint)]
    docker: Endpoint,

    /// The folder with ca.pem, cert.pem and key.pem for --docker https
    #[arg(long, value_name = "FOLDER")]
    docker_certs: Option<PathBuf>,

    /// Where to listen: ADDRESS:PORT, with TLS if there are --certs, https://ADDRESS:PORT, tcp://ADDRESS:PORT without TLS, or
    /// unix:///path, which this user and group may open; may be given several times
    #[arg(long, value_name = "ADDR", required = true)]
    listen: Vec<ListenAddress>,

    /// The address of this host, as in its nodes' names after the @, for eid name in its containers
    #[arg(long, value_name = "ADDR", value_parser = host)]
    advertise: Option<String>,

    /// The folder with cert.pem and key.pem of this server, and ca.pem for the certificates of clients
    #[arg(long, value_name = "FOLDER")]
    certs: Option<PathBuf>,

    /// The file with the token that each request needs
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Allow unencrypted or unauthenticated listeners on addresses that other hosts can reach
    #[arg(long)]
    insecure: bool,

    /// Show the image of each container
    #[arg(long)]
    show_image: bool,

    /// The TCP port that every node listens on in its container (-kernel erlang_port)
    #[arg(long, value_name = "PORT", default_value = "12345", value_parser = clap::value_parser!(u16).range(1..))]
    erlang_port: u16,

    /// Maximum number of open connections; further ones are closed immediately
    #[arg(long, value_name = "NUMBER", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// Requests per second allowed per client address (bursts of twice that); 0: unlimited
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    rate: u32,

    /// Time in seconds for unfinished requests after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(..=3600))]
    drain: u64,

    #[command(flatten)]
    log: LogOptions,
}

/// Runs `eid serve` until a signal ends it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.log.start();
    output::block_on_all_cores(arguments.serve())?
}

impl Arguments {
    async fn serve(&self) -> Result<(), Failure> {
        let secrets = Arc::new(self.secrets()?);
        let addresses = self.addresses(&secrets)?;
        let engine = self.engine();
        let max_connections = self.max_connections();
        let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [Ok(terminate), Ok(interrupt)] = &mut signals else {
            return Err(other("signals can't be waited for here"));
        };
        let mut listeners = Vec::new();
        for address in &addresses {
            let listener = address.open();
            listeners.push(listener.map_err(|error| other(format!("it can't listen on {address}: {error}")))?);
            info!("listening on {address}");
        }
        self.warn_of_unencrypted(&addresses);
        let store = Arc::new(Store::new());
        let policy = Policy {
            erlang_port: self.erlang_port,
            show_image: self.show_image,
        };
        let (end, ends) = watch::channel(false);
        let service = Service {
            store: Arc::clone(&store),
            engine: engine.clone(),
            advertised: self.advertise.clone(),
            secrets: Arc::clone(&secrets),
            rate: RequestRate::new(self.rate),
            metrics: Metrics::default(),
            ends,
        };
        let server = Arc::new(Server::new(Arc::new(service), max_connections as usize));
        let follower = Follower::new(Upstream::new(engine, policy, store));
        let mut follower = tokio::spawn(follower.run());
        tokio::spawn(secrets.renew());
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(Arc::clone(&server).accept(listener)))
            .collect();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // This ends only after a panic. Without the follower, the answers would never change again.
            error = &mut follower => {
                let error = error.unwrap_or_else(|_| Error::abandoned());
                return Err(other(format!("the engine is not followed any more: {error}")));
            }
        }
        info!("ending");
        end.send_replace(true);
        for task in accepting {
            let _ = task.await;
        }
        for address in &addresses {
            if let ListenAddress::Unix(path) = address {
                let _ = std::fs::remove_file(path);
            }
        }
        let _ = timeout(Duration::from_secs(self.drain), server.all_closed(max_connections)).await;
        Ok(())
    }

    fn secrets(&self) -> Result<Secrets, Failure> {
        let files = Files {
            certificates: self.certs.clone(),
            token: self.token_file.clone(),
        };
        Secrets::read(files).map_err(|error| other(detail(&error)))
    }

    /// Returns the addresses to listen on.
    /// Errors: An address that would admit unauthenticated clients of other hosts.
    fn addresses(&self, secrets: &Secrets) -> Result<Vec<ListenAddress>, Failure> {
        let has_certificates = self.certs.is_some();
        let addresses: Vec<ListenAddress> = self
            .listen
            .iter()
            .map(|address| address.clone().with_tls(has_certificates))
            .collect();
        for address in &addresses {
            if address.is_tls() && !has_certificates {
                return Err(other(format!(
                    "{address} needs certificates; name their folder with --certs"
                )));
            }
            if address.exposure() == Exposure::Host || self.insecure {
                continue;
            }
            if address.is_plain() && self.token_file.is_some() {
                return Err(other(format!(
                    "at {address} the token could be read on its way; add --certs, or --insecure if that is what you want"
                )));
            }
            let is_authenticated = secrets.demands_certificates() || self.token_file.is_some();
            if address.is_plain() || !is_authenticated {
                return Err(other(format!(
                    "at {address} other hosts could ask, and nobody would know who they are; add --certs with a ca.pem, or --certs and \
                     --token-file, listen on loopback, a Docker bridge's gateway or a unix socket, or add --insecure if that is what \
                     you want"
                )));
            }
        }
        Ok(addresses)
    }

    /// Warns that eid's clients send no token over plain TCP.
    fn warn_of_unencrypted(&self, addresses: &[ListenAddress]) {
        let plain: Vec<String> = addresses
            .iter()
            .filter(|address| address.is_plain())
            .map(ListenAddress::to_string)
            .collect();
        if self.token_file.is_some() && !plain.is_empty() {
            let plain = plain.join(" and ");
            warn!(
                "eid's commands and nodes send no token over plain TCP, so {plain} refuses them; add --certs, or listen on a unix socket"
            );
        }
    }

    fn engine(&self) -> Engine {
        let credentials = Credentials {
            certificates: self.docker_certs.clone(),
            token_file: None,
        };
        Engine::with_credentials(self.docker.clone(), Limits::default(), credentials)
    }

    /// Returns the maximum number of connections. If the limit of open files is low, some are kept for requests to the engine.
    fn max_connections(&self) -> u32 {
        let descriptors = raise_open_file_limit();
        let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
        let possible = u32::try_from(possible).unwrap_or(u32::MAX);
        if possible < self.max_connections {
            warn!("the limit of open files is {descriptors}, so only {possible} connections can be open at a time");
        }
        possible.min(self.max_connections)
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_wildcard = text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if is_host(text) && !is_wildcard {
        return Ok(text.to_owned());
    }
    Err(format!(
        "it must be an IP address or a DNS name, such as {}",
        Ipv4Addr::new(192, 168, 4, 231)
    ))
}

fn other(sentence: impl Into<String>) -> Failure {
    Failure::Other(sentence.into())
}
