//! Whether a target can be reached, said when that changes and not for each connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eid_docker::Error;
use tracing::{info, warn};

use super::rule::Rule;
use crate::failure::advice;

/// While it lasts it is said again.
const REMINDER: Duration = Duration::from_secs(60);

/// Why a connection could not be made.
#[derive(Debug)]
pub enum Unreachable {
    /// The host's name has no address.
    UnknownHost { host: String, error: Option<io::Error> },
    /// The engine could not say where the container is.
    Engine(Error),
    /// It is this process itself that listens there.
    Own { to: SocketAddr },
    /// Nobody could be connected to there.
    Dial { to: SocketAddr, error: io::Error },
}

impl Unreachable {
    /// What to do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "check it in DNS and /etc/hosts",
            Self::Engine(error) => match error {
                Error::NotPublished | Error::PublishedOnLoopback | Error::PublishedElsewhere => {
                    "publish this port of the container on the address of its host: docker run -p HOST_IP::PORT"
                }
                error => advice(error),
            },
            Self::Own { .. } => "forward it to where the service listens, or listen on another port",
            Self::Dial { .. } => "check that the service runs and listens there, and that no firewall is between",
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host, error } => {
                write!(f, "the host {host} has no address")?;
                error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
            }
            // eid-docker speaks of the port that Erlang nodes listen on; here it is another one.
            Self::Engine(Error::NotPublished) => f.write_str("this port of the container is not published"),
            Self::Engine(Error::PublishedOnLoopback) => {
                f.write_str("this port of the container is published on its host's loopback address only")
            }
            Self::Engine(Error::PublishedElsewhere) => {
                f.write_str("this port of the container is published on another address of its host")
            }
            Self::Engine(error) => error.fmt(f),
            Self::Own { to } => write!(
                f,
                "{to} is where this eid forward itself listens, so it would go round in circles"
            ),
            Self::Dial { to, error } => write!(f, "{to}: {}", lower(error)),
        }
    }
}

/// What the system says, without its number.
fn lower(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// How it is with one rule.
#[derive(Default)]
pub struct Reach {
    fails: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
}

struct Trouble {
    why: String,
    since: Instant,
    said: Instant,
    failed: u64,
}

impl Reach {
    /// A connection was made.
    pub fn succeeded(&self, rule: &Rule) {
        if self.fails.load(Ordering::Relaxed) {
            let ended = self.lock().take();
            self.fails.store(false, Ordering::Relaxed);
            if let Some(Trouble { since, failed, .. }) = ended {
                let seconds = since.elapsed().as_secs();
                info!(
                    "{} can be reached again, after {seconds} s and {failed} failed connections",
                    rule.target
                );
            }
        }
    }

    /// A connection could not be made.
    pub fn failed(&self, rule: &Rule, reason: &Unreachable) {
        let why = reason.to_string();
        let now = Instant::now();
        let mut trouble = self.lock();
        self.fails.store(true, Ordering::Relaxed);
        let known = trouble.get_or_insert_with(|| Trouble {
            why: String::new(),
            since: now,
            said: now,
            failed: 0,
        });
        known.failed += 1;
        if known.why != why || now - known.said >= REMINDER {
            (known.why, known.said) = (why, now);
            let (why, failed, advice) = (&known.why, known.failed, reason.advice());
            warn!(
                failed,
                "{} ({}) can't be reached: {why}; {advice}", rule.target, rule.place
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
