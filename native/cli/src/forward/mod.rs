//! `eid forward`: the ambassador, which stands in for a service that is somewhere else.

mod connections;
mod crew;
mod dial;
mod flow;
mod listener;
mod once;
mod own;
mod piece;
mod pipe;
mod reach;
mod relay;
mod rule;
mod socket;
mod target;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::Args;
use rustix::io::Errno;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::descriptors;
use crate::engine_options::{seconds, EngineOptions};
use crate::failure::{Failure, STATUS};
use crate::log::LogOptions;

use crew::{Crew, Letter};
use dial::Dialer;
use listener::address_of;
use once::Once;
use own::Own;
use reach::Reach;
use rule::{Place, Rule};
use target::Target;
use worker::{phase, Route, Service};

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
// Help is plain text.
#[allow(rustdoc::invalid_html_tags)]
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
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_start)?;
    // Before the first client can connect: without a handler, SIGTERM ends the process at once.
    let signals = {
        let _entered = runtime.enter();
        signals().map_err(no_start)?
    };
    let sockets = sockets(&rules, threads)?;
    let places: Result<Vec<SocketAddr>, Errno> = sockets[0].iter().map(address_of).collect();
    let places = places.map_err(no_start)?;
    arguments.log.start();
    let route = |rule| Route {
        rule,
        reach: Reach::default(),
    };
    // The threads have it for as long as the process lives.
    let service: &Service = Box::leak(Box::new(Service {
        routes: rules.into_iter().map(route).collect(),
        dialer: Dialer::new(arguments.engines, arguments.connect_timeout, Own::new(places.clone())),
        asks: runtime.handle().clone(),
        crew: Crew::new(threads).map_err(no_start)?,
        idle_timeout: arguments.idle_timeout,
        connect_timeout: arguments.connect_timeout,
        connections: AtomicUsize::new(0),
        limit,
        accepted: AtomicU64::new(0),
        full: Once::default(),
        unaccepted: Once::default(),
        phase: AtomicU8::new(phase::OPEN),
    }));
    for (route, at) in service.routes.iter().zip(places) {
        info!("{at} is forwarded to {}", route.rule.target);
    }
    let mut threads = Vec::new();
    for (own, sockets) in sockets.into_iter().enumerate() {
        threads.push(worker::start(service, own, sockets).map_err(no_start)?);
    }
    runtime.block_on(until_told(service, signals, arguments.drain));
    enter(service, phase::OVER);
    for thread in threads {
        // A panic ends the process.
        let _ = thread.join();
    }
    // What one of them sent to another one that had ended already is cut like the others.
    service.crew.forget();
    runtime.shutdown_background();
    Ok(())
}

fn enter(service: &Service, phase: u8) {
    service.phase.store(phase, Ordering::Release);
    service.crew.send_all(|| Letter::Look);
}

impl Arguments {
    /// What is wrong with the command line as a whole.
    ///
    /// # Errors
    ///
    /// A kind of error, and a sentence.
    pub fn check(&self) -> Result<(), (ErrorKind, String)> {
        let (listen, to) = (self.listen.len(), self.to.len());
        if listen != to {
            let times = |number| match number {
                1 => "once".to_owned(),
                number => format!("{number} times"),
            };
            let sentence = format!(
                "--listen is there {} and --to {}; each --listen needs a --to after it",
                times(listen),
                times(to)
            );
            return Err((ErrorKind::WrongNumberOfValues, sentence));
        }
        for (number, place) in self.listen.iter().enumerate() {
            if let Some(other) = self.listen[..number].iter().find(|other| other.overlaps(place)) {
                let sentence = match other == place {
                    true => format!("--listen is there twice for the same place, {place}; leave out one"),
                    false => {
                        format!("--listen is there for {other} and for {place}, in part the same place; leave out one")
                    }
                };
                return Err((ErrorKind::ValueValidation, sentence));
            }
        }
        Ok(())
    }

    fn rules(&self) -> Result<Vec<Rule>, Failure> {
        let pairs = self.listen.iter().zip(&self.to);
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
fn sockets(rules: &[Rule], threads: usize) -> Result<Vec<Vec<OwnedFd>>, Failure> {
    let mut sockets: Vec<Vec<OwnedFd>> = (0..threads).map(|_| Vec::new()).collect();
    for Rule { place, .. } in rules {
        let at_place = listener::listen_at(*place, threads).map_err(|error| {
            let error = io::Error::from(error);
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
        None => Ok(possible),
    }
}

async fn until_told(service: &'static Service, signals: [Signal; 3], drain: Duration) {
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

/// So that it is said at once if a container can't be found.
async fn prepare(service: &Service, route: &Route) {
    if let Err(reason) = service.dialer.prepare(&route.rule.target).await {
        route.reach.failed(&route.rule, &reason);
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

/// Up to a year.
fn long_time(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(365 * 86_400) => Ok(time),
        _ => Err("it must be from 0.001 seconds to a year".to_owned()),
    }
}
