//! A test double of a Docker engine, which can fail in ways that a real engine cannot be made to fail.
//!
//! An [`EngineDouble`] has containers. It answers as a Docker engine does until a test makes it misbehave:
//!
//! ```ignore
//! let engine = EngineDouble::start();
//! let id = engine.add("db", 49153);
//! engine.misbehave(Misbehaviour::Drip, Where::Inspect, Times::Next(2));
//! engine.restart_at(&id, 49154);
//! engine.until(|notes| notes.inspects == 3).await;
//! ```
//!
//! A [`ScriptedEngine`] has no containers. A closure in the test decides every byte of its answers.
//!
//! Each engine has its own loopback address, so that no other program gets its port while the engine is down. For tests
//! in other languages, `program.rs` runs an engine double as a program.

// Each test file uses only some of these items.
#![allow(dead_code, unused_imports)]

mod answer;
mod event;
mod http;
mod misbehaviour;
mod model;
mod notes;
mod reply;
mod scripted;
mod service;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use eid_docker::{Endpoint, Engine, Limits};

pub use misbehaviour::{Misbehaviour, Times, Where};
pub use model::{NewContainer, NotFound, Port, ERLANG_PORT};
pub use notes::{Kind, Notes};
pub use reply::{chunk, response, Gate, Reply};
pub use scripted::ScriptedEngine;

use http::Server;
use notes::Notebook;
use service::Shared;

/// A listening engine with containers. Dropping it closes its port and all connections.
///
/// When a method returns, the change is made and its events are on their way. Methods find a container as the engine
/// does: by its ID, its name or a prefix of its ID. They panic if this finds no container.
pub struct EngineDouble {
    server: Server,
    service: Shared,
    notebook: Notebook,
    elsewhere: Elsewhere,
}

/// The host ports of the containers after a restart of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPorts {
    Kept,
    New,
}

impl EngineDouble {
    /// Starts an engine without containers that supports API versions 1.24 to 1.41.
    pub fn start() -> Self {
        Self::listen(own_address(), None).unwrap()
    }

