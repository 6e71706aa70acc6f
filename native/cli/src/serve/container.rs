//! What is told of a container, and which containers anything is told of.
//!
//! An answer is made of what the types below have, field by field; nothing of the engine's own answer is passed on. So what
//! an engine may come to say is not told before somebody writes it here.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::age;

/// The bytes of one container's answer. Some four hundred published ports fit.
const MAX_SIZE: usize = 32 * 1024;

/// Labels that begin so are eid's own.
const OWN_LABELS: &str = "eid.";

/// Networks that every engine has. The names of others are their makers' affair, so they are shown by their IDs.
const COMMON_NETWORKS: [&str; 4] = ["bridge", "host", "none", "podman"];

/// Which containers are shown, and what of them.
#[derive(Clone, Debug)]
pub struct Policy {
    pub erlang_port: u16,
    pub show_image: bool,
}

/// A container that is shown.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub id: String,
    pub name: String,
    pub state: String,
    pub labels: BTreeMap<String, String>,
    pub image: Option<String>,
    /// What `GET /containers/{id}/json` answers.
    pub inspected: Bytes,
    /// What `GET /containers/json` has of it, but for the time that it has been up.
    listed: Listed,
    started: Option<OffsetDateTime>,
}

/// Why a container is not shown.
#[derive(Debug, PartialEq)]
pub enum Hidden {
    /// It never will be: what decides about it does not change while it lives.
    ForGood,
    /// It has so many ports or long labels that it takes more memory than one may have.
    TooLarge,
}

impl Policy {
    /// What is shown of a container that the engine has described.
    pub fn show(&self, told: Told) -> Result<Shown, Hidden> {
        let port = format!("{}/tcp", self.erlang_port);
        let labels = told.own_labels();
        let is_shown = !labels.is_empty() || told.is_on_host() || told.has_port(&port);
        if !is_shown {
            return Err(Hidden::ForGood);
        }
        let image = told.config.image.clone().filter(|_| self.show_image);
        let exposed = Some(port).filter(|port| told.has_port(port));
        let shown = told.shown(labels, image, exposed.as_deref());
        if shown.inspected.len() > MAX_SIZE {
            return Err(Hidden::TooLarge);
        }
        Ok(shown)
    }
}

