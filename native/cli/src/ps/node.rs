//! The properties of a node that `eid ps` prints.

use std::net::IpAddr;

use eid_docker::{route, Bridge, Description, Error};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::output::{age_in_words, parse_time};

/// A node, as `--json` prints it. A property that the engine does not tell is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The node name: the label `eid.node`, or else the container's short ID and the host.
    pub node: String,
    /// The host part of the node name.
    pub host: String,
    /// The full ID of the container.
    pub id: String,
    /// The name of the container.
    pub name: String,
    /// The state of the container in the engine's words, such as `running` or `exited`.
    pub state: String,
    /// The image of the container.
    pub image: Option<String>,
    /// `host` or `published`.
    pub route: Option<&'static str>,
    /// The address to dial.
    pub address: Option<IpAddr>,
    /// The port to dial.
    pub port: Option<u16>,
    /// One word that explains why there is no route.
    pub error: Option<&'static str>,
    /// The label `eid.cluster`.
    pub cluster: Option<String>,
    /// When a running container was started: RFC 3339, UTC.
    pub since: Option<String>,
}

impl Node {
    /// Reads the node in a container on the host with this name and address.
    pub fn read(found: &Description, host: &str, ip: IpAddr, erlang_port: u16) -> Self {
        let container = &found.container;
        let node = match container.node().filter(|label| !label.is_empty()) {
            Some(label) if label.contains('@') => label.to_owned(),
            label => format!("{}@{host}", label.or(container.short_id()).unwrap_or(&container.id)),
        };
        let found_route = route(container, None, erlang_port, ip, Bridge::Never);
        Self {
            node,
            host: host.to_owned(),
            id: container.id.clone(),
            name: container.name.clone(),
            state: found.state.clone(),
            image: found.image.clone(),
            route: found_route.as_ref().ok().map(|route| route.kind.name()),
            address: found_route.as_ref().ok().map(|route| route.to.ip()),
            port: found_route.as_ref().ok().map(|route| route.to.port()),
            error: found_route.as_ref().err().map(Error::name),
            cluster: container.labels.get("eid.cluster").map(str::to_owned),
            since: found.started.as_deref().filter(|_| container.running).and_then(utc),
        }
    }

    /// Returns how long ago the node was started, for a person.
    pub fn age(&self, now: OffsetDateTime) -> Option<String> {
        let since = parse_time(self.since.as_deref()?)?;
        Some(format!("{} ago", age_in_words(now - since)))
    }
}

/// Converts to UTC: Podman writes local time with an offset, Docker writes UTC.
fn utc(time: &str) -> Option<String> {
    let parsed = parse_time(time)?;
    if time.ends_with('Z') {
        Some(time.to_owned())
    } else {
        parsed.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
    }
}
