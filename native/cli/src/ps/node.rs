//! What is told of a node.

use std::net::IpAddr;

use eid_docker::{route, Bridge, Description, Error};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::age;

/// A node, as `--json` prints it. Where the engine does not tell something, that is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name: as its label `eid.node` has it, or else its container's short ID and host.
    pub node: String,
    pub host: String,
    /// Its container's.
    pub id: String,
    pub name: String,
    pub state: String,
    pub image: Option<String>,
    /// `host` or `published`, and where to dial then.
    pub route: Option<&'static str>,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    /// Why there is no route, as one word.
    pub error: Option<&'static str>,
    pub cluster: Option<String>,
    /// When it was started, if it runs: RFC 3339, UTC.
    pub since: Option<String>,
}

impl Node {
    /// The node in a container on the host of this name and address.
    pub fn read(found: &Description, host: &str, ip: IpAddr, erlang_port: u16) -> Self {
        let container = &found.container;
        let node = match container.node().filter(|label| !label.is_empty()) {
            Some(label) if label.contains('@') => label.to_owned(),
            label => format!("{}@{host}", label.or(container.short_id()).unwrap_or(&container.id)),
        };
        let way = route(container, None, erlang_port, ip, Bridge::Never);
        Self {
            node,
            host: host.to_owned(),
            id: container.id.clone(),
            name: container.name.clone(),
            state: found.state.clone(),
            image: found.image.clone(),
            route: way.as_ref().ok().map(|way| way.kind.name()),
            address: way.as_ref().ok().map(|way| way.to.ip()),
            port: way.as_ref().ok().map(|way| way.to.port()),
            error: way.as_ref().err().map(Error::name),
            cluster: container.labels.get("eid.cluster").map(str::to_owned),
            since: found.started.as_deref().filter(|_| container.running).and_then(utc),
        }
    }

    /// How long ago it was started, for a person.
    pub fn age(&self, now: OffsetDateTime) -> Option<String> {
        let since = age::parse(self.since.as_deref()?)?;
        Some(format!("{} ago", age::words(now - since)))
    }
}

/// Docker writes UTC and Podman the time of its zone.
fn utc(time: &str) -> Option<String> {
    let parsed = age::parse(time)?;
    match time.ends_with('Z') {
        true => Some(time.to_owned()),
        false => parsed.to_offset(UtcOffset::UTC).format(&Rfc3339).ok(),
    }
}
