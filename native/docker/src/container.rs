//! What an engine says about containers, and what is kept of it.
//!
//! The two endpoints that are asked say the same thing in two shapes. Both become [`Binding`]s here, so nothing else
//! has to know. What Docker and Podman are seen to leave out or to send as `null` is taken as absent; what contradicts
//! the API's reference is an error.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

use crate::labels::Labels;
use crate::node_name::{is_id, ContainerRef};

/// A port of a container that is published on its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The host's address that the port is published on; `None` is a wildcard of every family, which is how Podman's
    /// empty or missing `HostIp` is to be read.
    pub host_ip: Option<IpAddr>,
    /// The port on the host, never 0.
    pub host_port: u16,
    /// The port in the container.
    pub container_port: u16,
    /// Whether this is a TCP port; the others are UDP and SCTP.
    pub tcp: bool,
}

/// A container's place in one Docker network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The network's ID; its name where the engine gives no ID.
    pub network: String,
    /// The container's IPv4 address there.
    pub ipv4: Option<Ipv4Addr>,
    /// The container's IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
}

/// One container, as far as it matters for reaching it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The full ID, 64 hexadecimal digits, if the engine keeps to its reference.
    pub id: String,
    /// The name, without the `/` that Docker puts before it.
    pub name: String,
    /// Whether its process runs. A container that waits for its restart does not.
    pub running: bool,
    /// Whether it uses its host's network, so that it has no ports of its own.
    pub host_network: bool,
    /// Its published ports.
    pub bindings: Vec<Binding>,
    /// The networks that it has an address in.
    pub attachments: Vec<Attachment>,
    /// Its labels: of eid's own, `eid.…`, and then of the others, the shortest first, those that fit in 2 kB.
    pub labels: Labels,
}

impl Container {
    /// Whether this is the container that `asked` means. An engine looks a text up as full ID, as name and then as a
    /// prefix of an ID of any length (`GetContainer` in moby's `daemon/container.go`), so it finds `deadbeef…` for a
    /// container name `dead` that does not exist. A prefix counts from the 12 digits that Docker itself shows.
    pub fn is_meant_by(&self, asked: &ContainerRef) -> bool {
        self.name == asked.as_str() || (asked.is_id() && self.id.starts_with(asked.as_str()))
    }

    /// The first 12 digits of the ID, as `docker ps` shows it; `None` if what the engine sent is no ID.
    pub fn short_id(&self) -> Option<&str> {
        is_id(&self.id).then(|| &self.id[..12])
    }

    /// What its node is called, if its label `eid.node` says so.
    pub fn node(&self) -> Option<&str> {
        self.labels.get("eid.node")
    }

    /// Whether both are reached in the same way. Labels play no part: they never change.
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

    /// Which container it is, without how it is reached.
    pub(crate) fn without_addresses(self) -> Self {
        Self {
            bindings: Vec::new(),
            attachments: Vec::new(),
            ..self
        }
    }

    /// Whether there is anything that could be dialled. A list that shows nothing need not be right: Podman's has no
    /// network mode.
    pub(crate) fn is_reachable(&self) -> bool {
        self.host_network || !self.bindings.is_empty() || !self.attachments.is_empty()
    }

    /// Gives back the memory that reading it took and that it does not need.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.bindings.shrink_to_fit();
        self.attachments.shrink_to_fit();
    }

    /// The bytes that this takes in memory.
    pub(crate) fn size(&self) -> usize {
        let texts = self.attachments.iter().map(|a| a.network.capacity()).sum::<usize>();
        size_of::<Self>()
            + self.id.capacity()
            + self.name.capacity()
            + self.bindings.capacity() * size_of::<Binding>()
            + self.attachments.capacity() * size_of::<Attachment>()
            + texts
            + self.labels.size()
    }
}

/// What `GET /containers/{id}/json` answers.
#[derive(Deserialize)]
#[serde(from = "wire::Inspected")]
pub(crate) struct Inspected(pub(crate) Container);

/// An element of what `GET /containers/json` answers. Without further arguments that list is of the running ones.
#[derive(Deserialize)]
#[serde(from = "wire::Listed")]
pub(crate) struct Listed(pub(crate) Container);

