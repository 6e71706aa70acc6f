//! What this node calls itself, found and not typed: `ContainerID@Host`, or `Base@Address`.
//!
//! The two kinds of name are reached in two ways, and so have two kinds of host. A node that is named after its
//! container is looked up at the Docker Engine of the container's host, so that host's address stands in its name. A
//! node with a base name, which it shares with others, is dialled directly at the address in its name: its pod's, or
//! its own in Rancher's network.
//!
//! A name is needed before the VM starts, and in most cases nobody has to be asked for it: then [`Naming::find`] has it, without
//! any runtime.

use std::fmt;
use std::net::IpAddr;

use crate::gateway::default_gateway;
use crate::here::own_container;
use crate::node_name::{is_container, is_host};
use crate::rancher::{Base, Rancher};
use crate::{Endpoint, Engine, Error, Limits, NodeName};

/// The digits of a container's ID that `docker ps` shows.
const SHORT_ID: usize = 12;

/// How much of a wrong value an error shows.
const MAX_SHOWN: usize = 60;

/// Where `eid serve` is asked what its host is called, if nobody says otherwise.
const SERVE: &str = "tcp://{host}:4243";

/// What the user says about the name beyond the environment. Empty texts count as none.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The part after the `@`, before every other source of it.
    pub host: Option<String>,
    /// The URL of Rancher's metadata service, before the variable `EID_RANCHER`.
    pub rancher: Option<String>,
    /// Where `eid serve` on the container's host is, as for [`Endpoint::for_host`] with the default gateway for the host;
    /// `tcp://{host}:4243` if it is not said.
    pub serve: Option<String>,
    /// Whether 12 digits of the container's ID are enough.
    pub short: bool,
}

/// A name, or whom to ask for the rest of it.
#[derive(Debug)]
pub enum OwnName {
    /// Nobody has to be asked.
    Known(NodeName),
    /// Rancher has to be asked: see [`OwnName::ask`].
    AtRancher(Question),
    /// `eid serve` on the container's host has to be asked: see [`OwnName::ask`].
    AtServe(Advertised),
}

/// A name that lacks its host.
#[derive(Debug)]
pub struct Question {
    name: String,
    is_base: bool,
    url: String,
    service: Base,
}

/// A name that lacks its host, which `eid serve` there may tell.
#[derive(Debug)]
pub struct Advertised {
    name: String,
    endpoint: Endpoint,
}

/// Why there is no name. Each is a sentence that says what is missing and what to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// This is no container, or nothing says which.
    NoContainer,
    /// `EID_NAME` has this value, which can't stand before the `@`.
    BadBase(String),
    /// Nothing says what stands after the `@`.
    NoHost,
    /// This source of the host has this value, which can't stand after the `@`.
    BadHost(&'static str, String),
    /// Rancher's URL is none.
    BadUrl(String),
    /// Rancher at this URL does not say the address.
    Rancher(String, Error),
    /// Nothing says what stands after the `@`, and neither does what is, or should be, `eid serve` at this address.
    Serve(String, Error),
    /// The two parts are too long for one name.
    TooLong,
    /// There was no answer in the time that the caller gave; nothing in here makes this.
    Timeout,
}

impl Naming {
    /// Finds the name from the environment of this process and the container that it runs in:
    ///
    /// * before the `@` the variable `EID_NAME`, or else the container's ID;
    /// * after it the host that was given, or else `EID_HOST`, `MY_POD_IP`, what Rancher says where its URL is known, or what
    ///   `eid serve` says that is found on the default gateway.
    ///
    /// # Errors
    ///
    /// All of [`NameError`] but those of whom [`OwnName::ask`] asks.
    pub fn find(&self) -> Result<OwnName, NameError> {
        // What is not UTF-8 becomes something that no name may hold.
        let variable = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
        self.decide(variable, own_container, default_gateway)
    }

