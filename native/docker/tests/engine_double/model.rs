//! The state of an engine: its containers, its networks and its event subscribers.
//!
//! One lock protects everything. An event is sent after its change is made, and all subscribers get the events in the
//! same order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{json, Value};
use tokio::sync::mpsc;

use super::event::{Clock, Event, Filters};
use super::misbehaviour::Misbehaviour;

/// The port that [`NewContainer::publish`] publishes.
pub const ERLANG_PORT: u16 = 12345;

/// The range of host ports that Docker chooses from begins here.
const FIRST_HOST_PORT: u16 = 32768;
const LAST_HOST_PORT: u16 = 60999;

/// Creation and start time of every container. Nothing depends on it.
const BEGINNING: &str = "2024-02-29T12:00:00.123456789Z";

/// Number of past events kept for `since`, the same as in moby (`eventsLimit` in its `daemon/events`).
const HISTORY: usize = 256;

/// The settings of a new container.
#[derive(Clone, Debug)]
pub struct NewContainer {
    pub name: String,
    pub image: String,
    pub network_mode: String,
    /// The networks to connect the container to. Missing networks are made.
    pub networks: Vec<String>,
    pub ports: Vec<Port>,
    pub labels: BTreeMap<String, String>,
}

/// A port of a container.
#[derive(Clone, Debug)]
pub struct Port {
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Addresses and ports on the host. `None` if the port is exposed but not published, which is `null` in JSON.
    pub bindings: Option<Vec<(String, u16)>>,
}

