//! One Docker host, and the nodes on it.

use std::net::IpAddr;

use eid_docker::{Description, Engine, Error, ListScope};

use super::node::Node;
use super::Arguments;
use crate::args::in_time;
use crate::output::Failure;

/// A host at one of its addresses.
#[derive(Clone)]
pub struct Host {
    name: String,
    ip: IpAddr,
    engine: Engine,
}

impl Host {
    /// Resolves a name to hosts: a DNS name with several addresses means one host per address.
    /// Errors: [`Failure::UnknownHost`], [`Failure::SlowDns`], or a mistake in the URL of the engine.
    pub async fn find(name: &str, arguments: &Arguments) -> Result<Vec<Self>, Failure> {
        let about = |error| Failure::docker(name, error);
        let addresses = arguments.nodes.addresses(name, arguments.engines.timeout()).await?;
        let is_one = addresses.len() == 1;
        let hosts = addresses.into_iter().map(|ip| {
            let name = if is_one { name.to_owned() } else { ip.to_string() };
            let engine = arguments.engines.engine(&name, ip).map_err(about)?;
            Ok(Self { name, ip, engine })
        });
        hosts.collect()
    }

    /// Returns the host as it follows the `@` in the names of its nodes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists the wanted nodes on this host, sorted by container name.
    pub async fn nodes(&self, arguments: &Arguments) -> Result<Vec<Node>, Failure> {
        let asked = self.engine.descriptions(arguments.scope());
        let found = in_time(arguments.engines.timeout(), asked).await;
        let found = found.map_err(|error| self.failure(error))?;
        let mut nodes: Vec<Node> = found.iter().filter_map(|found| self.node(found, arguments)).collect();
        sort(&mut nodes);
        Ok(nodes)
    }

    /// Returns the node in a container, if it is a wanted node.
    pub fn node(&self, found: &Description, arguments: &Arguments) -> Option<Node> {
        let erlang_port = arguments.nodes.erlang_port;
        let is_up = found.container.running || found.state == "restarting";
        let has_labels = arguments.labels.iter().all(|label| label.matches(&found.container));
        let is_wanted = has_labels && (arguments.all || is_up) && found.is_node(erlang_port);
        is_wanted.then(|| Node::read(found, &self.name, self.ip, erlang_port))
    }

    /// Returns the engine of the host.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes an error of the engine a failure that names this host.
    pub fn failure(&self, error: Error) -> Failure {
        Failure::docker(&self.name, error)
    }
}

impl Arguments {
    /// Returns which containers to list.
    pub fn scope(&self) -> ListScope {
        if self.all {
            ListScope::All
        } else {
            ListScope::Running
        }
    }
}

/// Sorts nodes by container name.
pub fn sort(nodes: &mut [Node]) {
    nodes.sort_unstable_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
}
