//! `eid serve`: a read-only sliver of a host's Docker API, so that no container and no other host needs all of it.
//!
//! [`upstream`] follows the engine and keeps the [`store`] up to date with what [`container`] and [`event`] make of its answers;
//! [`service`] answers requests from it, which [`connection`] takes at each [`listener`].

mod body;
mod connection;
mod container;
mod event;
mod listener;
mod metrics;
mod query;
mod quiet;
mod rate;
mod secrets;
mod service;
mod store;
mod upstream;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use eid_docker::{Credentials, Endpoint, Engine, Error, Limits, NodeName};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{watch, Semaphore};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::descriptors;
use crate::engine_options::endpoint;
use crate::failure::{Failure, STATUS};
use crate::log::LogOptions;
use crate::output;

use self::connection::Gate;
use self::container::Policy;
use self::listener::{Place, Reach};
use self::quiet::Quiet;
use self::rate::Rate;
use self::secrets::{Files, Secrets};
use self::service::Service;
use self::store::Store;
use self::upstream::Upstream;

/// Descriptors besides those of connections.
const OTHER_DESCRIPTORS: usize = 64;

/// Serve a read-only sliver of this host's Docker API
///
/// One of these on each host, with the engine's unix socket, is all that eid needs of
/// Docker, and clients need no change. It answers GET and HEAD of /_ping, /version,
/// /containers/json, /containers/ID/json and /events, of /eid/host, for eid name, and
/// of /metrics, for Prometheus. Nothing can be changed through it.
///
/// It shows the containers that publish or expose the erlang port, use the host's
/// network, or have a label eid.*, and for the others answers as if there were none. Of
/// each it tells the ID, the name, the state, since when it runs, its labels eid.*, the
/// network mode, the ports, and the IDs of its networks with its addresses there; never
/// its environment, command, mounts, or other labels.
///
/// With --certs it speaks TLS, and where the folder has a ca.pem, clients need a
/// certificate from an authority in it. With --token-file every request needs that
/// token. With neither it listens on loopback, on the gateway address of a Docker
/// bridge, which this host's containers reach, and on unix sockets, and nowhere else.
/// The files are read again when they change. For example:
///
///   eid serve --listen 172.17.0.1:4243 --advertise 192.168.4.231
///   eid serve --listen 192.168.4.231:2376 --certs /etc/eid/certs
///
/// SIGTERM ends it: it takes no more connections, ends the streams of events, finishes
/// what it was asked, and exits with status 0.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// Where the Docker API is: unix:///path, tcp://host:port or https://host:port
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock", value_parser = endpoint)]
    docker: Endpoint,

    /// The folder with ca.pem, cert.pem and key.pem for --docker https
    #[arg(long, value_name = "FOLDER")]
    docker_certs: Option<PathBuf>,

    /// Where to listen: ADDRESS:PORT, with TLS if there are --certs, https://ADDRESS:PORT, tcp://ADDRESS:PORT without TLS, or
    /// unix:///path, which this user and group may open; may be given several times
    #[arg(long, value_name = "ADDR", required = true)]
    listen: Vec<Place>,

    /// The address of this host as it stands after the @ of its nodes' names, for eid name in its containers
    #[arg(long, value_name = "ADDR", value_parser = host)]
    advertise: Option<String>,

    /// The folder with cert.pem and key.pem of this server, and ca.pem for the certificates of clients
    #[arg(long, value_name = "FOLDER")]
    certs: Option<PathBuf>,

    /// The file with the token that each request needs
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Listen without TLS or without knowing who asks, where others can get
    #[arg(long)]
    insecure: bool,

    /// Show which image each container has been made of
    #[arg(long)]
    show_image: bool,

    /// The TCP port that every node listens on in its container (-kernel erlang_port)
    #[arg(long, value_name = "PORT", default_value = "12345", value_parser = clap::value_parser!(u16).range(1..))]
    erlang_port: u16,

    /// The connections at a time; more are closed at once
    #[arg(long, value_name = "NUMBER", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// The requests a second of one address, for some time twice as many; 0 is no limit
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    rate: u32,

    /// The seconds that SIGTERM leaves to what is being answered
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(..=3600))]
    drain: u64,

    #[command(flatten)]
    log: LogOptions,
}

/// # Errors
///
/// Why it does not listen.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.log.start();
    output::block_on_all_cores(arguments.serve())?
}

