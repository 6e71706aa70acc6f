//! Command-line options that several subcommands share, and the parsers of their values.

use std::ffi::OsStr;
use std::future::Future;
use std::io::stderr;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use eid_docker::{Credentials, Endpoint, Engine, Error, Limits, Location};
use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::output::Failure;

/// How to reach the Docker API of a host.
///
/// The limits are those of a node, 2 s to connect and 3 s for an answer, unless `--timeout` is shorter.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Docker API")]
pub struct EngineOptions {
    /// URL of a host's Docker API or eid serve; {host} is replaced by the host part of the node name
    #[arg(
        long,
        value_name = "URL",
        env = "EID_ENGINE",
        hide_env_values = true,
        default_value = "tcp://{host}:4243",
        value_parser = template
    )]
    engine: String,

    /// The folder with ca.pem, cert.pem and key.pem for https
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CERT_PATH", hide_env_values = true)]
    certs: Option<PathBuf>,

    /// The file with the token that eid serve asks for; it is sent over https and to a unix socket only
    #[arg(long, value_name = "FILE", env = "EID_ENGINE_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,

    /// Time limit for the whole query, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
}

impl EngineOptions {
    /// Returns the engine of the host with this name and address. Nothing is sent.
    pub fn engine(&self, host: &str, ip: IpAddr) -> Result<Engine, Error> {
        Endpoint::for_host(&self.engine, host, ip).map(|endpoint| self.at(endpoint))
    }

    /// Returns the value of `--engine`, in which `{host}` is not replaced yet.
    pub fn template(&self) -> &str {
        &self.engine
    }

    /// Returns the engine at this endpoint. Nothing is sent.
    pub fn at(&self, endpoint: Endpoint) -> Engine {
        let credentials = Credentials {
            certificates: self.certs.clone(),
            token_file: self.token_file.clone(),
        };
        Engine::with_credentials(endpoint, self.limits(), credentials)
    }

    /// Returns the key under which [`eid_docker::Registry`] shares the engine of the host with this name and address.
    pub fn location<'a>(&'a self, host: &'a str, ip: IpAddr) -> Location<'a> {
        Location {
            template: &self.engine,
            host,
            ip,
            certificates: self.certs.as_deref().and_then(Path::to_str),
            token_file: self.token_file.as_deref().and_then(Path::to_str),
        }
    }

    /// Returns the limits of one request.
    pub fn limits(&self) -> Limits {
        let limits = Limits::default();
        Limits {
            connect: limits.connect.min(self.timeout),
            response: limits.response.min(self.timeout),
            ..limits
        }
    }

    /// Returns the time limit for a whole query.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// How to dial a node: the settings that a node has from its carrier and its configuration.
#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// The TCP port that every node listens on in its container (-kernel erlang_port)
    #[arg(long, value_name = "PORT", default_value = "12345", value_parser = clap::value_parser!(u16).range(1..))]
    pub erlang_port: u16,

    /// Take the IPv6 address of a host with a DNS name, as -proto_dist eid6_tcp does
    #[arg(long)]
    pub inet6: bool,
}

impl NodeOptions {
    /// Returns the first address of a host. `limit` bounds the DNS query.
    /// Errors: [`Failure::UnknownHost`], [`Failure::SlowDns`].
    pub async fn address(&self, host: &str, limit: Duration) -> Result<IpAddr, Failure> {
        self.addresses(host, limit).await.map(|addresses| addresses[0])
    }

    /// Returns all addresses of a host, at least one, without duplicates, in the resolver's order.
    /// Errors: [`Failure::UnknownHost`], [`Failure::SlowDns`].
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let family = if self.inet6 { "IPv6" } else { "IPv4" };
        let Ok(found) = timeout(limit, lookup_host((host, 0))).await else {
            let host = host.to_owned();
            return Err(Failure::SlowDns { host });
        };
        let mut addresses = Vec::new();
        for ip in found.into_iter().flatten().map(|address| address.ip()) {
            if ip.is_ipv6() == self.inet6 && !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() {
            let host = host.to_owned();
            return Err(Failure::UnknownHost { host, family });
        }
        Ok(addresses)
    }
}

/// The log of a command that keeps running: lines on standard error.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// Log level on standard error: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        env = "RUST_LOG",
        hide_env_values = true,
        default_value = "info",
        value_parser = LevelParser,
        hide_possible_values = true
    )]
    log_level: Targets,
}

impl LogOptions {
    /// Starts logging. Each event becomes one line with a timestamp.
    pub fn start(&self) {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(stderr)
            .with_ansi(false)
            .with_target(false);
        tracing_subscriber::registry()
            .with(self.log_level.clone())
            .with(lines)
            .init();
    }
}

/// Parses a level, or a list of `module=level` as in `RUST_LOG`.
#[derive(Clone)]
struct LevelParser;

impl TypedValueParser for LevelParser {
    type Value = Targets;

    fn parse_ref(&self, command: &Command, option: Option<&Arg>, value: &OsStr) -> Result<Targets, clap::Error> {
        let text = StringValueParser::new();
        text.try_map(levels).parse_ref(command, option, value)
    }

    /// For shell completion.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let levels = ["error", "warn", "info", "debug", "trace"];
        Some(Box::new(levels.into_iter().map(PossibleValue::new)))
    }
}

/// A single unknown word is an error: tracing would take it for a module, and log nothing else.
fn levels(text: String) -> Result<Targets, String> {
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if text.split(',').all(is_level) {
        text.parse().map_err(|error: ParseError| error.to_string())
    } else {
        Err("it is error, warn, info, debug or trace".to_owned())
    }
}

/// Checks `--engine` with a sample host, so that a mistake is reported once and not for each host.
fn template(text: &str) -> Result<String, String> {
    let tried = Endpoint::for_host(text, "host", Ipv4Addr::LOCALHOST.into());
    tried.map(|_| text.to_owned()).map_err(|error| {
        format!(
            "{}; {{host}} is replaced by the host part of the node name; EID_ENGINE may have set this",
            detail(&error)
        )
    })
}

/// Adds a time limit to a request.
pub async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, asked).await.unwrap_or(Err(Error::Timeout))
}

/// Parses the URL of one engine.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).map_err(|error| detail(&error))
}

/// Returns the bare reason of an error about a URL or a file, without "the engine is unreachable" before it.
pub fn detail(error: &Error) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned)
}

/// Parses a time from 1 ms to an hour, in seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    seconds_up_to(text, Duration::from_secs(3600), "3600 seconds")
}

/// Parses a time from 1 ms to a year, in seconds.
pub fn long_seconds(text: &str) -> Result<Duration, String> {
    seconds_up_to(text, Duration::from_secs(365 * 86_400), "a year")
}

fn seconds_up_to(text: &str, longest: Duration, name: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if time >= Duration::from_millis(1) && time <= longest => Ok(time),
        _ => Err(format!("it must be from 0.001 seconds to {name}")),
    }
}
