//! The one parser of `Container@Host`.
//!
//! A node name comes from outside (another node, a configuration file, a shell) and its container ends up in a URL path
//! and its host in a socket address. Everything that could mean something else there is refused here, and the types say
//! that it was: only a [`NodeName`] has a [`ContainerRef`], and only a [`ContainerRef`] can be inspected.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Error;

/// An Erlang atom, and so a node name, has at most 255 characters (MAXATOMLEN, "System Limits" in Erlang's Efficiency
/// Guide). All characters that are allowed here are ASCII, so bytes and characters are the same.
const MAX_NODE_NAME: usize = 255;

/// Docker itself sets no limit; 128 is twice the length of a full container ID.
const MAX_CONTAINER: usize = 128;

/// A parsed `Container@Host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeName {
    container: ContainerRef,
    host: String,
}

impl NodeName {
    /// Parses the text of a node name. Nothing is looked up.
    ///
    /// # Errors
    ///
    /// [`Error::BadNodeName`] unless the text is at most 255 bytes long with exactly one `@` in it, a container before
    /// and a host after it:
    ///
    /// * the container is a letter or digit and then up to 127 of `A-Z a-z 0-9 _ -`. That is what a Docker name
    ///   (`[a-zA-Z0-9][a-zA-Z0-9_.-]+`, `RestrictedNameChars` in moby's `daemon/names`) and the name part of an Erlang
    ///   node (`valid_name_head/1` in OTP's `net_kernel`) have in common: Docker also allows `.`, Erlang does not.
    /// * the host is an IPv4 address in its four-part decimal form, an IPv6 address without brackets or zone, or a DNS
    ///   name without a trailing dot.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::split(text.as_ref()).ok_or(Error::BadNodeName)
    }

    fn split(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_NODE_NAME {
            return None;
        }
        let (container, host) = std::str::from_utf8(text).ok()?.split_once('@')?;
        (is_container(container) && is_host(host)).then(|| Self {
            container: ContainerRef(container.to_owned()),
            host: host.to_owned(),
        })
    }

    /// The part before the `@`.
    pub fn container(&self) -> &ContainerRef {
        &self.container
    }

    /// The part after the `@`: an IPv4 address, an IPv6 address without brackets, or a DNS name.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The text that [`NodeName::parse`] takes.
impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.container, self.host)
    }
}

/// A container's ID, a prefix of it, or its name: a letter or digit and then up to 127 of `A-Z a-z 0-9 _ . -`, so that it is one
/// segment of a URL path. That of a [`NodeName`] has no `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerRef(String);

