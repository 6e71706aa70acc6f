//! The parser of `Container@Host`.
//!
//! A node name comes from outside: from another node, a configuration file or a shell. Its container becomes part of a URL
//! path, and its host part of a socket address. The parser refuses every character that could change their meaning. The types
//! prove that a text was checked: only a checked text becomes a [`ContainerRef`], and only a [`ContainerRef`] can be inspected.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::Error;

/// Maximum length of a node name, which is an Erlang atom (MAXATOMLEN, "System Limits" in Erlang's Efficiency Guide). All
/// allowed characters are ASCII, so bytes and characters are the same.
const MAX_NODE_NAME: usize = 255;

/// Maximum length of a container's name, twice the length of a full ID. Docker has no limit.
const MAX_CONTAINER: usize = 128;

/// A parsed `Container@Host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeName {
    container: ContainerRef,
    host: String,
}

impl NodeName {
    /// Parses the text of a node name. This does not resolve the host.
    ///
    /// # Errors
    ///
    /// [`Error::BadNodeName`] unless the text is at most 255 bytes long and has exactly one `@`, a container before it and a
    /// host after it:
    ///
    /// * The container is a letter or digit, then up to 127 of `A-Z a-z 0-9 _ -`. Docker's names
    ///   (`[a-zA-Z0-9][a-zA-Z0-9_.-]+`, `RestrictedNameChars` in moby's `daemon/names`) and the name part of Erlang's nodes
    ///   (`valid_name_head/1` in OTP's `net_kernel`) have these characters in common. Docker also allows `.`, Erlang does not.
    /// * The host is an IPv4 address in its four-part decimal form, an IPv6 address without brackets or zone, or a DNS name
    ///   without a trailing dot.
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

/// A container's ID, a prefix of it, or its name: a letter or digit, then up to 127 of `A-Z a-z 0-9 _ . -`. It is one
/// segment of a URL path. The container of a [`NodeName`] has no `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerRef(String);

impl ContainerRef {
    /// Parses a text that Docker accepts for a container (`RestrictedNameChars` in moby's `daemon/names`). Returns `None` for any
    /// other text.
    pub fn parse(text: &str) -> Option<Self> {
        is_reference(text).then(|| Self(text.to_owned()))
    }

    /// Parses a full container ID. Returns `None` for any other text.
    pub fn from_id(id: &str) -> Option<Self> {
        is_full_id(id).then(|| Self(id.to_owned()))
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if the text looks like a container ID: 12 lowercase hexadecimal digits, as `docker ps` shows, up to all
    /// 64. It may still be a name.
    pub fn is_id(&self) -> bool {
        is_id(&self.0)
    }
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns `true` for 12 to 64 lowercase hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    (12..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns `true` for a full container ID: 64 lowercase hexadecimal digits.
pub fn is_full_id(text: &str) -> bool {
    text.len() == 64 && is_id(text)
}

/// Returns `true` if `text` may be a container's ID or name, or the beginning of an ID.
pub(crate) fn is_reference(text: &str) -> bool {
    text.len() <= MAX_CONTAINER
        && text.bytes().all(|b| is_word_or_hyphen(b) || b == b'.')
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Returns `true` if `text` may also be the part of a node name before the `@`.
pub(crate) fn is_container(text: &str) -> bool {
    is_reference(text) && !text.contains('.')
}

/// Returns `true` for the part of a node name after the `@`: an IPv4 address, an IPv6 address without brackets and zone, or a
/// DNS name.
pub fn is_host(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() || is_dns_name(text)
}

/// The maximum lengths come from RFC 1035, section 2.3.4. It does not allow `_` in host names, but resolvers know such names.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label) && !ends_in_a_number(text)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(is_word_or_hyphen)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Returns `true` if resolvers would take the name for an IPv4 address in one of inet_aton(3)'s legacy forms: `10.1`,
/// `0x7f.1`, `010.0.0.1`. This is the "ends in a number checker" of the WHATWG URL standard. No top-level domain is a number
/// (RFC 3696, section 2).
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_word_or_hyphen(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

#[cfg(test)]
#[path = "../tests/unit/node_name.rs"]
mod tests;
