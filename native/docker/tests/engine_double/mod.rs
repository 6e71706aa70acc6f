//! An engine that can be made to do what a real one can't be made to do.
//!
//! An [`EngineDouble`] has containers, and answers about them as a Docker Engine does until it is told to misbehave:
//!
//! ```ignore
//! let engine = EngineDouble::start();
//! let id = engine.add("db", 49153);
//! engine.misbehave(Misbehaviour::Drip, Where::Inspect, Times::Next(2));
//! engine.restart_at(&id, 49154);
//! engine.until(|notes| notes.inspects == 3).await;
//! ```
//!
//! A [`ScriptedEngine`] has no containers and no idea of an engine: a test's closure says what is sent, byte by byte.
//!
//! Each engine has a loopback address of its own, so that no other program gets its port while it is closed. The same
//! thing as a program, for tests in other languages, is `program.rs`.

// Each test uses some of it.
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

/// A listening engine with containers. Dropped, it closes its port and all connections.
///
/// What is done to it is done, and its events are on their way, when the call returns. Containers may be named as the
/// engine itself looks them up: by their ID, their name or the beginning of their ID; a method that is given anything
/// else panics.
pub struct EngineDouble {
    server: Server,
    service: Shared,
    notebook: Notebook,
    elsewhere: Elsewhere,
}

/// What becomes of the containers' host ports when an engine restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPorts {
    Kept,
    New,
}

impl EngineDouble {
    /// An engine of API versions 1.24 to 1.41 without containers.
    pub fn start() -> Self {
        Self::listen(own_address(), None).unwrap()
    }

    /// The same at this address, where port 0 is any free one, and at this path of a unix socket if there is one.
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

    /// From now on it is of these API versions, as after an upgrade: `("1.44", "1.52")`.
    pub fn set_versions(&self, oldest: &str, newest: &str) {
        let version = |text| service::version(text).expect("a version such as 1.41");
        self.service.set_versions(version(oldest), version(newest));
    }

    // Containers

    /// `docker run -p HOST_PORT:12345`: a container that runs, on the network `bridge`. Returns its ID.
    pub fn add(&self, name: &str, host_port: u16) -> String {
        self.run(NewContainer::new(name).publish(host_port))
    }

    /// So many more containers that run, named with this and a number from 0, each on a host port of its own.
    pub fn add_many(&self, count: usize, name: &str) -> Vec<String> {
        let add = |n| self.add(&format!("{name}{n}"), self.free_host_port());
        (0..count).map(add).collect()
    }

    /// A host port that no container has been given lately by the engine.
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

    /// The same, and its Erlang port is on another host port then.
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

    /// The same, and its Erlang port is on another host port then.
    pub fn restart_at(&self, container: &str, host_port: u16) {
        self.with(container, |model, id| model.restart(id, Some(host_port)));
    }

    /// Its process ends by itself: events die, disconnect.
    pub fn die(&self, container: &str) {
        self.with(container, |model, id| model.die(id, "1"));
    }

    /// Its process gets a signal that it survives: event kill.
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

    /// `docker network connect`: event connect. A container that was on no network is published again, on another host port.
    pub fn connect(&self, container: &str, network: &str) {
        self.with(container, |model, id| model.connect(id, network));
    }

    /// `docker network disconnect`: event disconnect. Of a container on no network nothing is published.
    pub fn disconnect(&self, container: &str, network: &str) {
        self.with(container, |model, id| model.disconnect(id, network));
    }

    /// `docker network create`, for one with IPv6 addresses; others are made when they are used.
    pub fn add_ipv6_network(&self, name: &str) {
        self.service.model().add_network(name, true);
    }

    /// The full ID of the container that the engine finds for this text.
    pub fn find(&self, text: &str) -> Result<String, NotFound> {
        self.service.model().find(text).map(str::to_owned)
    }

    /// What an inspect of this container says.
    pub fn inspected(&self, container: &str) -> serde_json::Value {
        let model = self.service.model();
        model.inspect(model.find(container).expect(container))
    }

    /// What a list of the running containers says.
    pub fn listed(&self) -> serde_json::Value {
        self.service.model().list(false)
    }

    // The engine itself

    /// Cuts all connections and listens again; all containers have other addresses then, and other host ports if so. No
    /// event tells of it.
    pub fn restart_engine(&self, host_ports: HostPorts) {
        self.stop_engine();
        self.service.model().restart_engine(host_ports == HostPorts::New);
        self.start_engine();
    }

    /// Cuts all connections and refuses new ones.
    pub fn stop_engine(&self) {
        self.server.close();
    }

    /// Listens again, if it did not.
    pub fn start_engine(&self) {
        self.server.open();
    }

    // Misbehaviour

    /// Does this wrong there, so often. Of several misbehaviours that fit a request, the one that was told first is done;
    /// so they can be told to follow each other.
    ///
    /// [`Misbehaviour::Refuse`] is for [`Where::Any`], and what is for [`Where::OpenStreams`] begins at once; both are for
    /// [`Times::Always`], since there is nothing to count.
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

    /// Does nothing wrong any more: what was planned is forgotten, streams that are open go on as they should, and the
    /// port is open. Answers that have begun badly don't get better.
    pub fn behave(&self) {
        self.service.plan().clear();
        self.service.model().streams_become(None);
        self.start_engine();
    }

    /// Cuts all event streams, without a last chunk.
    pub fn cut_streams(&self) {
        self.service.model().streams_become(Some(Misbehaviour::Close));
    }

    /// Makes answers of this kind and holds them back until the gate is open; `notes().held` counts them. What changes
    /// meanwhile is not in them.
    pub fn hold(&self, kind: Kind) -> Gate {
        self.service.hold(kind)
    }

    // Notes

    pub fn notes(&self) -> Notes {
        self.notebook.read()
    }

    /// Counts from 0 again, except for what is open.
    pub fn reset_notes(&self) {
        self.notebook.reset();
        self.elsewhere.reset();
    }

    /// How many connections were made to where redirects go.
    pub fn redirects_followed(&self) -> usize {
        self.elsewhere.connections()
    }

    /// Waits until the notes are so; panics after five minutes.
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

/// A client of whatever is at this address.
pub fn engine_at(address: SocketAddr, limits: Limits) -> Engine {
    Engine::new(Endpoint::parse(&format!("tcp://{address}")).unwrap(), limits)
}

/// A loopback address that nobody else uses, with any port. On 127.0.0.1 another socket could be given the port of an
/// engine that restarts, even a client's that dials it, which then has itself for a peer.
fn own_address() -> SocketAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id()
        .wrapping_mul(4099)
        .wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
    let byte = |n: u32| 1 + (n % 250) as u8;
    SocketAddr::from((Ipv4Addr::new(127, byte(n / 62_500), byte(n / 250), byte(n)), 0))
}

/// Where redirects go. The kernel takes the connections; they are counted when somebody asks.
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