impl ContainerRef {
    /// Parses what Docker takes for a container (`RestrictedNameChars` in moby's `daemon/names`); `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        is_reference(text).then(|| Self(text.to_owned()))
    }

    /// A full container ID; `None` for any other text.
    pub fn from_id(id: &str) -> Option<Self> {
        is_full_id(id).then(|| Self(id.to_owned()))
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text reads as a container ID: 12 (what `docker ps` and a container's hostname show) to 64 (all of
    /// it) lowercase hexadecimal digits. It may still be a name.
    pub fn is_id(&self) -> bool {
        is_id(&self.0)
    }
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is 12 to 64 lowercase hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    (12..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `text` is a container ID in full.
pub fn is_full_id(text: &str) -> bool {
    text.len() == 64 && is_id(text)
}

/// Whether `text` may be a container's ID or name, or the beginning of an ID.
pub(crate) fn is_reference(text: &str) -> bool {
    text.len() <= MAX_CONTAINER
        && text.bytes().all(|b| is_word_or_hyphen(b) || b == b'.')
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// The same for one that may be part of a node name.
pub(crate) fn is_container(text: &str) -> bool {
    is_reference(text) && !text.contains('.')
}

/// Whether `text` is an IPv4 address, an IPv6 address (no brackets, no zone) or a DNS name.
pub fn is_host(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() || is_dns_name(text)
}

/// The lengths are those of RFC 1035, section 2.3.4; `_` is no part of a host name there, but it is of names that real
/// resolvers are asked for.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label) && !ends_in_a_number(text)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(is_word_or_hyphen)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether resolvers would read the name as an IPv4 address in one of inet_aton(3)'s legacy forms: `10.1`, `0x7f.1`,
/// `010.0.0.1`. No top-level domain is a number (RFC 3696, section 2); the test is the "ends in a number checker" of
/// the WHATWG URL standard.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_word_or_hyphen(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_node_names() {
        let id = "0123456789abcdef".repeat(4);
        let longest = "c".repeat(MAX_CONTAINER);
        let cases = [
            ("db", "192.168.4.231"),
            ("0123456789ab", "10.0.0.5"),
            (id.as_str(), "host-1.example.com"),
            ("my_app-1", "docker_host"),
            ("A", "localhost"),
            ("db", "::1"),
            ("db", "2001:db8::5"),
            ("db", "::ffff:192.0.2.1"),
            ("db", "1.2.3.x4"),
            ("db", "0xg"),
            ("db", "4.example"),
            (longest.as_str(), "h"),
        ];
        for (container, host) in cases {
            let name = NodeName::parse(format!("{container}@{host}")).unwrap();
            assert_eq!((name.container().as_str(), name.host()), (container, host));
        }
    }

    #[test]
    fn names_that_are_not() {
        let cases = [
            "",
            "@",
            "db",
            "db@",
            "@host",
            "db@h@i",
            "db@@h",
            // the container
            "-db@h",
            "_db@h",
            ".db@h",
            "d.b@h",
            "d b@h",
            "d/b@h",
            "../db@h",
            "d%2fb@h",
            "db?x=1@h",
            "db#x@h",
            "d:b@h",
            "d\\b@h",
            "d\nb@h",
            "d\0b@h",
            "dé@h",
            "db\u{202e}@h",
            // the host
            "db@h/",
            "db@h/..",
            "db@h?",
            "db@h#",
            "db@h%2f",
            "db@h:80",
            "db@ h",
            "db@h ",
            "db@h\r\nX: y",
            "db@hé",
            "db@..",
            "db@.",
            "db@h.",
            "db@.h",
            "db@h..i",
            "db@-h",
            "db@h-",
            "db@h.-i",
            "db@[::1]",
            "db@fe80::1%eth0",
            "db@::g",
            "db@1:2",
            "db@user:pw",
            // legacy forms of IPv4 addresses
            "db@1",
            "db@10.1",
            "db@010.0.0.1",
            "db@0x7f.1",
            "db@0x7f000001",
            "db@0X7F",
            "db@1.2.3.4.5",
            "db@256.1.1.1",
            "db@1.2.3.0x4",
            "db@1.2.3.0x",
            "db@example.1",
        ];
        for text in cases {
            assert_eq!(NodeName::parse(text), Err(Error::BadNodeName), "{text:?}");
        }
        assert_eq!(NodeName::parse([b'd', b'@', 0xff]), Err(Error::BadNodeName));
    }

    #[test]
    fn lengths() {
        let label = "l".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "l".repeat(61));
        assert!(is_host(&longest));
        assert!(!is_host(&format!("{longest}l")));
        assert!(!is_host(&"l".repeat(64)));
        assert!(!is_container(&"c".repeat(MAX_CONTAINER + 1)));
        assert!(NodeName::parse(format!("d@{longest}")).is_ok());
        assert!(NodeName::parse(format!("db@{longest}")).is_err());
        assert!(NodeName::parse("d@".to_owned() + &"h".repeat(10_240)).is_err());
        assert!(NodeName::parse("d".repeat(10_240) + "@h").is_err());
    }

    #[test]
    fn containers_that_are_in_no_node_name() {
        let longest = "c".repeat(MAX_CONTAINER);
        for text in ["db", "shop.redis", "shop_redis.1.x-y", "a..", &"a".repeat(64), &longest] {
            assert_eq!(ContainerRef::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            ".",
            "..",
            ".db",
            "-db",
            "_db",
            "d/b",
            "d@b",
            "d%2fb",
            "d?b",
            "d#b",
            "d b",
            "d\0b",
            "dé",
            "d\nb",
            &(longest.clone() + "c"),
        ] {
            assert_eq!(ContainerRef::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ids() {
        let is_id = |text: &str| ContainerRef(text.to_owned()).is_id();
        assert!(is_id("0123456789ab"));
        assert!(is_id(&"a".repeat(64)));
        assert!(!is_id("0123456789a"));
        assert!(!is_id(&"a".repeat(65)));
        assert!(!is_id("0123456789AB"));
        assert!(!is_id("0123456789ag"));
    }
}
