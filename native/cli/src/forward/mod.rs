//! `eid forward`: a TCP proxy, the ambassador for a service in a container elsewhere.
//!
//! [`rules`] says which port leads to which target. Each [`worker`] thread accepts connections with its own [`listener`], and
//! forwards each [`connection`] by a [`copy`] in both directions. The [`connector`] finds and dials targets on a tokio runtime, and
//! [`target_health`] logs their outages.

mod args;
mod buffer;
mod connection;
mod connector;
mod copy;
mod listener;
mod pipe;
mod rules;
mod self_loop;
mod slab;
mod socket;
mod target_health;
mod worker;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::log_throttle::LogThrottle;
use crate::output::Failure;
use crate::sockets::raise_open_file_limit;

pub use args::Arguments;
use connector::Connector;
use listener::address_of;
use rules::Rule;
use self_loop::OwnAddresses;
use target_health::TargetHealth;
use worker::{phase, Route, Service};
use workers::{Message, Workers};

/// File descriptors of one connection: two sockets, and in bulk mode a pipe with two ends for each direction.
const DESCRIPTORS: usize = 6;

/// A condition that has not occurred for this time is logged again.
const EPISODE: Duration = Duration::from_secs(60);

/// File descriptors of the command itself, for engines and DNS.
const OWN_DESCRIPTORS: usize = 256;

/// Runs `eid forward` until a signal ends it.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let rules = arguments.rules()?;
    let threads = match arguments.threads {
        Some(threads) => threads.into(),
        None => available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let limit = connection_limit(arguments.max_connections, rules.len() * threads)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_start)?;
    // Before the first client can connect: without a handler, SIGTERM ends the process at once.
    let signals = {
        let _entered = runtime.enter();
        signals().map_err(no_start)?
    };
    let sockets = sockets(&rules, threads)?;
    let addresses: io::Result<Vec<SocketAddr>> = sockets[0].iter().map(address_of).collect();
    let addresses = addresses.map_err(no_start)?;
    arguments.log.start();
    let route = |rule| Route {
        rule,
        health: TargetHealth::default(),
    };
    // The workers share it until the process ends.
    let service: &Service = Box::leak(Box::new(Service {
        routes: rules.into_iter().map(route).collect(),
        connector: Connector::new(
            arguments.engines,
            arguments.connect_timeout,
            OwnAddresses::new(addresses.clone()),
        ),
        runtime: runtime.handle().clone(),
        workers: Workers::new(threads).map_err(no_start)?,
        idle_timeout: arguments.idle_timeout,
        connect_timeout: arguments.connect_timeout,
        connections: AtomicUsize::new(0),
        limit,
        accepted: AtomicU64::new(0),
        limit_reached: LogThrottle::per_episode(EPISODE),
        accept_errors: LogThrottle::per_episode(EPISODE),
        phase: AtomicU8::new(phase::OPEN),
    }));
    for (route, address) in service.routes.iter().zip(addresses) {
        info!("{address} is forwarded to {}", route.rule.target);
    }
    let mut threads = Vec::new();
    for (own, sockets) in sockets.into_iter().enumerate() {
        threads.push(worker::start(service, own, sockets).map_err(no_start)?);
    }
    runtime.block_on(wait_and_drain(service, signals, arguments.drain));
    enter(service, phase::OVER);
    for thread in threads {
        // A panic ends the process.
        let _ = thread.join();
    }
    // A worker may have sent a connection to another one that had ended already.
    service.workers.clear();
    runtime.shutdown_background();
    Ok(())
}

/// Enters a phase, and wakes the workers up.
fn enter(service: &Service, phase: u8) {
    service.phase.store(phase, Ordering::Release);
    service.workers.send_all(|| Message::ReadPhase);
}

/// Opens the listening sockets: for each worker, one per rule.
fn sockets(rules: &[Rule], threads: usize) -> Result<Vec<Vec<Socket>>, Failure> {
    let mut sockets: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for Rule { listen, .. } in rules {
        let opened = listener::listen_at(*listen, threads).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "something else listens there; stop it, or forward another port",
                io::ErrorKind::PermissionDenied => "ports below 1024 need the capability NET_BIND_SERVICE",
                _ => "check the address",
            };
            Failure::Other(format!("can't listen on {listen} ({error}); {hint}"))
        })?;
        sockets
            .iter_mut()
            .zip(opened)
            .for_each(|(own, socket)| own.push(socket));
    }
    Ok(sockets)
}

/// Returns the maximum number of connections, after raising the limit of open files.
fn connection_limit(wanted: Option<NonZeroUsize>, listeners: usize) -> Result<usize, Failure> {
    let descriptors = raise_open_file_limit();
    let possible = descriptors.saturating_sub(OWN_DESCRIPTORS + listeners) / DESCRIPTORS;
    match wanted.map(NonZeroUsize::get) {
        Some(wanted) if wanted > possible => Err(Failure::Other(format!(
            "{wanted} connections need more open files than the {descriptors} that are allowed, which are enough for {possible}; raise \
             the limit (ulimit -n, docker run --ulimit nofile=), or lower --max-connections"
        ))),
        Some(wanted) => Ok(wanted),
        None if possible == 0 => Err(Failure::Other(format!(
            "{descriptors} open files are too few; raise the limit (ulimit -n, docker run --ulimit nofile=)"
        ))),
        None => Ok(possible),
    }
}

/// Waits for a signal, and then for the connections to end.
async fn wait_and_drain(service: &'static Service, signals: [Signal; 3], drain: Duration) {
    let [mut terminate, mut interrupt, mut figures] = signals;
    for route in &service.routes {
        tokio::spawn(prepare(service, route));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = figures.recv() => log_figures(service),
        }
    }
    let count = || service.connections.load(Ordering::Relaxed);
    info!(
        "stopping: nothing is accepted any more, {} connections are left",
        count()
    );
    enter(service, phase::DRAINING);
    let all_have_ended = async {
        while count() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::select! {
        ended = timeout(drain, all_have_ended) => ended.is_ok(),
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if !ended {
        warn!("{} connections are cut", count());
    }
}

/// Looks a target up at the start, so that a mistake is logged before the first connection.
async fn prepare(service: &Service, route: &Route) {
    if let Err(error) = service.connector.prepare(&route.rule.target).await {
        route.health.failed(&route.rule, &error);
    }
}

fn log_figures(service: &Service) {
    info!(
        connections = service.connections.load(Ordering::Relaxed),
        accepted = service.accepted.load(Ordering::Relaxed),
        tasks = Handle::current().metrics().num_alive_tasks(),
        "figures"
    );
}

fn signals() -> io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::user_defined1())?,
    ])
}

fn no_start(error: impl Into<io::Error>) -> Failure {
    Failure::Other(format!("the system does not let it start: {}", error.into()))
}
