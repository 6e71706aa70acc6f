//! The JSON of containers, field by field as the Docker Engine API's reference names them (1.24 to 1.52).
//!
//! An inspect and a list describe a container in two forms; both become a [`Container`]. A field that Docker or Podman omits
//! or sends as `null` counts as absent. JSON that contradicts the reference is an error.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use crate::container::{Attachment, Binding, Container, Labels};

/// The answer to `GET /containers/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    id: String,
    name: Option<String>,
    state: Option<State>,
    host_config: Option<HostConfig>,
    network_settings: Option<NetworkSettings>,
    config: Option<Config>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: Option<bool>,
    restarting: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    /// `"12345/tcp"` to its bindings; `null` for a port that is exposed but not published. A list does not have this.
    ports: Option<HashMap<String, Option<Vec<PortBinding>>>>,
    /// By name.
    networks: Option<HashMap<String, Option<Network>>>,
}

/// The fields may hold anything. Values that are not addresses are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    #[serde(default, rename = "NetworkID")]
    id: Value,
    #[serde(default, rename = "IPAddress")]
    ipv4: Value,
    #[serde(default, rename = "GlobalIPv6Address")]
    ipv6: Value,
}

/// The fields may hold anything. A binding that is not a port or an address is ignored, so that it does not hide the others.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortBinding {
    #[serde(default)]
    host_ip: Value,
    #[serde(default)]
    host_port: Value,
}

/// An element of the answer to `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    id: String,
    names: Option<Vec<String>>,
    state: Option<String>,
    host_config: Option<HostConfig>,
    ports: Option<Vec<Port>>,
    network_settings: Option<ListedSettings>,
    #[serde(default)]
    labels: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedSettings {
    networks: Option<HashMap<String, Option<Network>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default, rename = "IP")]
    ip: Value,
    #[serde(default)]
    private_port: Value,
    #[serde(default)]
    public_port: Value,
    #[serde(default, rename = "Type")]
    protocol: Value,
}

impl From<Inspected> for Container {
    fn from(inspected: Inspected) -> Self {
        let state = inspected.state.unwrap_or_default();
        let settings = inspected.network_settings.unwrap_or_default();
        let ports = settings.ports.unwrap_or_default();
        let bindings = ports
            .iter()
            .filter_map(|(port, bindings)| Some((container_port(port)?, bindings.as_ref()?)))
            .flat_map(|(port, bindings)| bindings.iter().filter_map(move |binding| binding.at(port)));
        Self {
            id: inspected.id,
            name: bare_name(inspected.name.unwrap_or_default()),
            // Docker also says "running" while it waits for the next try of a restart policy (`SetRestarting` in moby's
            // `container/state.go`).
            running: state.running == Some(true) && state.restarting != Some(true),
            host_network: inspected.host_config.unwrap_or_default().is_host(),
            bindings: sorted(bindings),
            attachments: attachments(settings.networks),
            labels: Labels::read(&inspected.config.unwrap_or_default().labels),
        }
    }
}

impl From<Listed> for Container {
    fn from(listed: Listed) -> Self {
        let ports = listed.ports.unwrap_or_default();
        let names = listed.names.unwrap_or_default().into_iter().map(bare_name);
        Self {
            id: listed.id,
            // `web/db` is the name that the container `web` uses for it by one of Docker's former links.
            name: names.into_iter().find(|name| !name.contains('/')).unwrap_or_default(),
            // A list without states holds running containers only.
            running: matches!(listed.state.as_deref(), None | Some("running" | "paused")),
            host_network: listed.host_config.unwrap_or_default().is_host(),
            bindings: sorted(ports.iter().filter_map(Port::binding)),
            attachments: attachments(listed.network_settings.unwrap_or_default().networks),
            labels: Labels::read(&listed.labels),
        }
    }
}

impl HostConfig {
    fn is_host(&self) -> bool {
        self.network_mode == "host"
    }
}

impl PortBinding {
    fn at(&self, (container_port, tcp): (u16, bool)) -> Option<Binding> {
        Some(Binding {
            host_ip: host_ip(&self.host_ip)?,
            host_port: self.host_port.as_str()?.parse().ok().filter(|&port| port > 0)?,
            container_port,
            tcp,
        })
    }
}

impl Port {
    fn binding(&self) -> Option<Binding> {
        let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        Some(Binding {
            host_ip: host_ip(&self.ip)?,
            host_port: number(&self.public_port).filter(|&port| port > 0)?,
            container_port: number(&self.private_port)?,
            tcp: self.protocol == "tcp",
        })
    }
}

fn attachments(networks: Option<HashMap<String, Option<Network>>>) -> Vec<Attachment> {
    let networks = networks.unwrap_or_default().into_iter();
    sorted(networks.filter_map(|(name, network)| network?.attachment(name)))
}

/// The same container must always look the same: maps have no order, and engine 26 sorts bindings while 28 keeps the order
/// of the command line.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

impl Network {
    fn attachment(&self, name: String) -> Option<Attachment> {
        let attachment = Attachment {
            network: self.id.as_str().filter(|id| !id.is_empty()).map_or(name, str::to_owned),
            ipv4: self.ipv4.as_str().and_then(|ip| ip.parse().ok()),
            ipv6: self.ipv6.as_str().and_then(|ip| ip.parse().ok()),
        };
        (attachment.ipv4.is_some() || attachment.ipv6.is_some()).then_some(attachment)
    }
}

/// Removes the `/` at the beginning of Docker's names, which dates from its former links.
fn bare_name(name: String) -> String {
    name.strip_prefix('/').map(str::to_owned).unwrap_or(name)
}

/// Reads `12345/tcp`: the port, and `true` for TCP. A port without a protocol is a TCP port.
pub(super) fn container_port(key: &str) -> Option<(u16, bool)> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    Some((port.parse().ok()?, protocol == "tcp"))
}

/// `None` for a value that is not an address, `Some(None)` for an address that is left out.
fn host_ip(value: &Value) -> Option<Option<IpAddr>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) if text.is_empty() => Some(None),
        Value::String(text) => text.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
#[path = "../../tests/unit/container.rs"]
mod tests;