impl Shown {
    /// As an element of a list.
    pub fn listed(&self, now: OffsetDateTime) -> ListedNow<'_> {
        ListedNow {
            listed: &self.listed,
            status: self.status(now),
        }
    }

    /// In the words of `docker ps`.
    fn status(&self, now: OffsetDateTime) -> String {
        let up = || format!("Up {}", age::words(now - self.started.unwrap_or(now)));
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

// What the engine tells, as far as it is read.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Told {
    pub id: String,
    name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    state: ToldState,
    #[serde(default, deserialize_with = "or_default")]
    config: ToldConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: ToldHostConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: ToldNetworks,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToldState {
    status: Option<String>,
    running: Option<bool>,
    paused: Option<bool>,
    restarting: Option<bool>,
    dead: Option<bool>,
    started_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToldConfig {
    image: Option<String>,
    labels: Option<BTreeMap<String, Value>>,
    exposed_ports: Option<BTreeMap<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToldHostConfig {
    network_mode: Option<String>,
    port_bindings: Option<BTreeMap<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToldNetworks {
    ports: Option<BTreeMap<String, Option<Vec<ToldBinding>>>>,
    networks: Option<BTreeMap<String, Option<ToldNetwork>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToldBinding {
    host_ip: Option<String>,
    host_port: Option<String>,
}

#[derive(Deserialize)]
struct ToldNetwork {
    #[serde(rename = "NetworkID")]
    id: Option<String>,
    #[serde(rename = "IPAddress")]
    ipv4: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: Option<String>,
}

/// Engines send `null` for what there is none of.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Told {
    fn own_labels(&self) -> BTreeMap<String, String> {
        let labels = self.config.labels.iter().flatten();
        let own = labels.filter(|(key, _)| key.starts_with(OWN_LABELS));
        own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    fn is_on_host(&self) -> bool {
        self.host_config.network_mode.as_deref() == Some("host")
    }

    /// Whether it publishes or exposes it, also while it does not run.
    fn has_port(&self, port: &str) -> bool {
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

    fn shown(self, labels: BTreeMap<String, String>, image: Option<String>, exposed: Option<&str>) -> Shown {
        let networks = self.networks();
        let network_mode = self.network_mode();
        let ports = self.ports();
        let name = self.name.unwrap_or_default();
        let bare_name = name.strip_prefix('/').unwrap_or(&name).to_owned();
        let started_at = self.state.started_at.filter(|text| is_time(text)).unwrap_or_default();
        let started = age::parse(&started_at);
        let state = State {
            status: self.state.status.filter(|word| is_word(word)).unwrap_or_default(),
            running: self.state.running.unwrap_or_default(),
            paused: self.state.paused.unwrap_or_default(),
            restarting: self.state.restarting.unwrap_or_default(),
            dead: self.state.dead.unwrap_or_default(),
            started_at,
        };
        let listed = Listed {
            id: self.id.clone(),
            names: [format!("/{bare_name}")],
            image: image.clone(),
            labels: labels.clone(),
            state: state.status.clone(),
            host_config: HostConfig {
                network_mode: network_mode.clone(),
            },
            ports: listed_ports(&ports),
            network_settings: Networks {
                networks: networks.clone(),
            },
        };
        let inspected = Inspected {
            id: &self.id,
            name: format!("/{bare_name}"),
            config: Config {
                image: image.as_deref(),
                labels: &labels,
                exposed_ports: exposed.map(|port| BTreeMap::from([(port, Empty {})])),
            },
            state: &state,
            host_config: HostConfig { network_mode },
            network_settings: Settings { ports, networks },
        };
        let inspected = serde_json::to_vec(&inspected).expect("all keys are texts").into();
        Shown {
            id: self.id,
            name: bare_name,
            state: state.status,
            labels,
            image,
            inspected,
            listed,
            started,
        }
    }

    fn networks(&self) -> BTreeMap<String, Network> {
        let networks = self.network_settings.networks.iter().flatten();
        let shown = networks.filter_map(|(name, network)| {
            let network = network.as_ref()?;
            let id = network.id.clone().filter(|id| is_full_id(id)).unwrap_or_default();
            let key = network_name(name, &id)?;
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

    /// A network's name is shown as its ID here too, and of another container's network not which container it is.
    fn network_mode(&self) -> String {
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

    fn ports(&self) -> BTreeMap<String, Option<Vec<PortBinding>>> {
        let ports = self.network_settings.ports.iter().flatten();
        let ports = ports.filter(|(port, _)| private_port(port).is_some());
        let shown = ports.map(|(port, bindings)| {
            let bindings = bindings.as_ref().map(|bindings| {
                let shown = bindings.iter().filter_map(ToldBinding::shown);
                shown.collect()
            });
            (port.clone(), bindings)
        });
        shown.collect()
    }
}

impl ToldBinding {
    fn shown(&self) -> Option<PortBinding> {
        let host_ip = self.host_ip.clone().unwrap_or_default();
        let host_port = self.host_port.clone().unwrap_or_default();
        let is_binding = (host_ip.is_empty() || is_address(&host_ip)) && host_port.parse::<u16>().is_ok();
        is_binding.then_some(PortBinding { host_ip, host_port })
    }
}

/// What stands for a network's name; `None` if nothing can.
pub fn network_name(name: &str, id: &str) -> Option<String> {
    match COMMON_NETWORKS.contains(&name) {
        true => Some(name.to_owned()),
        false => Some(id.to_owned()).filter(|id| !id.is_empty()),
    }
}

pub fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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

/// Of `12345/tcp`.
fn private_port(port: &str) -> Option<(u16, &str)> {
    let (number, protocol) = port.split_once('/')?;
    let is_known = ["tcp", "udp", "sctp"].contains(&protocol);
    Some((number.parse().ok()?, protocol)).filter(|_| is_known)
}

fn listed_ports(ports: &BTreeMap<String, Option<Vec<PortBinding>>>) -> Vec<Port> {
    let mut listed = Vec::new();
    for (port, bindings) in ports {
        let Some((private_port, protocol)) = private_port(port) else {
            continue;
        };
        let at = |binding: Option<&PortBinding>| Port {
            ip: binding
                .map(|binding| binding.host_ip.clone())
                .filter(|ip| !ip.is_empty()),
            private_port,
            public_port: binding.and_then(|binding| binding.host_port.parse().ok()),
            protocol: protocol.to_owned(),
        };
        match bindings.as_deref() {
            None | Some([]) => listed.push(at(None)),
            Some(bindings) => listed.extend(bindings.iter().map(|binding| at(Some(binding)))),
        }
    }
    listed
}

// What is answered.

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected<'a> {
    id: &'a str,
    name: String,
    state: &'a State,
    config: Config<'a>,
    host_config: HostConfig,
    network_settings: Settings,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    running: bool,
    paused: bool,
    restarting: bool,
    dead: bool,
    started_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    /// The erlang port, also while it is not published because nothing runs: what stands there then is a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<BTreeMap<&'a str, Empty>>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    networks: BTreeMap<String, Network>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PortBinding {
    host_ip: String,
    host_port: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Network {
    #[serde(rename = "NetworkID")]
    id: String,
    #[serde(rename = "IPAddress")]
    ipv4: String,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: String,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    names: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    labels: BTreeMap<String, String>,
    state: String,
    host_config: HostConfig,
    ports: Vec<Port>,
    network_settings: Networks,
}

#[derive(Serialize)]
pub struct ListedNow<'a> {
    #[serde(flatten)]
    listed: &'a Listed,
    #[serde(rename = "Status")]
    status: String,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    networks: BTreeMap<String, Network>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: String,
}