impl NewContainer {
    /// A container on the network `bridge`, without published ports.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "erlang:25".to_owned(),
            network_mode: "bridge".to_owned(),
            networks: vec!["bridge".to_owned()],
            ports: vec![],
            labels: BTreeMap::new(),
        }
    }

    /// Publishes the distribution port on all of the host's addresses, as `-p 49153:12345` does.
    pub fn publish(self, host_port: u16) -> Self {
        self.binding("0.0.0.0", host_port).binding("::", host_port)
    }

    /// Publishes the distribution port on one address of the host.
    pub fn binding(self, host_ip: &str, host_port: u16) -> Self {
        self.port(ERLANG_PORT, "tcp", host_ip, host_port)
    }

    /// Publishes any port on one address of the host.
    pub fn port(mut self, container_port: u16, protocol: &str, host_ip: &str, host_port: u16) -> Self {
        let binding = (host_ip.to_owned(), host_port);
        let same = |port: &&mut Port| port.container_port == container_port && port.protocol == protocol;
        match self.ports.iter_mut().find(same) {
            Some(port) => port.bindings.get_or_insert_default().push(binding),
            None => self.ports.push(Port {
                container_port,
                protocol: protocol.to_owned(),
                bindings: Some(vec![binding]),
            }),
        }
        self
    }

    /// Exposes a port without publishing it.
    pub fn expose(mut self, container_port: u16, protocol: &str) -> Self {
        self.ports.push(Port {
            container_port,
            protocol: protocol.to_owned(),
            bindings: None,
        });
        self
    }

    /// Uses a user-defined network instead of `bridge`.
    pub fn network(mut self, network: &str) -> Self {
        self.network_mode = network.to_owned();
        self.networks = vec![network.to_owned()];
        self
    }

    /// Uses the host's network, where Docker publishes no ports.
    pub fn host_network(self) -> Self {
        self.network("host")
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

struct Container {
    id: String,
    new: NewContainer,
    /// The networks that the container is connected to. While it runs, it has an address in each.
    endpoints: BTreeMap<String, Option<Address>>,
    running: bool,
    /// A number that grows with each new container. Lists begin with the highest.
    number: u64,
}

/// The low 16 bits of a container's address in a network.
#[derive(Clone, Copy)]
struct Address(u16);

struct Network {
    id: String,
    /// `bridge` or `host`.
    driver: &'static str,
    /// The number of the subnet: 172.17.0.0/16 for 0, and so on.
    subnet: u8,
    ipv6: bool,
    used: HashSet<u16>,
    next: u16,
}

/// A client that reads `/events`.
struct Subscriber {
    filters: Filters,
    items: mpsc::UnboundedSender<Item>,
}

/// A message to a subscriber's stream.
pub enum Item {
    Event(Arc<Event>),
    /// Starts this misbehaviour in the stream, or ends it.
    Become(Option<Misbehaviour>),
}

/// The reason why an engine finds no container.
#[derive(Debug, PartialEq, Eq)]
pub enum NotFound {
    None,
    Several,
}

#[derive(Default)]
pub struct Model {
    containers: BTreeMap<String, Container>,
    ids: HashMap<String, String>,
    networks: BTreeMap<String, Network>,
    subscribers: Vec<Subscriber>,
    history: VecDeque<Arc<Event>>,
    clock: Clock,
    random: Random,
    made: u64,
    host_port: u16,
}

impl Model {
    // Changes to containers

    /// `docker create`.
    pub fn create(&mut self, new: NewContainer) -> String {
        assert!(!self.ids.contains_key(&new.name), "the name {} is in use", new.name);
        let id = self.random.id();
        for network in &new.networks {
            self.network(network);
        }
        let endpoints = new.networks.iter().map(|network| (network.clone(), None)).collect();
        self.made += 1;
        self.ids.insert(new.name.clone(), id.clone());
        let container = Container {
            id: id.clone(),
            new,
            endpoints,
            running: false,
            number: self.made,
        };
        self.containers.insert(id.clone(), container);
        self.tell(&id, "create", &[]);
        id
    }

    /// `docker start`. The distribution port gets this host port, or keeps its old one.
    pub fn start(&mut self, id: &str, host_port: Option<u16>) {
        if let Some(host_port) = host_port {
            self.move_port(id, host_port);
        }
        if self.container(id).running {
            return;
        }
        let networks = self.networks_of(id);
        for network in &networks {
            self.attach(id, network);
        }
        self.container(id).running = true;
        for network in &networks {
            self.tell_network(id, network, "connect");
        }
        self.tell(id, "start", &[]);
    }

    /// `docker stop`.
    pub fn stop(&mut self, id: &str) {
        if self.container(id).running {
            self.tell(id, "kill", &[("signal", "15")]);
            self.die(id, "143");
            self.tell(id, "stop", &[]);
        }
    }

    /// `docker restart`.
    pub fn restart(&mut self, id: &str, host_port: Option<u16>) {
        self.stop(id);
        self.start(id, host_port);
        self.tell(id, "restart", &[]);
    }

    /// The container's process exits.
    pub fn die(&mut self, id: &str, exit_code: &str) {
        if !self.container(id).running {
            return;
        }
        self.container(id).running = false;
        let networks = self.networks_of(id);
        for network in &networks {
            self.detach(id, network);
        }
        self.tell(id, "die", &[("exitCode", exit_code)]);
        for network in &networks {
            self.tell_network(id, network, "disconnect");
        }
    }

    /// `docker kill --signal HUP`: the process gets a signal and survives.
    pub fn signal(&mut self, id: &str) {
        self.tell(id, "kill", &[("signal", "1")]);
    }

    /// `docker rename`.
    pub fn rename(&mut self, id: &str, name: &str) {
        assert!(!self.ids.contains_key(name), "the name {name} is in use");
        let old = std::mem::replace(&mut self.container(id).new.name, name.to_owned());
        self.ids.remove(&old);
        self.ids.insert(name.to_owned(), id.to_owned());
        self.tell(id, "rename", &[("oldName", &format!("/{old}"))]);
    }

    /// `docker rm --force`.
    pub fn remove(&mut self, id: &str) {
        if self.container(id).running {
            self.tell(id, "kill", &[("signal", "9")]);
            self.die(id, "137");
        }
        let event = self.event(id, "destroy", &[]);
        let container = self.containers.remove(id).expect("it was found");
        self.ids.remove(&container.new.name);
        self.send(event);
    }

    /// `docker network connect`. A container that was on no network gets its ports published again, on other host
    /// ports.
    pub fn connect(&mut self, id: &str, network: &str) {
        self.network(network);
        let container = self.container(id);
        if container.endpoints.contains_key(network) {
            return;
        }
        let (running, alone) = (container.running, container.endpoints.is_empty());
        container.endpoints.insert(network.to_owned(), None);
        if running {
            self.attach(id, network);
            if alone {
                let host_port = self.free_host_port();
                self.move_port(id, host_port);
            }
            self.tell_network(id, network, "connect");
        }
    }

    /// `docker network disconnect`. The ports of a container on no network are not published.
    pub fn disconnect(&mut self, id: &str, network: &str) {
        if self.container(id).endpoints.contains_key(network) {
            self.detach(id, network);
            let container = self.container(id);
            container.endpoints.remove(network);
            if container.running {
                self.tell_network(id, network, "disconnect");
            }
        }
    }

    /// Possible effects of a restart of the engine: every running container gets another address, and on request
    /// another host port. The engine sends no events for these changes.
    pub fn restart_engine(&mut self, new_ports: bool) {
        self.subscribers.clear();
        self.history.clear();
        let running: Vec<_> = self
            .containers
            .values()
            .filter(|c| c.running)
            .map(|c| c.id.clone())
            .collect();
        for id in running {
            for network in self.networks_of(&id) {
                self.detach(&id, &network);
                self.attach(&id, &network);
            }
            if new_ports {
                let host_port = self.free_host_port();
                self.move_port(&id, host_port);
            }
        }
    }

    /// Makes a network, with or without IPv6.
    pub fn add_network(&mut self, name: &str, ipv6: bool) {
        self.network(name).ipv6 = ipv6;
    }

    /// A host port that no other container has had lately.
    pub fn free_host_port(&mut self) -> u16 {
        self.host_port = match self.host_port {
            FIRST_HOST_PORT..LAST_HOST_PORT => self.host_port + 1,
            _ => FIRST_HOST_PORT,
        };
        self.host_port
    }

    // Queries

    /// Finds a container as an engine does: by full ID, exact name, or unique prefix of an ID.
    pub fn find(&self, text: &str) -> Result<&str, NotFound> {
        if let Some((id, _)) = self.containers.get_key_value(text) {
            return Ok(id);
        }
        if let Some(id) = self.ids.get(text.strip_prefix('/').unwrap_or(text)) {
            return Ok(id);
        }
        let from = (Bound::Included(text), Bound::Unbounded);
        let mut ids = self.containers.range::<str, _>(from).map(|(id, _)| id);
        let mut ids = ids.by_ref().take_while(|id| !text.is_empty() && id.starts_with(text));
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(NotFound::Several),
            (None, _) => Err(NotFound::None),
        }
    }

    /// `GET /containers/{id}/json`.
    pub fn inspect(&self, id: &str) -> Value {
        let container = &self.containers[id];
        let (new, running) = (&container.new, container.running);
        let (port_bindings, exposed): (BTreeMap<_, _>, BTreeMap<_, _>) = new
            .ports
            .iter()
            .map(|port| ((port.key(), port.json()), (port.key(), json!({}))))
            .unzip();
        json!({
            "Id": id,
            "Created": BEGINNING,
            "Path": "sh",
            "Args": ["-c", "exec erl"],
            "State": {
                "Status": if running { "running" } else { "exited" }, "Running": running, "Paused": false,
                "Restarting": false, "OOMKilled": false, "Dead": false, "Pid": if running { 4711 } else { 0 },
                "ExitCode": 0, "Error": "", "StartedAt": BEGINNING, "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "Image": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "Name": format!("/{}", new.name),
            "RestartCount": 0,
            "Driver": "overlay2",
            "HostConfig": {"NetworkMode": new.network_mode, "PortBindings": port_bindings, "AutoRemove": false},
            "Mounts": [],
            "Config": {
                "Hostname": &id[..12], "Image": new.image, "Labels": new.labels, "ExposedPorts": exposed,
                "Env": ["PATH=/usr/bin:/bin"],
            },
            "NetworkSettings": {
                "Bridge": "", "SandboxID": if running { id } else { "" },
                "Ports": self.published(container),
                "Networks": self.endpoints(container),
            },
        })
    }

    /// `GET /containers/json`: the running containers, or all containers. The newest is first.
    pub fn list(&self, all: bool) -> Value {
        let mut containers: Vec<_> = self.containers.values().filter(|c| all || c.running).collect();
        containers.sort_by_key(|container| std::cmp::Reverse(container.number));
        containers.into_iter().map(|container| self.listed(container)).collect()
    }

    fn listed(&self, container: &Container) -> Value {
        let (new, running) = (&container.new, container.running);
        let mut ports = vec![];
        if self.publishes(container) {
            for port in &new.ports {
                match &port.bindings {
                    None => ports.push(json!({"PrivatePort": port.container_port, "Type": port.protocol})),
                    Some(bindings) => ports.extend(bindings.iter().map(|(ip, public)| {
                        json!({"IP": ip, "PrivatePort": port.container_port, "PublicPort": public,
                               "Type": port.protocol})
                    })),
                }
            }
        }
        json!({
            "Id": container.id,
            "Names": [format!("/{}", new.name)],
            "Image": new.image,
            "ImageID": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "Command": "sh -c 'exec erl'",
            "Created": 1_700_000_000 + container.number,
            "Ports": ports,
            "Labels": new.labels,
            "State": if running { "running" } else { "exited" },
            "Status": if running { "Up 3 minutes" } else { "Exited (0) 3 minutes ago" },
            "HostConfig": {"NetworkMode": new.network_mode},
            "NetworkSettings": {"Networks": self.endpoints(container)},
            "Mounts": [],
        })
    }

    /// `GET /events`: first the past events from `since` (in seconds) on, then all new events.
    pub fn subscribe(&mut self, filters: Filters, since: Option<u64>) -> mpsc::UnboundedReceiver<Item> {
        let (items, received) = mpsc::unbounded_channel();
        let wanted = |event: &&Arc<Event>| since.is_some_and(|since| event.time() >= since) && filters.pass(event);
        for event in self.history.iter().filter(wanted) {
            let _ = items.send(Item::Event(Arc::clone(event)));
        }
        self.subscribers.push(Subscriber { filters, items });
        received
    }

    /// Starts this misbehaviour in all open event streams, or ends it.
    pub fn streams_become(&mut self, misbehaviour: Option<Misbehaviour>) {
        self.subscribers
            .retain(|subscriber| subscriber.items.send(Item::Become(misbehaviour)).is_ok());
    }

    /// The last events, one per line.
    pub fn history(&self) -> String {
        self.history.iter().map(|event| format!("{}\n", event.line)).collect()
    }

    // Internals

    fn container(&mut self, id: &str) -> &mut Container {
        self.containers
            .get_mut(id)
            .unwrap_or_else(|| panic!("no container {id}"))
    }

    fn networks_of(&self, id: &str) -> Vec<String> {
        self.containers[id].endpoints.keys().cloned().collect()
    }

    fn network(&mut self, name: &str) -> &mut Network {
        let subnet = u8::try_from(self.networks.len()).expect("few networks");
        let random = &mut self.random;
        self.networks.entry(name.to_owned()).or_insert_with(|| Network {
            id: random.id(),
            driver: if name == "host" { "host" } else { "bridge" },
            subnet,
            ipv6: false,
            used: HashSet::new(),
            next: 1,
        })
    }

    fn attach(&mut self, id: &str, network: &str) {
        let address = self.network(network).allot();
        self.container(id).endpoints.insert(network.to_owned(), Some(address));
    }

    fn detach(&mut self, id: &str, network: &str) {
        if let Some(Some(Address(address))) = self.container(id).endpoints.insert(network.to_owned(), None) {
            self.network(network).used.remove(&address);
        }
    }

    /// Moves all bindings of the distribution port to this host port.
    fn move_port(&mut self, id: &str, host_port: u16) {
        let ports = self.container(id).new.ports.iter_mut();
        for port in ports.filter(|port| port.container_port == ERLANG_PORT) {
            for (_, public) in port.bindings.iter_mut().flatten() {
                *public = host_port;
            }
        }
    }

    fn publishes(&self, container: &Container) -> bool {
        container.running && container.endpoints.keys().any(|network| network != "host")
    }

    fn published(&self, container: &Container) -> BTreeMap<String, Value> {
        let ports = container.new.ports.iter().filter(|_| self.publishes(container));
        ports.map(|port| (port.key(), port.json())).collect()
    }

    fn endpoints(&self, container: &Container) -> BTreeMap<String, Value> {
        let endpoints = container.endpoints.iter();
        endpoints
            .map(|(name, address)| (name.clone(), self.networks[name].endpoint(&container.id, *address)))
            .collect()
    }

    // Events

    fn event(&mut self, id: &str, action: &str, more: &[(&str, &str)]) -> Event {
        let new = &self.containers[id].new;
        let mut attributes = new.labels.clone();
        attributes.extend([
            ("image".to_owned(), new.image.clone()),
            ("name".to_owned(), new.name.clone()),
        ]);
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let image = Some(new.image.clone());
        Event::new("container", action, id, &attributes, image.as_deref(), &mut self.clock)
    }

    fn tell(&mut self, id: &str, action: &str, more: &[(&str, &str)]) {
        let event = self.event(id, action, more);
        self.send(event);
    }

    fn tell_network(&mut self, id: &str, network: &str, action: &str) {
        let known = &self.networks[network];
        let attributes = [("container", id), ("name", network), ("type", known.driver)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let event = Event::new("network", action, &known.id, &attributes.into(), None, &mut self.clock);
        self.send(event);
    }

    fn send(&mut self, event: Event) {
        let event = Arc::new(event);
        self.history.push_back(Arc::clone(&event));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.subscribers.retain(|subscriber| {
            if subscriber.filters.pass(&event) {
                subscriber.items.send(Item::Event(Arc::clone(&event))).is_ok()
            } else {
                !subscriber.items.is_closed()
            }
        });
    }
}

impl Port {
    fn key(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }

    fn json(&self) -> Value {
        let binding = |(ip, port): &(String, u16)| json!({"HostIp": ip, "HostPort": port.to_string()});
        self.bindings
            .as_ref()
            .map(|bindings| bindings.iter().map(binding).collect::<Value>())
            .into()
    }
}

impl Network {
    /// Allots a free address. A returned address is not allotted again soon.
    fn allot(&mut self) -> Address {
        loop {
            // Skips the subnet's own address, its gateway and its broadcast address.
            self.next = if self.next >= 0xfffe { 2 } else { self.next + 1 };
            if self.used.insert(self.next) {
                return Address(self.next);
            }
        }
    }

    fn endpoint(&self, container: &str, address: Option<Address>) -> Value {
        let address = address.filter(|_| self.driver != "host");
        let ip = |Address(n): Address| format!("172.{}.{}.{}", 17 + u16::from(self.subnet), n >> 8, n & 0xff);
        let ip6 = |Address(n): Address| format!("fd00:{:x}::{n:x}", self.subnet);
        let address6 = address.filter(|_| self.ipv6);
        json!({
            "IPAMConfig": null,
            "Links": null,
            "Aliases": [&container[..12]],
            "NetworkID": self.id,
            "EndpointID": if address.is_some() { container } else { "" },
            "Gateway": address.map(|_| ip(Address(1))).unwrap_or_default(),
            "IPAddress": address.map(ip).unwrap_or_default(),
            "IPPrefixLen": if address.is_some() { 16 } else { 0 },
            "IPv6Gateway": address6.map(|_| ip6(Address(1))).unwrap_or_default(),
            "GlobalIPv6Address": address6.map(ip6).unwrap_or_default(),
            "GlobalIPv6PrefixLen": if address6.is_some() { 64 } else { 0 },
            "MacAddress": address.map(|Address(n)| format!("02:42:ac:11:{:02x}:{:02x}", n >> 8, n & 0xff)).unwrap_or_default(),
            "DriverOpts": null,
        })
    }
}

/// SplitMix64, always with the same seed, so that every run produces the same IDs.
#[derive(Default)]
struct Random(u64);

impl Random {
    fn id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
