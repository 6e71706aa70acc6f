//! `eid forward`: the ambassador, which stands in for a service that is somewhere else.

mod crew;
mod dial;
mod flow;
mod listener;
mod pipe;
mod reach;
mod relay;
mod rule;
mod target;
mod worker;

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::{watch, Semaphore};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::descriptors;
use crate::engine_options::{seconds, EngineOptions};
use crate::failure::{Failure, STATUS};
use crate::log::LogOptions;

use crew::Crew;
use dial::Dialer;
use reach::Reach;
use rule::{Place, Rule};
use target::Target;
use worker::{Phase, Route, Service};

/// A connection has two sockets, and while a lot goes both ways a pipe for each, which has two ends.
const DESCRIPTORS: usize = 6;

/// Of the command itself: listeners, engines, names.
const OWN_DESCRIPTORS: usize = 256;

/// Forward TCP connections to services elsewhere, as Docker's ambassador container did
///
/// For each variable NAME_PORT_<n>_TCP in the environment it listens on port n of all
/// addresses, and forwards each connection to what the variable says:
///
///   REDIS_PORT_6379_TCP=tcp://192.168.4.232:6379      a service at an address
///   REDIS_PORT_6379_TCP=docker://redis@192.168.4.232:6379
///
/// docker:// is a port of a container, by the container's name or ID and the address
/// of its host. The Docker API of that host is asked where the port is published, and
/// tells when that changes: a container that is restarted or replaced is found again
/// by the next connection. A name in DNS is resolved for each connection, too.
///
/// The same on the command line, where the first --to belongs to the first --listen;
/// then the environment is not read:
///
///   eid forward --listen 6379 --to docker://redis@192.168.4.232:6379
///
/// Connections beyond --max-connections wait. One that can't be forwarded, and one
/// that is cut, ends with a reset. SIGTERM and SIGINT stop the listening and let
/// connections end; a second one cuts them. SIGUSR1 logs figures.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// A port to listen on, on all addresses, or ADDRESS:PORT; may be repeated, each with its --to
    #[arg(long, value_name = "PORT", value_parser = Place::parse, requires = "to")]
    listen: Vec<Place>,

    /// Where its connections go: tcp://HOST:PORT or docker://CONTAINER@HOST:PORT
    #[arg(long, value_name = "TARGET", value_parser = Target::parse, requires = "listen")]
    to: Vec<Target>,

    /// Connections at once; by default as many as the limit of open files allows
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<NonZeroUsize>,

    /// The seconds after which a connection is cut on which nothing is sent; by default never
    #[arg(long, value_name = "SECONDS", value_parser = long_time)]
    idle_timeout: Option<Duration>,

    /// The seconds that connecting to an address of a target may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    connect_timeout: Duration,

    /// The seconds that connections have to end after SIGTERM; docker stop itself waits for 10
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = long_time)]
    drain: Duration,

    /// Threads; by default as many as there are cores
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    #[command(flatten)]
    log: LogOptions,

    #[command(flatten)]
    engines: EngineOptions,
}

/// Runs until it is told to stop.
///
/// # Errors
///
/// What is wrong with what it was told, or can't be listened on.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let rules = arguments.rules()?;
    let threads = match arguments.threads {
        Some(threads) => threads.into(),
        None => available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let limit = connection_limit(arguments.max_connections, rules.len() * threads)?;
    let sockets = sockets(&rules, threads)?;
    arguments.log.start();
    // Names and engines are asked on this one, and signals come in.
    let runtime = self::runtime()?;
    let runtimes: Vec<Runtime> = sockets.iter().map(|_| self::runtime()).collect::<Result<_, _>>()?;
    let route = |rule| Route {
        rule,
        reach: Reach::default(),
    };
    let service = Arc::new(Service {
        routes: rules.into_iter().map(route).collect(),
        dialer: Dialer::new(runtime.handle().clone(), arguments.engines, arguments.connect_timeout),
        crew: Arc::new(Crew::new(runtimes.iter().map(|runtime| runtime.handle().clone()))),
        idle_timeout: arguments.idle_timeout,
        slots: Arc::new(Semaphore::new(limit)),
        accepted: AtomicU64::new(0),
        phase: watch::Sender::new(Phase::Open),
    });
    for (route, socket) in service.routes.iter().zip(&sockets[0]) {
        let at = socket.local_addr().map_err(no_thread)?;
        info!("{at} is forwarded to {}", route.rule.target);
    }
    let mut threads = Vec::new();
    for (own, (runtime, sockets)) in runtimes.into_iter().zip(sockets).enumerate() {
        threads.push(worker::start(&service, own, runtime, sockets).map_err(no_thread)?);
    }
    let ended = runtime.block_on(until_told(&service, limit, arguments.drain));
    service.phase.send_replace(Phase::Over);
    for thread in threads {
        // A panic has been reported where it happened.
        let _ = thread.join();
    }
    runtime.shutdown_background();
    ended
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(no_thread)
}

