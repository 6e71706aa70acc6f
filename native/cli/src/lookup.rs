//! `eid lookup`: prints where a node would be dialled from here.

use std::net::IpAddr;

use clap::Args;
use eid_docker::{own_container, route, Bridge, ContainerRef, Error, NodeName, Route};
use serde_json::{json, Value};
use tokio::time::{timeout_at, Instant};

use crate::args::{EngineOptions, NodeOptions};
use crate::output::{self, Failure, STATUS};

/// Print where a node would be dialled from here
///
/// Asks the Docker API of the node's host, as a node in this place would, and prints
/// the route, the address and the port:
///
///   published 192.168.4.232:32768
///
/// The route is one of these:
///
///   loopback   the node is in this container.
///   host       the node uses its host's network.
///   bridge     the node shares a Docker network with this container, on one engine.
///   published  the node's distribution port is published on its host.
///
/// This command does not know the routes of {eid, [{routes, ...}]} in a node's settings.
///
/// With --json the answer is an object, {"node","route","address","port"}. An error is
/// an object, too: {"node","error","sentence"}, with the same exit status.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// The node's name, ContainerID@Host
    node: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    nodes: NodeOptions,

    #[command(flatten)]
    engines: EngineOptions,
}

/// Runs `eid lookup`.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = output::block_on(arguments.find())?;
    if arguments.json {
        output::print(&arguments.json(&found))?;
    }
    let route = found?;
    if arguments.json {
        return Ok(());
    }
    output::print(&format_args!("{} {}", route.kind.name(), route.to))
}

impl Arguments {
    async fn find(&self) -> Result<Route, Failure> {
        let about = |error| Failure::docker(&self.node, error);
        let name = NodeName::parse(&self.node).map_err(about)?;
        let limit = self.engines.timeout();
        let began = Instant::now();
        let ip = self.nodes.address(name.host(), limit).await?;
        // The time limit covers DNS and the engine together.
        let asked = timeout_at(began + limit, self.ask(&name, ip)).await;
        asked.unwrap_or(Err(Error::Timeout)).map_err(about)
    }

    async fn ask(&self, name: &NodeName, ip: IpAddr) -> Result<Route, Error> {
        let engine = self.engines.engine(name.host(), ip)?;
        let target = engine.inspect(name.container()).await?;
        // Only the same engine knows whether this process runs beside the container.
        let own = match own_container().and_then(ContainerRef::from_id) {
            Some(own) => engine.inspect(&own).await.ok(),
            None => None,
        };
        route(&target, own.as_ref(), self.nodes.erlang_port, ip, Bridge::Preferred)
    }

    fn json(&self, found: &Result<Route, Failure>) -> Value {
        match found {
            Ok(Route { kind, to }) => {
                json!({"node": self.node, "route": kind.name(), "address": to.ip(), "port": to.port()})
            }
            Err(failure) => json!({"node": self.node, "error": failure.name(), "sentence": failure.to_string()}),
        }
    }
}
