//! Rancher 1.x's metadata service: what Rancher knows of the container that asks.
//!
//! It answers by who asks, so there is nothing to say but a path. Its versions differ in what a service has for
//! containers: `latest`, `2015-12-19` and `2016-07-29` whole containers, `2015-07-25` their names. Whatever is not known
//! yet is `null`, empty or missing, and a container of another network has an address that means nothing here; so
//! everything is optional that can be, and what can't be dialled is left out.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use hyper::StatusCode;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::Deserialize;

use crate::http::Http;
use crate::node_name::is_container;
use crate::{Credentials, Endpoint, Error, Limits};

/// A list of containers may have so many times the bytes of other answers: each has 1 to 2 kB, mostly labels.
const LIST_FACTOR: usize = 16;

/// What a URL without a path means: the newest version that the service has.
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
    /// As it can stand before the `@` of a node name.
    pub name: String,
    /// Those of its running containers in the managed network, each once and in order, that of the asking one included.
    pub addresses: Vec<IpAddr>,
}

/// A checked URL: `http://host`, with a port and a path if need be.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    endpoint: Endpoint,
    /// Begins with `/` and does not end with it.
    path: String,
}

impl Rancher {
    /// The service at a URL such as `http://rancher-metadata/latest`. Nothing is asked yet, and nothing looked up.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if this is no such URL.
    pub fn new(url: &str, limits: Limits) -> Result<Self, Error> {
        Base::parse(url).map(|base| Self::at(base, limits))
    }

    /// Whether [`Rancher::new`] takes this URL.
    pub fn is_url(url: &str) -> bool {
        Base::parse(url).is_ok()
    }

    pub(crate) fn at(base: Base, limits: Limits) -> Self {
        let http = Http::new(base.endpoint.clone(), limits, Credentials::default()).accepting_json();
        Self { http, base, limits }
    }

    /// Asks for the own service (`self/service`), and for all containers where it has but their names.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Refused`], also if the container is part of no service, [`Error::BadResponse`],
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

    /// Asks for the address by which Rancher knows the Docker host that the container is on (`self/host`, `agent_ip`).
    ///
    /// # Errors
    ///
    /// As for [`Rancher::service`].
    pub async fn host_address(&self) -> Result<IpAddr, Error> {
        let host: Host = self.get("self/host", "host").await?;
        let address = host.agent_ip.text().and_then(usable);
        address.ok_or_else(|| Error::BadResponse("the host has no address that could be dialled".to_owned()))
    }

    /// Asks for the container's own address in the managed network (`self/container`, `primary_ip`). It counts from the
    /// start on, whatever the container's state.
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
        // The service answers so for what a container does not have.
        if answer.body.trim_ascii() == b"null" {
            let message = format!("this container has no {what} there");
            return Err(Error::Refused { status: 200, message });
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let place = format!("at line {} column {}", error.line(), error.column());
            Error::BadResponse(format!("it is not what the metadata service describes, {place}"))
        })
    }
}

impl Base {
    /// Takes `http://` alone: the service has no TLS.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        Self::split(url).ok_or_else(|| {
            let form = "http://host/version or http://host:port/version";
            Error::Unreachable(format!("the metadata service's URL is not of the form {form}"))
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

/// Whether this is a segment of a path that needs no escapes and leads nowhere else.
fn is_segment(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    !matches!(text, "" | "." | "..") && text.bytes().all(is_plain)
}

/// The address if it could be that of another container or host.
fn usable(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?.to_canonical();
    let is_special = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // It means something only with an interface.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_one = !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_special);
    is_one.then_some(ip)
}

/// A text, or anything in its place.
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

/// A container of a service, or what else stands in its place.
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
    /// Older versions have none.
    #[serde(default)]
    state: Loose,
    #[serde(default)]
    primary_ip: Loose,
    #[serde(default)]
    ips: Option<Vec<Loose>>,
}

impl Container {
    /// Where it can be dialled, if it runs.
    fn address(&self) -> Option<IpAddr> {
        let is_running = match self.state.text() {
            // Its labels are being changed, for example.
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

    /// Whether it has one of these names, in this stack where both say theirs.
    fn is_in(&self, names: &HashSet<&str>, stack: Option<&str>) -> bool {
        let is_elsewhere = stack
            .zip(self.stack_name.text())
            .is_some_and(|(own, its)| !own.eq_ignore_ascii_case(its));
        !is_elsewhere && self.name.text().is_some_and(|name| names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, endpoint, path) in [
            ("http://rancher-metadata/latest", "tcp://rancher-metadata:80", "/latest"),
            (
                "http://rancher-metadata/2015-12-19/",
                "tcp://rancher-metadata:80",
                "/2015-12-19",
            ),
            ("http://rancher-metadata", "tcp://rancher-metadata:80", "/latest"),
            ("http://rancher-metadata/", "tcp://rancher-metadata:80", "/latest"),
            ("http://169.254.169.250:8080/a/b", "tcp://169.254.169.250:8080", "/a/b"),
            ("http://[2001:db8::1]/latest", "tcp://[2001:db8::1]:80", "/latest"),
            ("http://[2001:db8::1]:81", "tcp://[2001:db8::1]:81", "/latest"),
        ] {
            let base = Base::parse(url).unwrap();
            assert_eq!(
                (base.endpoint.to_string().as_str(), base.path.as_str()),
                (endpoint, path)
            );
        }
    }

    #[test]
    fn urls_that_are_none() {
        for url in [
            "",
            "rancher-metadata",
            "https://h/latest",
            "tcp://h:80",
            "HTTP://h/latest",
            " http://h/latest",
            "http://",
            "http:///latest",
            "http://u:p@h/latest",
            "http://h:0/latest",
            "http://h:x/latest",
            "http://::1/latest",
            "http://h h/latest",
            "http://h/latest?x",
            "http://h/latest#x",
            "http://h/../x",
            "http://h/a//b",
            "http://h/a%2fb",
            "http://h/a b",
            "http://h/a\r\nX: y",
            "http://h/é",
        ] {
            assert!(matches!(Base::parse(url), Err(Error::Unreachable(_))), "{url:?}");
        }
    }

    #[test]
    fn addresses() {
        for text in ["10.42.1.2", "2001:db8::1", "fd00::1", "169.254.1.1"] {
            assert_eq!(usable(text), Some(text.parse().unwrap()));
        }
        assert_eq!(usable("::ffff:10.42.1.2"), Some("10.42.1.2".parse().unwrap()));
        for text in [
            "",
            "x",
            "10.42.1",
            "10.42.1.2/16",
            " 10.42.1.2",
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1",
            "fe80::1%eth0",
        ] {
            assert_eq!(usable(text), None, "{text}");
        }
    }
}
