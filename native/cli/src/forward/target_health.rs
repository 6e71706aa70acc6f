//! Logs when a target can't be reached and when it can be reached again, instead of one line per connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eid_docker::Error;
use tracing::{info, warn};

use super::rules::Rule;
use crate::log_throttle::LogThrottle;
use crate::output::advice;

/// Time after which a lasting problem is logged again.
const REMINDER: Duration = Duration::from_secs(60);

/// Why a connection to the target failed.
#[derive(Debug)]
pub enum TargetError {
    /// The host's name has no address.
    UnknownHost { host: String, error: Option<io::Error> },
    /// The engine did not return a route to the container.
    Engine(Error),
    /// This process itself listens there.
    SelfLoop { to: SocketAddr },
    /// Dialling the address failed.
    Dial { to: SocketAddr, error: io::Error },
}

impl TargetError {
    /// Returns what the user can do.
    fn advice(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "check it in DNS and /etc/hosts",
            Self::Engine(error) => match error {
                Error::NotPublished | Error::PublishedOnLoopback | Error::PublishedElsewhere => {
                    "publish this port of the container on the address of its host: docker run -p HOST_IP::PORT"
                }
                error => advice(error),
            },
            Self::SelfLoop { .. } => "forward it to where the service listens, or listen on another port",
            Self::Dial { .. } => "check that the service runs and listens there, and that no firewall is between",
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host, error } => {
                write!(f, "the host {host} has no address")?;
                error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
            }
            // The messages of eid-docker are about the distribution port.
            Self::Engine(Error::NotPublished) => f.write_str("this port of the container is not published"),
            Self::Engine(Error::PublishedOnLoopback) => {
                f.write_str("this port of the container is published on its host's loopback address only")
            }
            Self::Engine(Error::PublishedElsewhere) => {
                f.write_str("this port of the container is published on another address of its host")
            }
            Self::Engine(error) => error.fmt(f),
            Self::SelfLoop { to } => write!(
                f,
                "{to} is where this eid forward itself listens, so it would go round in circles"
            ),
            Self::Dial { to, error } => write!(f, "{to}: {}", short_message(error)),
        }
    }
}

/// Returns the system's message, without its number.
fn short_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// The health of the target of one rule.
pub struct TargetHealth {
    is_down: AtomicBool,
    outage: Mutex<Option<Outage>>,
    throttle: LogThrottle,
}

struct Outage {
    reason: String,
    since: Instant,
    failed: u64,
}

impl Default for TargetHealth {
    fn default() -> Self {
        Self {
            is_down: AtomicBool::new(false),
            outage: Mutex::default(),
            throttle: LogThrottle::every(REMINDER),
        }
    }
}

impl TargetHealth {
    /// Records a connection, and logs the end of an outage.
    pub fn succeeded(&self, rule: &Rule) {
        if self.is_down.load(Ordering::Relaxed) {
            let ended = self.lock().take();
            self.is_down.store(false, Ordering::Relaxed);
            if let Some(Outage { since, failed, .. }) = ended {
                let seconds = since.elapsed().as_secs();
                info!(
                    "{} can be reached again, after {seconds} s and {failed} failed connections",
                    rule.target
                );
            }
        }
    }

    /// Records a failed connection, and logs a new reason or a reminder.
    pub fn failed(&self, rule: &Rule, error: &TargetError) {
        let reason = error.to_string();
        let now = Instant::now();
        let mut outage = self.lock();
        self.is_down.store(true, Ordering::Relaxed);
        let outage = outage.get_or_insert_with(|| Outage {
            reason: String::new(),
            since: now,
            failed: 0,
        });
        outage.failed += 1;
        if outage.reason != reason {
            self.throttle.reset();
            outage.reason = reason;
        }
        if self.throttle.allow(now).is_some() {
            let (reason, failed, advice) = (&outage.reason, outage.failed, error.advice());
            warn!(
                failed,
                "{} ({}) can't be reached: {reason}; {advice}", rule.target, rule.listen
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