impl Arguments {
    fn rules(&self) -> Result<Vec<Rule>, Failure> {
        let pairs = self.listen.iter().zip(&self.to);
        if self.listen.len() != self.to.len() {
            let (listen, to) = (self.listen.len(), self.to.len());
            return Err(Failure::Other(format!(
                "--listen is there {listen} times and --to {to} times; each --listen needs a --to after it"
            )));
        }
        let rules: Vec<Rule> = pairs
            .map(|(place, target)| Rule {
                place: *place,
                target: target.clone(),
            })
            .collect();
        if !rules.is_empty() {
            return Ok(rules);
        }
        let rules = rule::from_environment(std::env::vars_os()).map_err(Failure::Other)?;
        if rules.is_empty() {
            return Err(Failure::Other(
                "there is nothing to forward; set a variable such as REDIS_PORT_6379_TCP=tcp://192.168.4.232:6379, or use \
                 --listen 6379 --to tcp://192.168.4.232:6379"
                    .to_owned(),
            ));
        }
        Ok(rules)
    }
}

/// For each thread, a socket of each rule.
fn sockets(rules: &[Rule], threads: usize) -> Result<Vec<Vec<TcpListener>>, Failure> {
    let mut sockets: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    for Rule { place, .. } in rules {
        let at_place = listener::listen_at(*place, threads).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "something else listens there; stop it, or forward another port",
                io::ErrorKind::PermissionDenied => "ports below 1024 need the capability NET_BIND_SERVICE",
                _ => "check the address",
            };
            Failure::Other(format!("nothing can be listened for at {place} ({error}); {hint}"))
        })?;
        sockets
            .iter_mut()
            .zip(at_place)
            .for_each(|(own, socket)| own.push(socket));
    }
    Ok(sockets)
}

/// How many connections there may be. As many descriptors are allowed as the system lets us.
fn connection_limit(wanted: Option<NonZeroUsize>, listeners: usize) -> Result<usize, Failure> {
    let descriptors = descriptors::raise_limit();
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
        None => Ok(possible.min(u32::MAX as usize)),
    }
}

async fn until_told(service: &Arc<Service>, limit: usize, drain: Duration) -> Result<(), Failure> {
    let [mut terminate, mut interrupt, mut figures] = signals().map_err(no_thread)?;
    for index in 0..service.routes.len() {
        tokio::spawn(prepare(Arc::clone(service), index));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = figures.recv() => log_figures(service, limit),
        }
    }
    service.phase.send_replace(Phase::Draining);
    let count = || limit - service.slots.available_permits();
    info!(
        "stopping: nothing is accepted any more, {} connections are left",
        count()
    );
    // All of them are back when the last connection has ended.
    let all = u32::try_from(limit).unwrap_or(u32::MAX);
    let ended = tokio::select! {
        ended = timeout(drain, service.slots.acquire_many(all)) => ended.is_ok(),
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if !ended {
        warn!("{} connections are cut", count());
    }
    Ok(())
}

/// So that it is said at once if a container can't be found.
async fn prepare(service: Arc<Service>, index: usize) {
    let Route { rule, reach } = &service.routes[index];
    if let Err(reason) = service.dialer.prepare(&rule.target).await {
        reach.failed(rule, &reason);
    }
}

fn log_figures(service: &Service, limit: usize) {
    info!(
        connections = limit - service.slots.available_permits(),
        accepted = service.accepted.load(Ordering::Relaxed),
        tasks = service.crew.tasks() + Handle::current().metrics().num_alive_tasks(),
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

fn no_thread(error: io::Error) -> Failure {
    Failure::Other(format!("the system does not let it start: {error}"))
}

/// Up to a year.
fn long_time(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(365 * 86_400) => Ok(time),
        _ => Err("it must be from 0.001 seconds to a year".to_owned()),
    }
}
