//! `eid lookup`: where a node would be dialled from here.

use std::net::IpAddr;

use clap::Args;
use eid_docker::{own_container, route, Bridge, ContainerRef, Error, NodeName, Route};
use serde_json::{json, Value};
use tokio::time::{timeout_at, Instant};

use crate::engine_options::EngineOptions;
use crate::failure::{Failure, STATUS};
use crate::node_options::NodeOptions;
use crate::output;

/// Print where a node would be dialled from here
///
/// Asks the Docker API of the node's host, as a node in this place would, and prints
/// the route, the address and the port:
///
///   published 192.168.4.232:32768
///
/// The route is loopback (it is this container), host (it uses its host's network),
/// bridge (it shares a Docker network with this container, on the same engine) or
/// published (the port of the host that its erlang port is published on). The routes
/// that a node has been told in {eid, [{routes, ...}]} are not known here.
///
/// With --json that is an object, {"node","route","address","port"}. So is an error:
/// {"node","error","sentence"}, with the same exit status.
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

/// # Errors
///
/// Why the node can't be dialled; with `--json` that has been printed too.
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
        // What DNS has taken is no longer there for the engine.
        let asked = timeout_at(began + limit, self.ask(&name, ip)).await;
        asked.unwrap_or(Err(Error::Timeout)).map_err(about)
    }

    async fn ask(&self, name: &NodeName, ip: IpAddr) -> Result<Route, Error> {
        let engine = self.engines.engine(name.host(), ip)?;
        let target = engine.inspect(name.container()).await?;
        // Whether this process runs beside it is for the same engine to say.
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
