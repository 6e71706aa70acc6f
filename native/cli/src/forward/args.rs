//! The command line of `eid forward`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::Args;

use super::rules::{self, ListenPort, Rule, Target};
use crate::args::{long_seconds, seconds, EngineOptions, LogOptions};
use crate::output::{Failure, STATUS};

/// Forward TCP connections to services elsewhere, as Docker's ambassador container did
///
/// For each variable NAME_PORT_<n>_TCP in the environment it listens on port n of all
/// addresses, and forwards each connection to the target in the variable:
///
///   REDIS_PORT_6379_TCP=tcp://192.168.4.232:6379      a service at an address
///   REDIS_PORT_6379_TCP=docker://redis@192.168.4.232:6379
///
/// docker:// means a port of a container, by the container's name or ID and the address
/// of its host. eid forward follows the Docker API of that host to learn where the port
/// is published. The next connection finds a container that was restarted or replaced.
/// A DNS name is resolved for each connection, too.
///
/// With --listen and --to, the environment is not read. The first --to belongs to the
/// first --listen:
///
///   eid forward --listen 6379 --to docker://redis@192.168.4.232:6379
///
/// Connections beyond --max-connections wait. A connection that can't be forwarded, or
/// that is cut, ends with a reset. SIGTERM and SIGINT stop the listening and let
/// connections end. A second signal cuts them. SIGUSR1 logs figures.
// Help is plain text.
#[allow(rustdoc::invalid_html_tags)]
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// A port to listen on, on all addresses, or ADDRESS:PORT; may be repeated, each with its --to
    #[arg(long, value_name = "PORT", value_parser = ListenPort::parse, requires = "to")]
    pub listen: Vec<ListenPort>,

    /// The target of its connections: tcp://HOST:PORT or docker://CONTAINER@HOST:PORT
    #[arg(long, value_name = "TARGET", value_parser = Target::parse, requires = "listen")]
    pub to: Vec<Target>,

    /// Maximum number of open connections (default: as many as the limit of open files allows)
    #[arg(long, value_name = "NUMBER")]
    pub max_connections: Option<NonZeroUsize>,

    /// Close connections idle for this many seconds (default: never)
    #[arg(long, value_name = "SECONDS", value_parser = long_seconds)]
    pub idle_timeout: Option<Duration>,

    /// Time limit for connecting to an address of a target, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub connect_timeout: Duration,

    /// Time in seconds for connections to end after SIGTERM; docker stop waits for 10
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = long_seconds)]
    pub drain: Duration,

    /// Number of threads (default: the number of cores)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// The log level.
    #[command(flatten)]
    pub log: LogOptions,

    /// The Docker APIs.
    #[command(flatten)]
    pub engines: EngineOptions,
}

impl Arguments {
    /// Checks the options as a whole, for `--listen` without `--to` for example.
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
        for (number, listen) in self.listen.iter().enumerate() {
            if let Some(other) = self.listen[..number].iter().find(|other| other.overlaps(listen)) {
                let sentence = if other == listen {
                    format!("--listen is there twice for the same place, {listen}; leave out one")
                } else {
                    format!("--listen is there for {other} and for {listen}, in part the same place; leave out one")
                };
                return Err((ErrorKind::ValueValidation, sentence));
            }
        }
        Ok(())
    }

    /// Returns the rules from the options, or else from the environment.
    pub fn rules(&self) -> Result<Vec<Rule>, Failure> {
        let pairs = self.listen.iter().zip(&self.to);
        let rules: Vec<Rule> = pairs
            .map(|(listen, target)| Rule {
                listen: *listen,
                target: target.clone(),
            })
            .collect();
        if !rules.is_empty() {
            return Ok(rules);
        }
        let rules = rules::from_environment(std::env::vars_os()).map_err(Failure::Other)?;
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