    /// The same in another environment, another container and another network, which are asked for only where they are needed.
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
    /// The name, after asking for the rest of it if need be. This needs a runtime then, with I/O and time. `client` makes the client
    /// of `eid serve`, with what it takes to be let in there.
    ///
    /// # Errors
    ///
    /// [`NameError::Rancher`], [`NameError::Serve`] and [`NameError::TooLong`].
    pub async fn ask(self, limits: Limits, client: impl FnOnce(Endpoint) -> Engine) -> Result<NodeName, NameError> {
        match self {
            Self::Known(name) => Ok(name),
            Self::AtRancher(question) => question.ask(limits).await,
            Self::AtServe(Advertised { name, endpoint }) => {
                let url = endpoint.to_string();
                let host = client(endpoint).advertised_host().await;
                join(
                    &name,
                    "eid serve's answer",
                    host.map_err(|error| NameError::Serve(url, error))?,
                )
            }
        }
    }
}

impl Question {
    async fn ask(self, limits: Limits) -> Result<NodeName, NameError> {
        let rancher = Rancher::at(self.service, limits);
        let address: Result<IpAddr, Error> = if self.is_base {
            rancher.own_address().await
        } else {
            rancher.host_address().await
        };
        let address = address.map_err(|error| NameError::Rancher(self.url, error))?;
        join(&self.name, "Rancher's answer", address.to_string())
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

/// Why somebody who was asked for an address does not say it.
fn write_why(f: &mut fmt::Formatter<'_>, error: &Error) -> fmt::Result {
    match error {
        Error::Unreachable(detail) => write!(f, "can't be reached ({detail})"),
        Error::Refused { status, message } => write!(f, "does not say the address (status {status}: {message})"),
        Error::BadResponse(detail) => write!(f, "does not say the address ({detail})"),
        Error::TooLarge(bound) => write!(f, "answers with more than {bound} bytes"),
        _ => f.write_str("does not answer in time"),
    }
}

/// The beginning of a text in quotes, with nothing in it that a terminal would act on.
fn shown(text: &str) -> String {
    let mut kept: String = text.chars().take(MAX_SHOWN).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    format!("{kept:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c0b6a9d8e7f6054433221100ffeeddccbbaa99887766554433221100abcde";
    const SHORT: &str = "4f1c0b6a9d8e";
    const URL: &str = "http://rancher-metadata/latest";

    fn gateway() -> Option<IpAddr> {
        Some(IpAddr::from([172, 17, 0, 1]))
    }

    /// What is decided in this environment and container.
    fn decided(naming: &Naming, environment: &[(&str, &str)], own: Option<&str>) -> Result<OwnName, NameError> {
        let variable = |key: &str| {
            let found = environment.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        naming.decide(variable, || own, gateway)
    }

    /// The name, or for the one who is asked: the name so far, whether it is a base, and the URL.
    fn text(decided: Result<OwnName, NameError>) -> Result<String, NameError> {
        decided.map(|own_name| match own_name {
            OwnName::Known(name) => name.to_string(),
            OwnName::AtRancher(question) => {
                let whose = if question.is_base { "own" } else { "host" };
                format!("{}@{whose} address by {}", question.name, question.url)
            }
            OwnName::AtServe(Advertised { name, endpoint }) => format!("{name}@host by {endpoint}"),
        })
    }

    fn bad_host(source: &'static str, host: &str) -> Result<String, NameError> {
        Err(NameError::BadHost(source, host.to_owned()))
    }

    #[test]
    fn names_by_the_environment() {
        const SERVED: &str = "host by tcp://172.17.0.1:4243";
        let id_at = |host: &str| Ok(format!("{ID}@{host}"));
        let base_at = |host: &str| Ok(format!("shop@{host}"));
        let (in_container, outside) = (Some(ID), None);
        let table = [
            // after the container
            (vec![("EID_HOST", "192.0.2.1")], in_container, id_at("192.0.2.1")),
            (vec![("EID_HOST", "2001:db8::1")], in_container, id_at("2001:db8::1")),
            (
                vec![("EID_HOST", "host-1.example")],
                in_container,
                id_at("host-1.example"),
            ),
            (vec![("MY_POD_IP", "10.1.2.3")], in_container, id_at("10.1.2.3")),
            (
                vec![
                    ("EID_HOST", "192.0.2.1"),
                    ("MY_POD_IP", "10.1.2.3"),
                    ("EID_RANCHER", URL),
                ],
                in_container,
                id_at("192.0.2.1"),
            ),
            (
                vec![("EID_RANCHER", URL), ("MY_POD_IP", "10.1.2.3")],
                in_container,
                id_at("10.1.2.3"),
            ),
            (
                vec![("EID_RANCHER", URL)],
                in_container,
                id_at(&format!("host address by {URL}")),
            ),
            // `docker run --hostname` and what a shell sets mean nothing
            (
                vec![("HOSTNAME", "web"), ("HOST", "h"), ("EID_HOST", "192.0.2.1")],
                in_container,
                id_at("192.0.2.1"),
            ),
            // with a base name
            (
                vec![("EID_NAME", "shop"), ("MY_POD_IP", "10.1.2.3")],
                outside,
                base_at("10.1.2.3"),
            ),
            (
                vec![("EID_NAME", "shop"), ("MY_POD_IP", "fd00::3")],
                outside,
                base_at("fd00::3"),
            ),
            (
                vec![("EID_NAME", "shop"), ("EID_HOST", "192.0.2.1")],
                in_container,
                base_at("192.0.2.1"),
            ),
            (
                vec![("EID_NAME", "shop"), ("EID_RANCHER", URL)],
                in_container,
                base_at(&format!("own address by {URL}")),
            ),
            // empty variables are unset
            (
                vec![
                    ("EID_NAME", ""),
                    ("EID_HOST", ""),
                    ("MY_POD_IP", ""),
                    ("EID_RANCHER", URL),
                ],
                in_container,
                id_at(&format!("host address by {URL}")),
            ),
            (
                vec![("EID_NAME", ""), ("EID_HOST", "h")],
                outside,
                Err(NameError::NoContainer),
            ),
            (
                vec![("EID_HOST", ""), ("MY_POD_IP", ""), ("EID_RANCHER", "")],
                in_container,
                id_at(SERVED),
            ),
            // nothing there
            (vec![], in_container, id_at(SERVED)),
            (vec![], outside, Err(NameError::NoContainer)),
            (vec![("EID_NAME", "shop")], outside, base_at(SERVED)),
            (vec![("HOSTNAME", SHORT)], outside, Err(NameError::NoContainer)),
        ];
        for (environment, own, name) in table {
            let found = text(decided(&Naming::default(), &environment, own));
            assert_eq!(found, name, "{environment:?} {own:?}");
        }
    }

    #[test]
    fn what_is_given_comes_first() {
        let environment = [("EID_HOST", "192.0.2.1"), ("EID_RANCHER", URL)];
        let naming = |host: &str, rancher: &str, short| Naming {
            host: Some(host.to_owned()),
            rancher: Some(rancher.to_owned()),
            serve: Some("unix:///eid.sock".to_owned()),
            short,
        };
        for (naming, environment, name) in [
            (naming("h", "", false), &environment[..], format!("{ID}@h")),
            (naming("h", "", true), &environment[..], format!("{SHORT}@h")),
            (naming("", "", true), &environment[..], format!("{SHORT}@192.0.2.1")),
            (
                naming("", "http://m/2", true),
                &environment[1..],
                format!("{SHORT}@host address by http://m/2"),
            ),
            (
                naming("", "", false),
                &environment[1..],
                format!("{ID}@host address by {URL}"),
            ),
        ] {
            assert_eq!(text(decided(&naming, environment, Some(ID))), Ok(name), "{naming:?}");
        }
        // A base name is not cut.
        let base = [("EID_NAME", "a-very-long-base-name"), ("EID_HOST", "h")];
        let found = text(decided(&naming("", "", true), &base, Some(ID)));
        assert_eq!(found, Ok("a-very-long-base-name@h".to_owned()));
    }

    #[test]
    fn where_eid_serve_is_asked() {
        let asked = |template: &str, gateway: Option<[u8; 4]>| {
            let serve = Some(template.to_owned());
            let naming = Naming {
                serve,
                ..Naming::default()
            };
            text(naming.decide(|_| None, || Some(ID), || gateway.map(IpAddr::from)))
        };
        let at = |endpoint: &str| Ok(format!("{ID}@host by {endpoint}"));
        let gateway = Some([172, 18, 0, 1]);
        assert_eq!(asked("", gateway), at("tcp://172.18.0.1:4243"));
        assert_eq!(asked("https://{host}:4244", gateway), at("https://172.18.0.1:4244"));
        assert_eq!(asked("tcp://{host}:4243", None), Err(NameError::NoHost));
        // Who needs no gateway is not asked for one.
        for fixed in ["tcp://192.0.2.1:4243", "unix:///run/eid.sock"] {
            let serve = Some(fixed.to_owned());
            let naming = Naming {
                serve,
                ..Naming::default()
            };
            assert_eq!(
                text(naming.decide(|_| None, || Some(ID), || panic!("it is"))),
                at(fixed)
            );
        }
        assert!(matches!(asked("{host}", gateway), Err(NameError::Serve(url, _)) if url == "{host}"));
        // And nobody is looked for where something else says it.
        for variable in ["EID_HOST", "MY_POD_IP"] {
            let environment = |key: &str| (key == variable).then(|| "h".to_owned());
            let found = Naming::default().decide(environment, || Some(ID), || panic!("it is"));
            assert_eq!(text(found), Ok(format!("{ID}@h")));
        }
    }

    #[test]
    fn values_that_no_name_can_have() {
        for base in [
            "shop@h",
            "shop.one",
            "-shop",
            "shop one",
            "shop\n",
            "shöp",
            "\u{fffd}",
            "$(id)",
            &"s".repeat(129),
        ] {
            let environment = [("EID_NAME", base), ("EID_HOST", "h")];
            let found = text(decided(&Naming::default(), &environment, Some(ID)));
            assert_eq!(found, Err(NameError::BadBase(base.to_owned())));
        }
        for host in [
            "[::1]",
            "h:80",
            "10.1",
            "h h",
            "h\n",
            "h@i",
            "http://h",
            "fe80::1%eth0",
            "\u{fffd}",
        ] {
            for source in ["EID_HOST", "MY_POD_IP"] {
                let found = text(decided(&Naming::default(), &[(source, host)], Some(ID)));
                assert_eq!(found, bad_host(source, host));
            }
            let naming = Naming {
                host: Some(host.to_owned()),
                ..Naming::default()
            };
            // Nothing else is taken in its place.
            let found = text(decided(&naming, &[("EID_HOST", "h")], Some(ID)));
            assert_eq!(found, bad_host("--host", host));
        }
        for url in ["rancher-metadata", "https://h", "http://h/\n"] {
            let found = text(decided(&Naming::default(), &[("EID_RANCHER", url)], Some(ID)));
            assert_eq!(found, Err(NameError::BadUrl(url.to_owned())));
        }
        let label = "l".repeat(63);
        let host = format!("{label}.{label}.{label}");
        let found = text(decided(&Naming::default(), &[("EID_HOST", &host)], Some(ID)));
        assert_eq!(found, Err(NameError::TooLong));
    }

    #[test]
    fn sentences() {
        let rancher = |error| NameError::Rancher(URL.to_owned(), error);
        let refused = Error::Refused {
            status: 404,
            message: "Not found".to_owned(),
        };
        let serve = |error| NameError::Serve("tcp://172.17.0.1:4243".to_owned(), error);
        let errors = [
            NameError::NoContainer,
            NameError::BadBase("a\x1b[31m\n".to_owned()),
            NameError::NoHost,
            NameError::BadHost("EID_HOST", "x".repeat(10_000)),
            NameError::BadUrl("\r\n".to_owned()),
            rancher(Error::Unreachable("connection refused".to_owned())),
            rancher(refused.clone()),
            serve(refused),
            serve(Error::Unreachable("connection refused".to_owned())),
            serve(Error::Timeout),
            rancher(Error::BadResponse("no".to_owned())),
            rancher(Error::TooLarge(5)),
            rancher(Error::Timeout),
            NameError::TooLong,
            NameError::Timeout,
        ];
        for error in errors {
            let sentence = error.to_string();
            assert!((40..400).contains(&sentence.len()), "{sentence}");
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
            let says_what_to_do = ["set ", "correct it", "give it", "take "];
            assert!(
                says_what_to_do.iter().any(|advice| sentence.contains(advice)),
                "{sentence}"
            );
        }
    }
}
