//! Rancher 1.x's metadata service, which returns the service, the host and the address of the container that asks.
//!
//! The service recognises the container by its address, so a question is only a path. Its versions describe the containers of a
//! service in two ways: `latest`, `2015-12-19` and `2016-07-29` as objects, `2015-07-25` as names. A value that Rancher does
//! not know yet is `null`, empty or missing. A container in another network has an address that means nothing here. Therefore
//! almost everything is optional, and addresses that can't be dialled are ignored.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use hyper::StatusCode;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::Deserialize;

use crate::api::credentials::Credentials;
use crate::api::endpoint::Endpoint;
use crate::api::http::{Http, Limits};
use crate::api::LIST_FACTOR;
use crate::error::{Error, Subject};
use crate::node_name::is_container;
use crate::route::is_dialable;

/// The path of a URL without one: the newest version of the service.
const NEWEST: &str = "/latest";

/// The metadata service at one URL.
pub struct Rancher {
    http: Http,
    base: Base,
    limits: Limits,
}

/// The service that the asking container is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, in a form that a node name may have before the `@`.
    pub name: String,
    /// The addresses of its running containers in the managed network, sorted, each once, including the asking container.
    pub addresses: Vec<IpAddr>,
}

/// A checked URL: `http://host`, with or without a port and a path.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    endpoint: Endpoint,
    /// Begins with `/` and does not end with it.
    path: String,
}

impl Rancher {
    /// The service at a URL such as `http://rancher-metadata/latest`. This sends nothing and resolves no name.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for any other text.
    pub fn new(url: &str, limits: Limits) -> Result<Self, Error> {
        Base::parse(url).map(|base| Self::at(base, limits))
    }

    /// Returns `true` if [`Rancher::new`] accepts this URL.
    pub fn is_url(url: &str) -> bool {
        Base::parse(url).is_ok()
    }

    pub(crate) fn at(base: Base, limits: Limits) -> Self {
        let http = Http::new(base.endpoint.clone(), limits, Credentials::default()).accepting_json();
        Self { http, base, limits }
    }

    /// Asks for the own service (`self/service`). If the answer has only the names of the containers, this also asks for all
    /// containers.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], also if the container is not part of a service; [`Error::Unreachable`], [`Error::BadResponse`],
    /// [`Error::TooLarge`], [`Error::Timeout`].
    pub async fn service(&self) -> Result<Service, Error> {
        let service: WireService = self.get("self/service", "service").await?;
        let name = service.name.text().filter(|name| is_container(name)).ok_or_else(|| {
            let problem = "the service has no name, or one that no node can have";
            Error::BadResponse(problem.to_owned())
        })?;
        let members = service.containers.unwrap_or_default();
        let names: HashSet<&str> = members.iter().filter_map(Member::name).collect();
        let mut addresses: BTreeSet<IpAddr> = members.iter().filter_map(Member::address).collect();
        if !names.is_empty() {
            let stack = service.stack_name.text();
            let all: Vec<Member> = self.get("containers", "list of containers").await?;
            let whole = all.iter().filter_map(Member::container);
            let own = whole.filter(|container| container.is_in(&names, stack));
            addresses.extend(own.filter_map(Container::address));
        }
        Ok(Service {
            name: name.to_owned(),
            addresses: addresses.into_iter().collect(),
        })
    }

    /// Asks for Rancher's address of the container's Docker host (`self/host`, `agent_ip`).
    ///
    /// # Errors
    ///
    /// As for [`Rancher::service`].
    pub async fn host_address(&self) -> Result<IpAddr, Error> {
        let host: Host = self.get("self/host", "host").await?;
        let address = host.agent_ip.text().and_then(usable);
        address.ok_or_else(|| Error::BadResponse("the host has no address that could be dialled".to_owned()))
    }