impl Arguments {
    async fn serve(&self) -> Result<(), Failure> {
        let secrets = Arc::new(self.secrets()?);
        let places = self.places(&secrets)?;
        let engine = self.engine();
        let most = self.connections();
        let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [Ok(terminate), Ok(interrupt)] = &mut signals else {
            return Err(other("signals can't be waited for here"));
        };
        let mut listeners = Vec::new();
        for place in &places {
            let listener = place.open();
            listeners.push(listener.map_err(|error| other(format!("it can't listen on {place}: {error}")))?);
            info!("listening on {place}");
        }
        self.warn_of_readable_places(&places);
        let store = Arc::new(Store::new());
        let policy = Policy {
            erlang_port: self.erlang_port,
            show_image: self.show_image,
        };
        let (end, ends) = watch::channel(false);
        let gate = Arc::new(Gate {
            service: Arc::new(Service {
                store: Arc::clone(&store),
                engine: engine.clone(),
                advertised: self.advertise.clone(),
                secrets: Arc::clone(&secrets),
                rate: Rate::new(self.rate),
                metrics: metrics::Metrics::default(),
                ends,
            }),
            places: Arc::new(Semaphore::new(most as usize)),
            quiet: Quiet::default(),
        });
        tokio::spawn(Upstream::new(engine, policy, store).run());
        tokio::spawn(secrets.renew());
        let taking: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(Arc::clone(&gate).accept(listener)))
            .collect();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("ending");
        end.send_replace(true);
        for taking in taking {
            let _ = taking.await;
        }
        for place in &places {
            if let Place::Unix(path) = place {
                let _ = std::fs::remove_file(path);
            }
        }
        // All places are free when the last connection is gone.
        let _ = timeout(Duration::from_secs(self.drain), gate.places.acquire_many(most)).await;
        Ok(())
    }

    fn secrets(&self) -> Result<Secrets, Failure> {
        let files = Files {
            certificates: self.certs.clone(),
            token: self.token_file.clone(),
        };
        Secrets::read(files).map_err(|error| match error {
            Error::Config(_, why) | Error::Unreachable(_, why) => other(why),
            error => other(error.to_string()),
        })
    }

    /// Where to listen, if nobody is let in whom it does not want.
    fn places(&self, secrets: &Secrets) -> Result<Vec<Place>, Failure> {
        let has_certificates = self.certs.is_some();
        let places: Vec<Place> = self
            .listen
            .iter()
            .map(|place| place.clone().with_tls(has_certificates))
            .collect();
        for place in &places {
            if place.is_tls() && !has_certificates {
                return Err(other(format!(
                    "{place} needs certificates; name their folder with --certs"
                )));
            }
            if place.reach() == Reach::Host || self.insecure {
                continue;
            }
            if place.is_plain() && self.token_file.is_some() {
                return Err(other(format!(
                    "at {place} the token could be read on its way; add --certs, or --insecure if that is what you want"
                )));
            }
            let asks = secrets.demands_certificates() || self.token_file.is_some();
            if place.is_plain() || !asks {
                return Err(other(format!(
                    "at {place} other hosts could ask, and nobody would know who they are; add --certs with a ca.pem, or --certs and \
                     --token-file, listen on loopback, a Docker bridge's gateway or a unix socket, or add --insecure if that is what \
                     you want"
                )));
            }
        }
        Ok(places)
    }

    /// Where a token could be read on its way, eid's own clients do not send theirs.
    fn warn_of_readable_places(&self, places: &[Place]) {
        let readable: Vec<String> = places
            .iter()
            .filter(|place| place.is_plain())
            .map(Place::to_string)
            .collect();
        if self.token_file.is_some() && !readable.is_empty() {
            let readable = readable.join(" and ");
            warn!(
                "eid's commands and nodes send no token over plain TCP, so {readable} refuses them; add --certs, or listen on a unix socket"
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

    /// How many there may be. Where the system has not so many descriptors, some are left for what the engine is asked.
    fn connections(&self) -> u32 {
        let descriptors = descriptors::raise_limit();
        let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
        let possible = u32::try_from(possible).unwrap_or(u32::MAX);
        if possible < self.max_connections {
            warn!("the system has {descriptors} descriptors for it, so there can be {possible} connections at a time");
        }
        possible.min(self.max_connections)
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_wildcard = text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    match NodeName::parse(format!("x@{text}")) {
        Ok(_) if !is_wildcard => Ok(text.to_owned()),
        _ => Err(format!(
            "it must be an IP address or a DNS name, such as {}",
            Ipv4Addr::new(192, 168, 4, 231)
        )),
    }
}

fn other(sentence: impl Into<String>) -> Failure {
    Failure::Other(sentence.into())
}
