//! A container as eid keeps it: its ports, its networks and its labels.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::node_name::{is_id, ContainerRef};

/// Maximum size of the labels of one container, in bytes.
pub(crate) const MAX_LABELS: usize = 2048;

/// How the keys of eid's own labels begin.
pub const OWN_LABELS: &str = "eid.";

/// A port of a container that is published on its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The host's address that the port is published on; `None` is a wildcard of every family. Podman's empty or missing
    /// `HostIp` means such a wildcard.
    pub host_ip: Option<IpAddr>,
    /// The port on the host, never 0.
    pub host_port: u16,
    /// The port in the container.
    pub container_port: u16,
    /// `true` for a TCP port, `false` for UDP and SCTP.
    pub tcp: bool,
}

/// A container's place in one Docker network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The network's ID, or its name if the engine gives no ID.
    pub network: String,
    /// The container's IPv4 address there.
    pub ipv4: Option<Ipv4Addr>,
    /// The container's IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
}

/// One container: its identity, and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The full ID, 64 hexadecimal digits, if the engine keeps to its reference.
    pub id: String,
    /// The name, without the `/` that Docker puts before it.
    pub name: String,
    /// `true` if its process runs. A container that waits for its restart does not run.
    pub running: bool,
    /// `true` if it uses its host's network and therefore has no published ports.
    pub host_network: bool,
    /// Its published ports.
    pub bindings: Vec<Binding>,
    /// The networks that it has an address in.
    pub attachments: Vec<Attachment>,
    /// Its labels, up to 2 kB: first eid's own, `eid.…`, then the others, shortest first.
    pub labels: Labels,
}

impl Container {
    /// Returns `true` if `asked` means this container.
    ///
    /// An engine takes a text for a full ID, a name, or a prefix of an ID of any length (`GetContainer` in moby's
    /// `daemon/container.go`). For a container name
    /// `dead` that does not exist it finds `deadbeef…`. Here a prefix needs at least the 12 digits that Docker shows.
    pub fn is_meant_by(&self, asked: &ContainerRef) -> bool {
        self.name == asked.as_str() || (asked.is_id() && self.id.starts_with(asked.as_str()))
    }

    /// The first 12 digits of the ID, as `docker ps` shows it; `None` if the engine sent something else than an ID.
    pub fn short_id(&self) -> Option<&str> {
        is_id(&self.id).then(|| &self.id[..12])
    }

    /// The name of its node: the label `eid.node`, if the container has it.
    pub fn node(&self) -> Option<&str> {
        self.labels.get("eid.node")
    }

    /// Returns `true` if both are reached in the same way. This ignores the labels, which never change.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        let Self {
            id,
            name,
            running,
            host_network,
            bindings,
            attachments,
            labels: _,
        } = self;
        (id, name, running, host_network) == (&other.id, &other.name, &other.running, &other.host_network)
            && *bindings == other.bindings
            && *attachments == other.attachments
    }

    /// The same container without its ports and addresses.
    pub(crate) fn without_addresses(self) -> Self {
        Self {
            bindings: Vec::new(),
            attachments: Vec::new(),
            ..self
        }
    }

    /// Returns `true` if there is anything to dial. If a list shows nothing, it may still be wrong: Podman's lists have no
    /// network mode.
    pub(crate) fn is_reachable(&self) -> bool {
        self.host_network || !self.bindings.is_empty() || !self.attachments.is_empty()
    }

    /// Releases the spare memory of its vectors.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.bindings.shrink_to_fit();
        self.attachments.shrink_to_fit();
    }

    /// Its size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let networks = self.attachments.iter().map(|a| a.network.capacity()).sum::<usize>();
        size_of::<Self>()
            + self.id.capacity()
            + self.name.capacity()
            + self.bindings.capacity() * size_of::<Binding>()
            + self.attachments.capacity() * size_of::<Attachment>()
            + networks
            + self.labels.size()
    }
}

/// The labels of a container, ordered by their keys, each key once.
///
/// All texts share one allocation: a box for each would take more memory than the text in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Each key and its value, one after the other.
    text: Box<str>,
    /// The lengths of each key and its value.
    lengths: Box<[(u16, u16)]>,
}

impl Labels {
    /// Reads the labels of a container from the engine's JSON. Ignores everything except an object, and each value that is
    /// not a text.
    ///
    /// The user of a container writes its labels, so their size is limited. The selection depends on nothing but the labels:
    /// eid's own come first, then as many others as fit, shortest first.
    pub(crate) fn read(labels: &Value) -> Self {
        let all = labels.as_object().into_iter().flatten();
        Self::select(all.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))))
    }

    fn select<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels: Vec<_> = labels.collect();
        labels.sort_unstable_by_key(|&(key, value)| (!key.starts_with(OWN_LABELS), key.len() + value.len(), key));
        let mut room = MAX_LABELS;
        labels.retain(|(key, value)| {
            let rest = room.checked_sub(key.len() + value.len() + size_of::<(u16, u16)>());
            room = rest.unwrap_or(room);
            rest.is_some()
        });
        labels.sort_unstable();
        let length = |text: &str| u16::try_from(text.len()).expect("the limit is below 64 kB");
        Self {
            text: labels.iter().flat_map(|&(key, value)| [key, value]).collect(),
            lengths: labels.iter().map(|(key, value)| (length(key), length(value))).collect(),
        }
    }

    /// The value of the label that has this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All keys and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.text;
        self.lengths.iter().map(move |&(key_length, value_length)| {
            let (key, after) = rest.split_at(key_length.into());
            let (value, after) = after.split_at(value_length.into());
            rest = after;
            (key, value)
        })
    }

    /// Their size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + size_of_val(&*self.lengths)
    }
}

#[cfg(test)]
impl FromIterator<(&'static str, &'static str)> for Labels {
    fn from_iter<T: IntoIterator<Item = (&'static str, &'static str)>>(labels: T) -> Self {
        Self::select(labels.into_iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
#[path = "../tests/unit/labels.rs"]
mod tests;