    /// The same on this address, where port 0 means any free port, and on this unix socket if there is one.
    pub fn listen(address: SocketAddr, path: Option<PathBuf>) -> io::Result<Self> {
        let notebook = Notebook::new();
        let elsewhere = Elsewhere::new()?;
        let service = Arc::new(service::EngineService::new(notebook.clone(), elsewhere.address));
        let server = Server::start(
            address,
            path,
            notebook.clone(),
            Arc::clone(&service) as Arc<dyn http::Service>,
        )?;
        Ok(Self {
            server,
            service,
            notebook,
            elsewhere,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A new client of this engine.
    pub fn engine(&self, limits: Limits) -> Engine {
        engine_at(self.address(), limits)
    }

    /// Changes the supported API versions, as an upgrade does: `("1.44", "1.52")`.
    pub fn set_versions(&self, oldest: &str, newest: &str) {
        let version = |text| service::version(text).expect("a version such as 1.41");
        self.service.set_versions(version(oldest), version(newest));
    }

    // Containers

    /// `docker run -p HOST_PORT:12345`: starts a container on the network `bridge`. Returns its ID.
    pub fn add(&self, name: &str, host_port: u16) -> String {
        self.run(NewContainer::new(name).publish(host_port))
    }

    /// Starts this number of containers, each on a different host port. Their names are `name` and a number from 0.
    pub fn add_many(&self, count: usize, name: &str) -> Vec<String> {
        let add = |n| self.add(&format!("{name}{n}"), self.free_host_port());
        (0..count).map(add).collect()
    }

    /// A host port that the engine has not given to a container lately.
    pub fn free_host_port(&self) -> u16 {
        self.service.model().free_host_port()
    }

    /// `docker run`: events create, connect, start. Returns its ID.
    pub fn run(&self, new: NewContainer) -> String {
        let mut model = self.service.model();
        let id = model.create(new);
        model.start(&id, None);
        id
    }

    /// `docker create`. Returns its ID.
    pub fn create(&self, new: NewContainer) -> String {
        self.service.model().create(new)
    }

    /// `docker start`: events connect, start.
    pub fn start_container(&self, container: &str) {
        self.with(container, |model, id| model.start(id, None));
    }

    /// The same, with another host port for the distribution port.
    pub fn start_at(&self, container: &str, host_port: u16) {
        self.with(container, |model, id| model.start(id, Some(host_port)));
    }

    /// `docker stop`: events kill, die, disconnect, stop.
    pub fn stop(&self, container: &str) {
        self.with(container, |model, id| model.stop(id));
    }

    /// `docker restart`: events kill, die, disconnect, stop, connect, start, restart.
    pub fn restart(&self, container: &str) {
        self.with(container, |model, id| model.restart(id, None));
    }

    /// The same, with another host port for the distribution port.
    pub fn restart_at(&self, container: &str, host_port: u16) {
        self.with(container, |model, id| model.restart(id, Some(host_port)));
    }

    /// The container's process exits: events die, disconnect.
    pub fn die(&self, container: &str) {
        self.with(container, |model, id| model.die(id, "1"));
    }

    /// The container's process gets a signal and survives: event kill.
    pub fn signal(&self, container: &str) {
        self.with(container, |model, id| model.signal(id));
    }

    /// `docker rename`: event rename.
    pub fn rename(&self, container: &str, name: &str) {
        self.with(container, |model, id| model.rename(id, name));
    }

    /// `docker rm --force`: events kill, die, disconnect, destroy.
    pub fn remove(&self, container: &str) {
        self.with(container, |model, id| model.remove(id));
    }

    /// `docker network connect`: event connect. A container that was on no network gets its ports published again, on
    /// another host port.
    pub fn connect(&self, container: &str, network: &str) {
        self.with(container, |model, id| model.connect(id, network));
    }

    /// `docker network disconnect`: event disconnect. The ports of a container on no network are not published.
    pub fn disconnect(&self, container: &str, network: &str) {
        self.with(container, |model, id| model.disconnect(id, network));
    }

    /// `docker network create` for a network with IPv6 addresses. Other networks are made on first use.
    pub fn add_ipv6_network(&self, name: &str) {
        self.service.model().add_network(name, true);
    }

    /// The full ID of the container that the engine finds for this text.
    pub fn find(&self, text: &str) -> Result<String, NotFound> {
        self.service.model().find(text).map(str::to_owned)
    }

    /// The engine's description of this container, as an inspect returns it.
    pub fn inspected(&self, container: &str) -> serde_json::Value {
        let model = self.service.model();
        model.inspect(model.find(container).expect(container))
    }

    /// The engine's list of its running containers.
    pub fn listed(&self) -> serde_json::Value {
        self.service.model().list(false)
    }

    // The engine

    /// Cuts all connections and listens again. Afterwards all containers have other addresses, and on request other
    /// host ports. The engine sends no events for these changes.
    pub fn restart_engine(&self, host_ports: HostPorts) {
        self.stop_engine();
        self.service.model().restart_engine(host_ports == HostPorts::New);
        self.start_engine();
    }

    /// Cuts all connections and refuses new ones.
    pub fn stop_engine(&self) {
        self.server.close();
    }

    /// Listens again if the engine was stopped.
    pub fn start_engine(&self) {
        self.server.open();
    }

    // Misbehaviour

    /// Misbehaves in this way at this place, this number of times. If several planned misbehaviours fit a request, the
    /// engine uses the one planned first, so a test can plan a sequence.
    ///
    /// [`Misbehaviour::Refuse`] works only with [`Where::Any`]. With [`Where::OpenStreams`] the misbehaviour begins at
    /// once. Both need [`Times::Always`], because there are no requests to count.
    pub fn misbehave(&self, misbehaviour: Misbehaviour, place: Where, times: Times) {
        let (how, there) = (misbehaviour.name(), place.name());
        assert!(misbehaviour.suits(place), "{how} is not for {there}");
        let is_lasting = misbehaviour == Misbehaviour::Refuse || place == Where::OpenStreams;
        assert!(!is_lasting || times == Times::Always, "{how} can't be counted {there}");
        if misbehaviour == Misbehaviour::Refuse {
            self.stop_engine();
        } else if place == Where::OpenStreams {
            self.service.model().streams_become(Some(misbehaviour));
        } else {
            self.service.plan().add(misbehaviour, place, times);
        }
    }

    /// Ends all misbehaviour: clears the plan, repairs open streams and opens the port. Answers that have begun badly
    /// stay bad.
    pub fn behave(&self) {
        self.service.plan().clear();
        self.service.model().streams_become(None);
        self.start_engine();
    }

    /// Cuts all event streams, without a last chunk.
    pub fn cut_streams(&self) {
        self.service.model().streams_become(Some(Misbehaviour::Close));
    }

    /// Holds answers of this kind back until the gate is open. `notes().held` counts them. A held answer does not
    /// contain later changes.
    pub fn hold(&self, kind: Kind) -> Gate {
        self.service.hold(kind)
    }

    // Notes

    pub fn notes(&self) -> Notes {
        self.notebook.read()
    }

    /// Resets all counters, except those of open connections and requests.
    pub fn reset_notes(&self) {
        self.notebook.reset();
        self.elsewhere.reset();
    }

    /// Number of connections to the target of redirects.
    pub fn redirects_followed(&self) -> usize {
        self.elsewhere.connections()
    }

    /// Waits until the notes meet this condition. Panics after a minute.
    pub async fn until(&self, so: impl Fn(&Notes) -> bool) {
        self.notebook.until(so).await;
    }

    fn with<T>(&self, container: &str, what: impl FnOnce(&mut model::Model, &str) -> T) -> T {
        let mut model = self.service.model();
        let found = model.find(container).map(str::to_owned);
        let id = found.unwrap_or_else(|why| panic!("no one container {container}: {why:?}"));
        what(&mut model, &id)
    }
}

/// A client for the engine at this address.
pub fn engine_at(address: SocketAddr, limits: Limits) -> Engine {
    Engine::new(Endpoint::parse(&format!("tcp://{address}")).unwrap(), limits)
}

/// A loopback address that no other program uses, with any port. On 127.0.0.1, the kernel could give the port of a
/// restarting engine to another socket. If this is the socket of a client that dials the engine, the client would
/// connect to itself.
fn own_address() -> SocketAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id()
        .wrapping_mul(4099)
        .wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
    let byte = |n: u32| 1 + (n % 250) as u8;
    SocketAddr::from((Ipv4Addr::new(127, byte(n / 62_500), byte(n / 250), byte(n)), 0))
}

/// The target of redirects. The kernel completes the connections, and `connections` counts them later.
struct Elsewhere {
    address: SocketAddr,
    listener: TcpListener,
    connections: Mutex<usize>,
}

impl Elsewhere {
    fn new() -> io::Result<Self> {
        let listener = TcpListener::bind(own_address())?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            connections: Mutex::default(),
        })
    }

    fn connections(&self) -> usize {
        let mut connections = self.connections.lock().unwrap();
        while self.listener.accept().is_ok() {
            *connections += 1;
        }
        *connections
    }

    fn reset(&self) {
        self.connections();
        *self.connections.lock().unwrap() = 0;
    }
}
