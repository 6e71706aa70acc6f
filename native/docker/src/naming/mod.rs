//! The name of this node, found and not typed: `ContainerID@Host` or `Base@Address`.
//!
//! The two kinds of names differ in how other nodes reach them. They look up a node that is named after its container at the
//! Docker Engine of the container's host, so its name contains the host's address. They dial a node with a base name directly,
//! so its name contains its own address, in its pod or in Rancher's network. Several nodes may share a base name.
//!
//! A node needs its name before the VM starts. In most cases [`Naming::find`] has it without any network and any runtime.

use std::fmt;
use std::net::IpAddr;

pub(crate) mod gateway;
pub(crate) mod own_container;
pub(crate) mod rancher;

use gateway::default_gateway;
use own_container::own_container;
use rancher::{Base, Rancher};

use crate::api::endpoint::Endpoint;
use crate::api::http::Limits;
use crate::api::Engine;
use crate::error::Error;
use crate::node_name::{is_container, is_host, NodeName};

/// The number of digits of a container's ID that `docker ps` shows.
const SHORT_ID: usize = 12;

/// Maximum length of a wrong value in an error, in characters.
const MAX_SHOWN: usize = 60;

/// The default location of `eid serve`.
const SERVE: &str = "tcp://{host}:4243";

/// The user's settings for the name, besides the environment. An empty text counts as none.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The part after the `@`. It overrides all other sources.
    pub host: Option<String>,
    /// The URL of Rancher's metadata service. It overrides the variable `EID_RANCHER`.
    pub rancher: Option<String>,
    /// The location of `eid serve` on the container's host, as for [`Endpoint::for_host`] with the default gateway as host.
    /// The default is `tcp://{host}:4243`.
    pub serve: Option<String>,
    /// `true` to use only 12 digits of the container's ID.
    pub short: bool,
}

/// A name, or the service to ask for its host.
#[derive(Debug)]
pub enum OwnName {
    /// The whole name.
    Known(NodeName),
    /// Ask Rancher with [`OwnName::ask`].
    AtRancher(Question),
    /// Ask `eid serve` on the container's host with [`OwnName::ask`].
    AtServe(Advertised),
}

/// A name without its host, which Rancher knows.
#[derive(Debug)]
pub struct Question {
    name: String,
    is_base: bool,
    url: String,
    service: Base,
}

/// A name without its host, which `eid serve` may know.
#[derive(Debug)]
pub struct Advertised {
    name: String,
    endpoint: Endpoint,
}

/// Why there is no name. The text of each says what to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// This process runs in no container, or nothing shows which.
    NoContainer,
    /// This value of `EID_NAME` can't be the part before the `@`.
    BadBase(String),
    /// Nothing gives the part after the `@`.
    NoHost,
    /// This source has this value, which can't be the part after the `@`.
    BadHost(&'static str, String),
    /// This is not a URL of Rancher's metadata service.
    BadUrl(String),
    /// Rancher at this URL did not return the address.
    Rancher(String, Error),
    /// Nothing else gives the part after the `@`, and `eid serve` at this address did not return it.
    Serve(String, Error),
    /// The two parts are too long for one name.
    TooLong,
    /// No answer within the caller's time limit. Only callers make this error.
    Timeout,
}

impl Naming {
    /// Finds the name in the environment of this process and in its container:
    ///
    /// * Before the `@`: the variable `EID_NAME`, or else the container's ID.
    /// * After the `@`: the first of the host in these settings, `EID_HOST`, `MY_POD_IP`, the answer of Rancher if its URL is
    ///   known, and the answer of `eid serve` at the default gateway.
    ///
    /// # Errors
    ///
    /// Every [`NameError`] except [`NameError::Rancher`] and [`NameError::Timeout`].
    pub fn find(&self) -> Result<OwnName, NameError> {
        // A value that is not UTF-8 becomes a text that no name may contain.
        let variable = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
        self.decide(variable, own_container, default_gateway)
    }

    /// The same with another environment, container and network. It calls these functions only when it needs them.
    ///
    /// # Errors
    ///
    /// As for [`Naming::find`].
    pub fn decide<'a>(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        container: impl FnOnce() -> Option<&'a str>,
        gateway: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<OwnName, NameError> {
        let given = |value: Option<String>| value.filter(|text| !text.is_empty());
        let variable = |key| given(variable(key));
        let (name, is_base) = match variable("EID_NAME") {
            Some(base) if is_container(&base) => (base, true),
            Some(base) => return Err(NameError::BadBase(base)),
            None => {
                let id = container().ok_or(NameError::NoContainer)?;
                let length = if self.short { SHORT_ID } else { id.len() };
                (id.chars().take(length).collect(), false)
            }
        };
        let hosts = [
            ("--host", given(self.host.clone())),
            ("EID_HOST", variable("EID_HOST")),
            ("MY_POD_IP", variable("MY_POD_IP")),
        ];
        for (source, host) in hosts {
            if let Some(host) = host {
                return join(&name, source, host).map(OwnName::Known);
            }
        }
        let url = given(self.rancher.clone()).or_else(|| variable("EID_RANCHER"));
        let Some(url) = url else {
            let endpoint = self.serve(gateway)?;
            return Ok(OwnName::AtServe(Advertised { name, endpoint }));
        };
        let service = Base::parse(&url).map_err(|_| NameError::BadUrl(url.clone()))?;
        Ok(OwnName::AtRancher(Question {
            name,
            is_base,
            url,
            service,
        }))
    }

