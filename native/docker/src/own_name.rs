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

use crate::here::own_container;
use crate::node_name::{is_container, is_host};
use crate::rancher::{Base, Rancher};
use crate::{Error, Limits, NodeName};

/// The digits of a container's ID that `docker ps` shows.
const SHORT_ID: usize = 12;

/// How much of a wrong value an error shows.
const MAX_SHOWN: usize = 60;

/// What the user says about the name beyond the environment. Empty texts count as none.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The part after the `@`, before every other source of it.
    pub host: Option<String>,
    /// The URL of Rancher's metadata service, before the variable `EID_RANCHER`.
    pub rancher: Option<String>,
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
}

/// A name that lacks its host.
#[derive(Debug)]
pub struct Question {
    name: String,
    is_base: bool,
    url: String,
    service: Base,
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
    /// The two parts are too long for one name.
    TooLong,
    /// There was no answer in the time that the caller gave; nothing in here makes this.
    Timeout,
}

impl Naming {
    /// Finds the name from the environment of this process and the container that it runs in:
    ///
    /// * before the `@` the variable `EID_NAME`, or else the container's ID;
    /// * after it the host that was given, or else `EID_HOST`, `MY_POD_IP`, or what Rancher says.
    ///
    /// # Errors
    ///
    /// All of [`NameError`] but those that Rancher makes.
    pub fn find(&self) -> Result<OwnName, NameError> {
        // What is not UTF-8 becomes something that no name may hold.
        let variable = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
        self.decide(variable, own_container)
    }

    /// The same in another environment and another container, which is asked for only where its ID is needed.
    ///
    /// # Errors
    ///
    /// As for [`Naming::find`].
    pub fn decide<'a>(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        container: impl FnOnce() -> Option<&'a str>,
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
        let url = url.ok_or(NameError::NoHost)?;
        let service = Base::parse(&url).map_err(|_| NameError::BadUrl(url.clone()))?;
        Ok(OwnName::AtRancher(Question {
            name,
            is_base,
            url,
            service,
        }))
    }
}

impl OwnName {
    /// The name, after asking for the rest of it if need be. This needs a runtime then, with I/O and time.
    ///
    /// # Errors
    ///
    /// [`NameError::Rancher`] and [`NameError::TooLong`].
    pub async fn ask(self, limits: Limits) -> Result<NodeName, NameError> {
        match self {
            Self::Known(name) => Ok(name),
            Self::AtRancher(question) => question.ask(limits).await,
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
                 Docker host, or MY_POD_IP to that of its pod, or EID_RANCHER to the URL of Rancher's metadata service",
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
                match error {
                    Error::Unreachable(detail) => write!(f, "can't be reached ({detail})")?,
                    Error::Refused { status, message } => {
                        write!(f, "does not say the address (status {status}: {message})")?;
                    }
                    Error::BadResponse(detail) => write!(f, "does not say the address ({detail})")?,
                    Error::TooLarge(bound) => write!(f, "answers with more than {bound} bytes")?,
                    _ => f.write_str("does not answer in time")?,
                }
                f.write_str("; check that URL, or set EID_HOST to what stands after the @")
            }
            Self::TooLong => f.write_str(
                "the node's name would have more than 255 characters; take a shorter EID_NAME, or an address for its host",
            ),
            Self::Timeout => f.write_str(
                "Rancher's metadata service does not answer in time; check its URL, or set EID_HOST to what stands after the @",
            ),
        }
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

    /// What is decided in this environment and container.
    fn decided(naming: &Naming, environment: &[(&str, &str)], own: Option<&str>) -> Result<OwnName, NameError> {
        let variable = |key: &str| {
            let found = environment.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        naming.decide(variable, || own)
    }

    /// The name, or for the one who is asked: the name so far, whether it is a base, and the URL.
    fn text(decided: Result<OwnName, NameError>) -> Result<String, NameError> {
        decided.map(|own_name| match own_name {
            OwnName::Known(name) => name.to_string(),
            OwnName::AtRancher(question) => {
                let whose = if question.is_base { "own" } else { "host" };
                format!("{}@{whose} address by {}", question.name, question.url)
            }
        })
    }

    fn bad_host(source: &'static str, host: &str) -> Result<String, NameError> {
        Err(NameError::BadHost(source, host.to_owned()))
    }

    #[test]
    fn names_by_the_environment() {
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
                Err(NameError::NoHost),
            ),
            // nothing there
            (vec![], in_container, Err(NameError::NoHost)),
            (vec![], outside, Err(NameError::NoContainer)),
            (vec![("EID_NAME", "shop")], outside, Err(NameError::NoHost)),
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
        let errors = [
            NameError::NoContainer,
            NameError::BadBase("a\x1b[31m\n".to_owned()),
            NameError::NoHost,
            NameError::BadHost("EID_HOST", "x".repeat(10_000)),
            NameError::BadUrl("\r\n".to_owned()),
            rancher(Error::Unreachable("connection refused".to_owned())),
            rancher(refused),
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
