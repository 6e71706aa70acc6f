//! How the Docker APIs of the hosts are reached: the options that all commands share which ask one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use eid_docker::{Credentials, Endpoint, Engine, Error, Limits, Location};

/// Nodes ask an engine for 2 s to connect and 3 s to answer; so does this, unless it is told of less.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Docker API")]
pub struct EngineOptions {
    /// Where a host's Docker API, or eid serve, is; {host} stands for the host as it is in a node's name
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

    /// The seconds that a whole question may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
}

impl EngineOptions {
    /// The engine of this host, which has this address. Nothing is sent.
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::for_host`].
    pub fn engine(&self, host: &str, ip: IpAddr) -> Result<Engine, Error> {
        Endpoint::for_host(&self.engine, host, ip).map(|endpoint| self.at(endpoint))
    }

    /// Where the engine of a host is, as for [`Endpoint::for_host`].
    pub fn template(&self) -> &str {
        &self.engine
    }

    /// The engine there. Nothing is sent.
    pub fn at(&self, endpoint: Endpoint) -> Engine {
        let credentials = Credentials {
            certificates: self.certs.clone(),
            token_file: self.token_file.clone(),
        };
        Engine::with_credentials(endpoint, self.limits(), credentials)
    }

    /// Where the engine of this host is, which has this address: for [`eid_docker::Engines`].
    pub fn location<'a>(&'a self, host: &'a str, ip: IpAddr) -> Location<'a> {
        Location {
            template: &self.engine,
            host,
            ip,
            certificates: self.certs.as_deref().and_then(Path::to_str),
            token_file: self.token_file.as_deref().and_then(Path::to_str),
        }
    }

    /// For one request.
    pub fn limits(&self) -> Limits {
        let Limits {
            connect,
            response,
            body,
        } = Limits::default();
        Limits {
            connect: connect.min(self.timeout),
            response: response.min(self.timeout),
            body,
        }
    }

    /// How long all of it may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// An engine's address in which `{host}` may stand for any host, so that a wrong one is no fault of a host. It is tried with one.
fn template(text: &str) -> Result<String, String> {
    let tried = Endpoint::for_host(text, "host", Ipv4Addr::LOCALHOST.into());
    tried.map(|_| text.to_owned()).map_err(|error| {
        format!(
            "{}; {{host}} in it stands for the host of a node, and EID_ENGINE may have set it",
            wrong(error)
        )
    })
}

/// The address of one engine.
///
/// # Errors
///
/// What is wrong with it.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).map_err(wrong)
}

fn wrong(error: Error) -> String {
    match error {
        Error::Config(_, why) | Error::Unreachable(_, why) => why,
        error => error.to_string(),
    }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(3600) => Ok(time),
        _ => Err("it must be from 0.001 to 3600 seconds".to_owned()),
    }
}
