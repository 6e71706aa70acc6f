//! The public view of a container: which containers `eid serve` shows, and which properties of them.
//!
//! An answer is built property by property. Nothing of the engine's own answer is passed on as it is, so a property that a
//! future engine adds is not shown.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{json, Value};
use time::OffsetDateTime;

use super::engine_container::{private_port, EngineContainer, PortBinding, PortMap};
use crate::output::{age_in_words, parse_time};

/// The maximum size of one container's answer, in bytes. About four hundred published ports fit.
const MAX_SIZE: usize = 32 * 1024;

/// Which containers are shown, and what of them.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The distribution port. Containers that publish or expose it are shown.
    pub erlang_port: u16,
    /// True if the image is shown.
    pub show_image: bool,
}

/// A container that is shown.
#[derive(Debug, PartialEq)]
pub struct PublicContainer {
    /// The full ID.
    pub id: String,
    /// The name, without a slash.
    pub name: String,
    /// The state, such as `running`.
    pub state: String,
    /// eid's own labels.
    pub labels: BTreeMap<String, String>,
    /// The image, if the policy shows it.
    pub image: Option<String>,
    /// The answer to `GET /containers/{id}/json`.
    pub inspected: Bytes,
    /// The element in the answer to `GET /containers/json`, without the age.
    entry: Value,
    started: Option<OffsetDateTime>,
}

/// Why a container is not shown.
#[derive(Debug, PartialEq)]
pub enum NotPublic {
    /// The policy excludes it. That can't change during a container's life.
    Excluded,
    /// Its ports and labels need more memory than a container may use.
    TooLarge,
}

impl Policy {
    /// Returns the public view of a container.
    pub fn apply(&self, container: &EngineContainer) -> Result<PublicContainer, NotPublic> {
        let port = format!("{}/tcp", self.erlang_port);
        let labels = container.own_labels();
        let has_port = container.has_port(&port);
        if labels.is_empty() && !container.is_on_host() && !has_port {
            return Err(NotPublic::Excluded);
        }
        let image = container.image().filter(|_| self.show_image);
        let public = PublicContainer::new(container, labels, image, has_port.then_some(&port));
        if public.inspected.len() > MAX_SIZE {
            return Err(NotPublic::TooLarge);
        }
        Ok(public)
    }
}

impl PublicContainer {
    fn new(
        container: &EngineContainer,
        labels: BTreeMap<String, String>,
        image: Option<&str>,
        exposed: Option<&str>,
    ) -> Self {
        let (id, name) = (container.id.clone(), container.name());
        let (state, ports, networks) = (container.state(), container.ports(), container.networks());
        let host_config = json!({"NetworkMode": container.network_mode()});
        let mut entry = json!({
            "Id": id,
            "Names": [format!("/{name}")],
            "Labels": labels,
            "State": state.status,
            "HostConfig": host_config,
            "Ports": listed_ports(&ports),
            "NetworkSettings": {"Networks": networks},
        });
        let mut inspected = json!({
            "Id": id,
            "Name": format!("/{name}"),
            "Config": {"Labels": labels},
            "State": state,
            "HostConfig": host_config,
            "NetworkSettings": {"Ports": ports, "Networks": networks},
        });
        if let Some(image) = image {
            entry["Image"] = image.into();
            inspected["Config"]["Image"] = image.into();
        }
        // While a container does not run, only this shows that it is a node.
        if let Some(port) = exposed {
            inspected["Config"]["ExposedPorts"] = json!({port: {}});
        }
        Self {
            id,
            name,
            started: parse_time(&state.started_at),
            state: state.status,
            labels,
            image: image.map(str::to_owned),
            inspected: inspected.to_string().into(),
            entry,
        }
    }

    /// Returns the element for a list.
    pub fn list_entry(&self, now: OffsetDateTime) -> ListEntry<'_> {
        ListEntry {
            entry: &self.entry,
            status: self.status(now),
        }
    }

    /// Returns the status in the words of `docker ps`.
    fn status(&self, now: OffsetDateTime) -> String {
        let up = || format!("Up {}", age_in_words(now - self.started.unwrap_or(now)));
        match self.state.as_str() {
            "running" => up(),
            "paused" => format!("{} (Paused)", up()),
            other => {
                let mut letters = other.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                first.into_iter().chain(letters).collect()
            }
        }
    }
}

/// Returns the ports as `GET /containers/json` lists them.
fn listed_ports(ports: &PortMap) -> Vec<Value> {
    let mut listed = Vec::new();
    for (port, bindings) in ports {
        let Some((private_port, protocol)) = private_port(port) else {
            continue;
        };
        let exposed = json!({"PrivatePort": private_port, "Type": protocol});
        let published = |binding: &PortBinding| {
            let mut published = exposed.clone();
            published["PublicPort"] = binding.host_port.parse::<u16>().unwrap_or_default().into();
            if !binding.host_ip.is_empty() {
                published["IP"] = binding.host_ip.as_str().into();
            }
            published
        };
        match bindings.as_deref() {
            None | Some([]) => listed.push(exposed),
            Some(bindings) => listed.extend(bindings.iter().map(published)),
        }
    }
    listed
}

/// An element of a list, with its age.
#[derive(Serialize)]
pub struct ListEntry<'a> {
    #[serde(flatten)]
    entry: &'a Value,
    #[serde(rename = "Status")]
    status: String,
}
