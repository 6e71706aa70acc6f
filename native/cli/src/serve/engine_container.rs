//! The engine's answer about one container, reduced to values that are checked.
//!
//! Only fields that are named here are read. Texts that the engine chooses are passed on only if they have the expected form.

use std::collections::BTreeMap;

use eid_docker::{is_full_id, OWN_LABELS};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Networks that every engine has. Users name other networks, so these are shown by ID.
const COMMON_NETWORKS: [&str; 4] = ["bridge", "host", "none", "podman"];

/// The answer of `GET /containers/{id}/json`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineContainer {
    /// The full ID.
    pub id: String,
    name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    state: EngineState,
    #[serde(default, deserialize_with = "or_default")]
    config: EngineConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: EngineHostConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: EngineNetworkSettings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineState {
    status: Option<String>,
    running: Option<bool>,
    paused: Option<bool>,
    restarting: Option<bool>,
    dead: Option<bool>,
    started_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineConfig {
    image: Option<String>,
    labels: Option<BTreeMap<String, Value>>,
    exposed_ports: Option<BTreeMap<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineHostConfig {
    network_mode: Option<String>,
    port_bindings: Option<BTreeMap<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineNetworkSettings {
    ports: Option<BTreeMap<String, Option<Vec<EngineBinding>>>>,
    networks: Option<BTreeMap<String, Option<EngineNetwork>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineBinding {
    host_ip: Option<String>,
    host_port: Option<String>,
}

#[derive(Deserialize)]
struct EngineNetwork {
    #[serde(rename = "NetworkID")]
    id: Option<String>,
    #[serde(rename = "IPAddress")]
    ipv4: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: Option<String>,
}

/// The state of a container.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// One word, such as `running`.
    pub status: String,
    running: bool,
    paused: bool,
    restarting: bool,
    dead: bool,
    /// RFC 3339, or empty.
    pub started_at: String,
}

/// The container's end of a network. Unknown values are empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    #[serde(rename = "NetworkID")]
    id: String,
    #[serde(rename = "IPAddress")]
    ipv4: String,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: String,
}

/// A published port.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// The host's address, or empty for all addresses.
    pub host_ip: String,
    /// The host's port.
    pub host_port: String,
}

/// The bindings of each port, such as `12345/tcp`. `None` means that the port is exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Reads `null`, which engines send for an empty object, as the default.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl EngineContainer {
    /// Returns the name without the slash.
    pub fn name(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        name.strip_prefix('/').unwrap_or(name).to_owned()
    }

    /// Returns the image, as named at the start.
    pub fn image(&self) -> Option<&str> {
        self.config.image.as_deref()
    }

    /// Returns eid's own labels.
    pub fn own_labels(&self) -> BTreeMap<String, String> {
        let labels = self.config.labels.iter().flatten();
        let own = labels.filter(|(key, _)| key.starts_with(OWN_LABELS));
        own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// Returns whether the container uses its host's network.
    pub fn is_on_host(&self) -> bool {
        self.host_config.network_mode.as_deref() == Some("host")
    }

    /// Returns whether the container publishes or exposes this port, such as `12345/tcp`, even if it does not run.
    pub fn has_port(&self, port: &str) -> bool {
        let is_in =
            |ports: &Option<BTreeMap<String, Value>>| ports.as_ref().is_some_and(|ports| ports.contains_key(port));
        is_in(&self.config.exposed_ports)
            || is_in(&self.host_config.port_bindings)
            || self
                .network_settings
                .ports
                .as_ref()
                .is_some_and(|ports| ports.contains_key(port))
    }

    /// Returns the state.
    pub fn state(&self) -> State {
        let state = &self.state;
        let checked = |text: &Option<String>, is_valid: fn(&str) -> bool| {
            let text = text.clone().filter(|text| is_valid(text));
            text.unwrap_or_default()
        };
        State {
            status: checked(&state.status, is_word),
            running: state.running.unwrap_or_default(),
            paused: state.paused.unwrap_or_default(),
            restarting: state.restarting.unwrap_or_default(),
            dead: state.dead.unwrap_or_default(),
            started_at: checked(&state.started_at, is_time),
        }
    }

    /// Returns the networks, by name if every engine has it, else by ID.
    pub fn networks(&self) -> BTreeMap<String, Network> {
        let networks = self.network_settings.networks.iter().flatten();
        let shown = networks.filter_map(|(name, network)| {
            let network = network.as_ref()?;
            let id = network.id.clone().filter(|id| is_full_id(id)).unwrap_or_default();
            let key = if COMMON_NETWORKS.contains(&name.as_str()) {
                name
            } else {
                &id
            };
            let key = Some(key.clone()).filter(|key| !key.is_empty())?;
            let address = |text: &Option<String>| text.clone().filter(|text| is_address(text)).unwrap_or_default();
            let shown = Network {
                ipv4: address(&network.ipv4),
                ipv6: address(&network.ipv6),
                id,
            };
            Some((key, shown))
        });
        shown.collect()
    }

    /// Returns the network mode. A network's name becomes its ID here, too. For the network of another container, the other
    /// container is not named.
    pub fn network_mode(&self) -> String {
        let mode = self.host_config.network_mode.as_deref().unwrap_or_default();
        if mode.is_empty() || mode == "default" || COMMON_NETWORKS.contains(&mode) {
            return mode.to_owned();
        }
        if mode.starts_with("container:") {
            return "container:".to_owned();
        }
        let networks = self.network_settings.networks.as_ref();
        let network = networks.and_then(|networks| networks.get(mode)?.as_ref()?.id.clone());
        let id = network.unwrap_or_else(|| mode.to_owned());
        if is_full_id(&id) {
            id
        } else {
            "user".to_owned()
        }
    }

    /// Returns the ports.
    pub fn ports(&self) -> PortMap {
        let ports = self.network_settings.ports.iter().flatten();
        let ports = ports.filter(|(port, _)| private_port(port).is_some());
        let shown = ports.map(|(port, bindings)| {
            let bindings = bindings.as_ref();
            let bindings = bindings.map(|bindings| bindings.iter().filter_map(EngineBinding::checked).collect());
            (port.clone(), bindings)
        });
        shown.collect()
    }
}

impl EngineBinding {
    fn checked(&self) -> Option<PortBinding> {
        let host_ip = self.host_ip.clone().unwrap_or_default();
        let host_port = self.host_port.clone().unwrap_or_default();
        let is_binding = (host_ip.is_empty() || is_address(&host_ip)) && host_port.parse::<u16>().is_ok();
        is_binding.then_some(PortBinding { host_ip, host_port })
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

fn is_time(text: &str) -> bool {
    text.len() <= 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"TZ:.+-".contains(&byte))
}

fn is_word(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Parses `12345/tcp`.
pub fn private_port(port: &str) -> Option<(u16, &str)> {
    let (number, protocol) = port.split_once('/')?;
    let is_known = ["tcp", "udp", "sctp"].contains(&protocol);
    Some((number.parse().ok()?, protocol)).filter(|_| is_known)
}