    fn serve(&self, gateway: impl FnOnce() -> Option<IpAddr>) -> Result<Endpoint, NameError> {
        let template = self.serve.as_deref().filter(|text| !text.is_empty()).unwrap_or(SERVE);
        let endpoint = if template.contains("{host}") {
            let ip = gateway().ok_or(NameError::NoHost)?;
            Endpoint::for_host(template, &ip.to_string(), ip)
        } else {
            Endpoint::parse(template)
        };
        endpoint.map_err(|error| NameError::Serve(template.to_owned(), error))
    }
}

impl OwnName {
    /// Returns the name, after asking a service for its host if necessary. Then this must run on a tokio runtime with I/O and
    /// time. `client` makes the client of `eid serve`, with its credentials.
    ///
    /// # Errors
    ///
    /// [`NameError::Rancher`], [`NameError::Serve`], [`NameError::BadHost`] and [`NameError::TooLong`].
    pub async fn ask(self, limits: Limits, client: impl FnOnce(Endpoint) -> Engine) -> Result<NodeName, NameError> {
        match self {
            Self::Known(name) => Ok(name),
            Self::AtRancher(question) => {
                let rancher = Rancher::at(question.service, limits);
                let address = match question.is_base {
                    true => rancher.own_address().await,
                    false => rancher.host_address().await,
                };
                let address = address.map_err(|error| NameError::Rancher(question.url, error))?;
                join(&question.name, "Rancher's answer", address.to_string())
            }
            Self::AtServe(Advertised { name, endpoint }) => {
                let url = endpoint.to_string();
                let host = client(endpoint).advertised_host().await;
                let host = host.map_err(|error| NameError::Serve(url, error))?;
                join(&name, "eid serve's answer", host)
            }
        }
    }
}

fn join(name: &str, source: &'static str, host: String) -> Result<NodeName, NameError> {
    if is_host(&host) {
        NodeName::parse(format!("{name}@{host}")).map_err(|_| NameError::TooLong)
    } else {
        Err(NameError::BadHost(source, host))
    }
}

impl std::error::Error for NameError {}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoContainer => f.write_str(
                "there is no Docker or Podman container here whose ID could be the node's name; set EID_NAME to the part \
                 before the @",
            ),
            Self::BadBase(base) => write!(
                f,
                "EID_NAME is {}, but what stands before the @ of a node's name is at most 128 letters, digits, _ and -, \
                 the first of them a letter or digit; correct it",
                shown(base)
            ),
            Self::NoHost => f.write_str(
                "nothing says what stands after the @ of the node's name; set EID_HOST to the address of the container's \
                 Docker host, or MY_POD_IP to that of its pod, or EID_RANCHER to the URL of Rancher's metadata service; \
                 no network leads from here to the host, so that eid serve there could be asked",
            ),
            Self::BadHost(source, host) => write!(
                f,
                "{source} is {}, which is no IPv4 address, no IPv6 address without brackets and no DNS name; correct it",
                shown(host)
            ),
            Self::BadUrl(url) => write!(
                f,
                "Rancher's metadata service can't be at {}; give it a URL like http://rancher-metadata/latest",
                shown(url)
            ),
            Self::Rancher(url, error) => {
                write!(f, "Rancher's metadata service at {} ", shown(url))?;
                write_why(f, error)?;
                f.write_str("; check that URL, or set EID_HOST to what stands after the @")
            }
            Self::Serve(url, error) => {
                write!(f, "nothing says what stands after the @ of the node's name, and eid serve at {} ", shown(url))?;
                write_why(f, error)?;
                if matches!(error, Error::Refused { status: 401, .. }) {
                    f.write_str("; a token is sent over https and to a unix socket only")?;
                }
                f.write_str(
                    "; set EID_HOST to the address of the container's Docker host, or MY_POD_IP or EID_RANCHER, or run eid serve \
                     --advertise on that host",
                )
            }
            Self::TooLong => f.write_str(
                "the node's name would have more than 255 characters; take a shorter EID_NAME, or an address for its host",
            ),
            Self::Timeout => f.write_str(
                "whoever is asked for what stands after the @ does not answer in time; set EID_HOST to it, or check the URL of \
                 Rancher's metadata service or that eid serve runs on the container's host",
            ),
        }
    }
}

/// Why a service did not return an address.
fn write_why(f: &mut fmt::Formatter<'_>, error: &Error) -> fmt::Result {
    match error {
        Error::Unreachable(_, why) | Error::Config(_, why) | Error::Defect(why) => {
            write!(f, "can't be reached ({why})")
        }
        Error::Refused { status, message } => write!(f, "does not say the address (status {status}: {message})"),
        Error::BadResponse(why) => write!(f, "does not say the address ({why})"),
        Error::TooLarge(limit) => write!(f, "answers with more than {limit} bytes"),
        _ => f.write_str("does not answer in time"),
    }
}

/// The beginning of a text in quotes, with escapes for everything that a terminal would act on.
fn shown(text: &str) -> String {
    let mut kept: String = text.chars().take(MAX_SHOWN).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    format!("{kept:?}")
}

#[cfg(test)]
#[path = "../../tests/unit/own_name.rs"]
mod tests;
