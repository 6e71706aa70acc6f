//! An engine without state: a script in the test decides every byte of its answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use eid_docker::{Engine, Limits};

use super::http::{Request, Server, Service};
use super::notes::{Notebook, Notes};
use super::reply::{response, Reply};
use super::{engine_at, own_address};

/// A listening engine that answers from a script.
pub struct ScriptedEngine {
    server: Server,
    notebook: Notebook,
}

struct Script<F> {
    script: F,
    number: AtomicUsize,
}

impl<F: Fn(usize, &str) -> Reply + Send + Sync + 'static> Service for Script<F> {
    fn answer(&self, request: &Request) -> Reply {
        (self.script)(self.number.fetch_add(1, Ordering::SeqCst), &request.path)
    }
}

impl ScriptedEngine {
    /// Starts an engine of API version 1.41. The script answers all requests except `/_ping`. It gets their number,
    /// from 0, and their path.
    pub async fn start(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let number = AtomicUsize::new(0);
        Self::start_with_pings(move |_, path| match path {
            "/_ping" => Reply::Answer(response("200 OK", "Api-Version: 1.41\r\n", "OK")),
            _ => script(number.fetch_add(1, Ordering::SeqCst), path),
        })
        .await
    }

    /// The same, but the script also answers `/_ping`.
    pub async fn start_with_pings(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let notebook = Notebook::new();
        let number = AtomicUsize::new(0);
        let service = Arc::new(Script { script, number });
        let server = Server::start(own_address(), None, notebook.clone(), service).unwrap();
        Self { server, notebook }
    }

    /// A client of this engine.
    pub fn engine(&self, limits: Limits) -> Engine {
        engine_at(self.server.address(), limits)
    }

    /// Waits until the notes meet this condition. Panics after a minute.
    pub async fn until(&self, so: impl Fn(&Notes) -> bool) {
        self.notebook.until(so).await;
    }

    /// The address on which the engine listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Number of accepted connections.
    pub fn connections(&self) -> usize {
        self.notebook.read().connections
    }

    /// The paths of all requests, in the order of their arrival.
    pub fn paths(&self) -> Vec<String> {
        self.notebook.read().paths
    }

    /// Highest number of concurrent requests.
    pub fn most_in_flight(&self) -> usize {
        self.notebook.read().most_in_flight
    }
}