    /// Asks for the container's own address in the managed network (`self/container`, `primary_ip`), in any state of the
    /// container.
    ///
    /// # Errors
    ///
    /// As for [`Rancher::service`].
    pub async fn own_address(&self) -> Result<IpAddr, Error> {
        let container: Container = self.get("self/container", "container").await?;
        let address = container.any_address();
        address.ok_or_else(|| Error::BadResponse("the container has no address that could be dialled".to_owned()))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, Error> {
        let bound = self.limits.body.saturating_mul(LIST_FACTOR);
        let answer = self.http.get(&format!("{}/{path}", self.base.path), bound).await?;
        if answer.status != StatusCode::OK {
            return Err(Error::refused(answer.status, &answer.body));
        }
        // The service answers `null` for anything that the container does not have.
        if answer.body.trim_ascii() == b"null" {
            let message = format!("this container has no {what} there");
            return Err(Error::Refused { status: 200, message });
        }
        serde_json::from_slice(&answer.body).map_err(|error| Error::bad_json("the metadata service", &error))
    }
}

impl Base {
    /// Accepts `http://` only, because the service has no TLS.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        Self::split(url).ok_or_else(|| {
            let form = "http://host/version or http://host:port/version";
            let why = format!("the metadata service's URL is not of the form {form}");
            Error::Config(Subject::Address, why)
        })
    }

    fn split(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let authority = port.map_or_else(|| format!("{authority}:80"), |_| authority.to_owned());
        let path = path.trim_end_matches('/');
        Some(Self {
            endpoint: Endpoint::parse(&format!("tcp://{authority}")).ok()?,
            path: if path.is_empty() { NEWEST } else { path }.to_owned(),
        })
        .filter(|base| base.path.split('/').skip(1).all(is_segment))
    }
}

/// Returns `true` for a segment of a path that needs no escapes and does not lead to another directory.
fn is_segment(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    !matches!(text, "" | "." | "..") && text.bytes().all(is_plain)
}

/// The address, if it may belong to another container or host.
fn usable(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?.to_canonical();
    is_dialable(ip).then_some(ip)
}

/// A text, or a value of any other type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(String),
    Other(IgnoredAny),
}

impl Default for Loose {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl Loose {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct WireService {
    #[serde(default)]
    name: Loose,
    #[serde(default)]
    stack_name: Loose,
    /// `null` for a service without containers.
    #[serde(default)]
    containers: Option<Vec<Member>>,
}

#[derive(Deserialize)]
struct Host {
    #[serde(default)]
    agent_ip: Loose,
}

/// A container of a service: an object, a name, or a value of any other type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Name(String),
    Container(Box<Container>),
    Other(IgnoredAny),
}

impl Member {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    fn container(&self) -> Option<&Container> {
        match self {
            Self::Container(container) => Some(container),
            _ => None,
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.container()?.address()
    }
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    name: Loose,
    #[serde(default)]
    stack_name: Loose,
    /// Missing in older versions.
    #[serde(default)]
    state: Loose,
    #[serde(default)]
    primary_ip: Loose,
    #[serde(default)]
    ips: Option<Vec<Loose>>,
}

impl Container {
    /// The address to dial, if the container runs.
    fn address(&self) -> Option<IpAddr> {
        let is_running = match self.state.text() {
            // `updating-running`: Rancher is changing its labels, for example.
            Some(state) => matches!(state, "running" | "updating-running"),
            None => true,
        };
        if is_running {
            self.any_address()
        } else {
            None
        }
    }

    fn any_address(&self) -> Option<IpAddr> {
        let others = self.ips.iter().flatten();
        let mut texts = std::iter::once(&self.primary_ip).chain(others).filter_map(Loose::text);
        texts.find_map(usable)
    }

    /// Returns `true` if it has one of these names, and is not in another stack.
    fn is_in(&self, names: &HashSet<&str>, stack: Option<&str>) -> bool {
        let is_elsewhere = stack
            .zip(self.stack_name.text())
            .is_some_and(|(own, its)| !own.eq_ignore_ascii_case(its));
        !is_elsewhere && self.name.text().is_some_and(|name| names.contains(name))
    }
}

#[cfg(test)]
#[path = "../../tests/unit/rancher.rs"]
mod tests;