/// The JSON objects, field by field as the Docker Engine API's reference names them (1.24 to 1.52).
mod wire {
    use super::*;

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
        /// `"12345/tcp"` to its bindings; `null` where the port is exposed but not published.
        ports: Option<HashMap<String, Option<Vec<PortBinding>>>>,
        networks: Option<Networks>,
    }

    /// By name. A list has nothing but this of the settings.
    type Networks = HashMap<String, Option<Network>>;

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ListedSettings {
        networks: Option<Networks>,
    }

    /// What is no address is skipped, like odd ports below.
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

    /// Text fields that may hold anything: what is no port or address is skipped, since one odd binding should not hide
    /// the others.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct PortBinding {
        #[serde(default)]
        host_ip: Value,
        #[serde(default)]
        host_port: Value,
    }

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

    impl From<Inspected> for super::Inspected {
        fn from(inspected: Inspected) -> Self {
            let state = inspected.state.unwrap_or_default();
            let settings = inspected.network_settings.unwrap_or_default();
            let ports = settings.ports.unwrap_or_default();
            Self(Container {
                id: inspected.id,
                name: bare_name(inspected.name.unwrap_or_default()),
                // While Docker waits for the next try of a restart policy it says "running" as well (`SetRestarting` in
                // moby's `container/state.go`).
                running: state.running == Some(true) && state.restarting != Some(true),
                host_network: inspected.host_config.unwrap_or_default().is_host(),
                bindings: sorted(
                    ports
                        .iter()
                        .filter_map(|(port, bindings)| Some((container_port(port)?, bindings.as_ref()?)))
                        .flat_map(|(port, bindings)| bindings.iter().filter_map(move |binding| binding.at(port))),
                ),
                attachments: attachments(settings.networks),
                labels: Labels::read(&inspected.config.unwrap_or_default().labels),
            })
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

    impl From<Listed> for super::Listed {
        fn from(listed: Listed) -> Self {
            let ports = listed.ports.unwrap_or_default();
            let names = listed.names.unwrap_or_default().into_iter().map(bare_name);
            Self(Container {
                id: listed.id,
                // `web/db` is what the container `web` calls it by one of Docker's former links.
                name: names.into_iter().find(|name| !name.contains('/')).unwrap_or_default(),
                // One that has no state is there because it runs.
                running: matches!(listed.state.as_deref(), None | Some("running" | "paused")),
                host_network: listed.host_config.unwrap_or_default().is_host(),
                bindings: sorted(ports.iter().filter_map(Port::binding)),
                attachments: attachments(listed.network_settings.unwrap_or_default().networks),
                labels: Labels::read(&listed.labels),
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

    fn attachments(networks: Option<Networks>) -> Vec<Attachment> {
        let networks = networks.unwrap_or_default().into_iter();
        sorted(networks.filter_map(|(name, network)| network?.attachment(name)))
    }

    /// The same container should always look the same: maps have no order, and engine 26 sorts bindings while 28 keeps
    /// the order of the command line.
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

    /// Docker's names begin with a `/`, which is a rest of its former links.
    fn bare_name(name: String) -> String {
        name.strip_prefix('/').map(str::to_owned).unwrap_or(name)
    }

    /// `"12345/tcp"`; TCP is what a port without a protocol means.
    fn container_port(key: &str) -> Option<(u16, bool)> {
        let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        Some((port.parse().ok()?, protocol == "tcp"))
    }

    /// `None` for what is no address, `Some(None)` for one that is left out.
    fn host_ip(value: &Value) -> Option<Option<IpAddr>> {
        match value {
            Value::Null => Some(None),
            Value::String(text) if text.is_empty() => Some(None),
            Value::String(text) => text.parse().ok().map(Some),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(json: &str) -> Container {
        let Inspected(container) = serde_json::from_str(json).unwrap();
        container
    }

    fn ports(json: &str) -> Vec<Binding> {
        inspected(&format!(r#"{{"Id":"a","NetworkSettings":{{"Ports":{json}}}}}"#)).bindings
    }

    fn binding(host_ip: Option<&str>, host_port: u16, container_port: u16, tcp: bool) -> Binding {
        Binding {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port,
            tcp,
        }
    }

    fn attachment(network: &str, ipv4: &str, ipv6: Option<&str>) -> Attachment {
        Attachment {
            network: network.to_owned(),
            ipv4: ipv4.parse().ok(),
            ipv6: ipv6.map(|ip| ip.parse().unwrap()),
        }
    }

    #[test]
    fn an_inspected_container() {
        let container = inspected(
            r#"{"Id":"0123","Name":"/db","State":{"Running":true,"Restarting":false,"Pid":7},"NetworkSettings":{
                "Ports":{"12345/tcp":[{"HostIp":"192.0.2.1","HostPort":"49153"}]},"IPAddress":"","Networks":{
                "shop":{"NetworkID":"77","IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2","Gateway":"172.18.0.1"},
                "bridge":{"NetworkID":"12","IPAddress":"172.17.0.2","GlobalIPv6Address":""}}},
                "HostConfig":{"NetworkMode":"default"},"Mounts":[],"Config":{"Labels":{"eid.node":"db@h","n":7,"a":"1"}}}"#,
        );
        assert_eq!(
            container,
            Container {
                id: "0123".to_owned(),
                name: "db".to_owned(),
                running: true,
                host_network: false,
                bindings: vec![binding(Some("192.0.2.1"), 49153, 12345, true)],
                attachments: vec![
                    attachment("12", "172.17.0.2", None),
                    attachment("77", "172.18.0.2", Some("fd00::2"))
                ],
                labels: [("a", "1"), ("eid.node", "db@h")].into_iter().collect(),
            }
        );
    }

    #[test]
    fn networks() {
        let of = |json: &str| {
            let container = inspected(&format!(
                r#"{{"Id":"a","HostConfig":{{"NetworkMode":"host"}},"NetworkSettings":{{"Networks":{json}}}}}"#
            ));
            assert!(container.host_network);
            container.attachments
        };
        assert_eq!(of("null"), []);
        // an engine that gives no ID, and what a stopped container, the host's network and no engine at all have
        assert_eq!(
            of(
                r#"{"podman":{"IPAddress":"10.88.0.2"},"none":{"NetworkID":"5","IPAddress":""},"x":null,
                   "y":{"IPAddress":7,"GlobalIPv6Address":"fd00::/64"}}"#
            ),
            [attachment("podman", "10.88.0.2", None)]
        );
    }

    #[test]
    fn what_may_be_left_out() {
        for json in [
            r#"{"Id":"a"}"#,
            r#"{"Id":"a","Name":null,"State":null,"NetworkSettings":null}"#,
            r#"{"Id":"a","State":{"Running":null},"NetworkSettings":{"Ports":null}}"#,
            r#"{"Id":"a","State":{},"NetworkSettings":{"Ports":{"1/tcp":null,"2/tcp":[]}}}"#,
            r#"{"Id":"a","Config":null}"#,
            r#"{"Id":"a","Config":{"Labels":null}}"#,
            r#"{"Id":"a","Config":{"Labels":["eid.node"]}}"#,
        ] {
            let container = inspected(json);
            assert!(!container.running && container.bindings.is_empty(), "{json}");
            assert!(container.labels.size() == 0, "{json}");
        }
    }

    #[test]
    fn what_may_not() {
        for json in [
            "null",
            "[]",
            "{}",
            r#"{"Id":null}"#,
            r#"{"Id":1}"#,
            r#"{"Id":"a","NetworkSettings":[1]}"#,
            r#"{"Id":"a","NetworkSettings":"x"}"#,
            r#"{"Id":"a","NetworkSettings":{"Ports":[1]}}"#,
            r#"{"Id":"a","NetworkSettings":{"Ports":{"1/tcp":"x"}}}"#,
        ] {
            assert!(serde_json::from_str::<Inspected>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn running() {
        let running = |state: &str| inspected(&format!(r#"{{"Id":"a","State":{state}}}"#)).running;
        assert!(running(r#"{"Running":true}"#));
        assert!(!running(r#"{"Running":false}"#));
        assert!(!running(r#"{"Running":true,"Restarting":true}"#));
    }

    #[test]
    fn odd_bindings_are_skipped() {
        let good = vec![binding(Some("0.0.0.0"), 5, 1, true)];
        for odd in [
            r#"{"HostIp":"0.0.0.0","HostPort":""}"#,
            r#"{"HostIp":"0.0.0.0","HostPort":"0"}"#,
            r#"{"HostIp":"0.0.0.0","HostPort":"65536"}"#,
            r#"{"HostIp":"0.0.0.0","HostPort":"x"}"#,
            r#"{"HostIp":"0.0.0.0","HostPort":null}"#,
            r#"{"HostIp":"0.0.0.0"}"#,
            r#"{"HostIp":"localhost","HostPort":"6"}"#,
            r#"{"HostIp":7,"HostPort":"6"}"#,
        ] {
            let json = format!(r#"{{"1/tcp":[{odd},{{"HostIp":"0.0.0.0","HostPort":"5"}}],"x/tcp":[{odd}]}}"#);
            assert_eq!(ports(&json), good, "{odd}");
        }
    }

    #[test]
    fn addresses_and_protocols() {
        let some = |json| ports(json).pop();
        assert_eq!(
            some(r#"{"1/tcp":[{"HostIp":"::","HostPort":"5"}]}"#),
            Some(binding(Some("::"), 5, 1, true))
        );
        assert_eq!(
            some(r#"{"1/tcp":[{"HostIp":"","HostPort":"5"}]}"#),
            Some(binding(None, 5, 1, true))
        );
        assert_eq!(
            some(r#"{"1/udp":[{"HostPort":"5"}]}"#),
            Some(binding(None, 5, 1, false))
        );
        assert_eq!(some(r#"{"1":[{"HostPort":"5"}]}"#), Some(binding(None, 5, 1, true)));
    }

    #[test]
    fn a_list() {
        let id = "0123456789abcdef".repeat(4);
        let json = format!(
            r#"[{{"Id":"{id}","Names":["/web/db","/db"],"State":"running","Labels":{{"eid.node":"db@h"}},"HostConfig":{{"NetworkMode":"bridge"}},"Ports":[
                   {{"IP":"0.0.0.0","PrivatePort":12345,"PublicPort":49153,"Type":"tcp"}},
                   {{"IP":"","PrivatePort":53,"PublicPort":53,"Type":"udp"}},
                   {{"PrivatePort":80,"Type":"tcp"}},
                   {{"PrivatePort":81,"PublicPort":0,"Type":"tcp"}},
                   {{"PrivatePort":82,"PublicPort":"49154","Type":"tcp"}},
                   {{"PrivatePort":83,"PublicPort":65536,"Type":"tcp"}}],
                 "NetworkSettings":{{"Networks":{{"bridge":{{"NetworkID":"12","IPAddress":"172.17.0.2"}}}}}}}},
                {{"Id":"x","Names":null,"Ports":null,"State":"restarting","HostConfig":{{"NetworkMode":"host"}}}},
                {{"Id":""}}]"#
        );
        let list: Vec<Listed> = serde_json::from_str(&json).unwrap();
        let list: Vec<Container> = list.into_iter().map(|Listed(container)| container).collect();
        assert_eq!(
            list[0],
            Container {
                id: id.clone(),
                name: "db".to_owned(),
                running: true,
                host_network: false,
                bindings: vec![
                    binding(None, 53, 53, false),
                    binding(Some("0.0.0.0"), 49153, 12345, true)
                ],
                attachments: vec![attachment("12", "172.17.0.2", None)],
                labels: [("eid.node", "db@h")].into_iter().collect(),
            }
        );
        assert_eq!((list[0].node(), list[1].node()), (Some("db@h"), None));
        assert_eq!(list[0].short_id(), Some("0123456789ab"));
        assert!(!list[1].running && list[1].host_network && list[1].name.is_empty());
        assert_eq!((list[1].short_id(), list[2].short_id()), (None, None));
    }

    #[test]
    fn whom_a_text_means() {
        let id = "dead0123beef".to_owned() + &"0".repeat(52);
        let container = inspected(&format!(r#"{{"Id":"{id}","Name":"/db"}}"#));
        let means = |text: &str| {
            let name = crate::NodeName::parse(format!("{text}@h")).unwrap();
            container.is_meant_by(name.container())
        };
        assert!(means("db") && means(&id) && means(&id[..12]) && means(&id[..40]));
        assert!(!means("dead") && !means("d") && !means("dbx") && !means("dead0123bee") && !means("dead0123beee"));
    }
}
