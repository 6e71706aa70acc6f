//! One host, and the nodes on it.

use std::future::Future;
use std::net::IpAddr;

use eid_docker::{ContainerRef, Description, Engine, Error, EventStream, ListScope};
use tokio::time::timeout;

use super::node::Node;
use super::Arguments;
use crate::failure::Failure;

/// A host, by one of its addresses.
#[derive(Clone)]
pub struct Host {
    name: String,
    ip: IpAddr,
    engine: Engine,
}

impl Host {
    /// The hosts that this name means: one, or one for each address of a DNS name with several.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownHost`], [`Failure::SlowDns`], and whatever is wrong with the address of its engine.
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

    /// As it stands after the `@` of its nodes' names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All its nodes that are asked for, by their containers' names.
    ///
    /// # Errors
    ///
    /// Why they can't be known.
    pub async fn nodes(&self, arguments: &Arguments) -> Result<Vec<Node>, Failure> {
        let asked = self.engine.descriptions(arguments.which());
        let found = self.in_time(arguments, asked).await?;
        let mut nodes: Vec<Node> = found.iter().filter_map(|found| self.read(found, arguments)).collect();
        nodes.sort_unstable_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        Ok(nodes)
    }

    /// The node that a container is now, if it is one that is asked for.
    ///
    /// # Errors
    ///
    /// Why it can't be known.
    pub async fn node(&self, id: &str, arguments: &Arguments) -> Result<Option<Node>, Failure> {
        let Some(container) = ContainerRef::from_id(id) else {
            return Ok(None);
        };
        let described = async {
            match self.engine.describe(&container).await {
                Err(Error::NoSuchContainer) => Ok(None),
                described => described.map(Some),
            }
        };
        let found = self.in_time(arguments, described).await?;
        Ok(found.and_then(|found| self.read(&found, arguments)))
    }

    /// What changes there from now on; `None` where that is not to be had.
    ///
    /// # Errors
    ///
    /// Why it can't be known.
    pub async fn events(&self, arguments: &Arguments) -> Result<Option<EventStream>, Failure> {
        let asked = async {
            match self.engine.subscribe().await {
                Err(Error::Refused { status: 400..=499, .. }) => Ok(None),
                events => events.map(Some),
            }
        };
        self.in_time(arguments, asked).await
    }

    pub fn failure(&self, error: Error) -> Failure {
        Failure::docker(&self.name, error)
    }

    fn read(&self, found: &Description, arguments: &Arguments) -> Option<Node> {
        let erlang_port = arguments.nodes.erlang_port;
        let is_up = found.container.running || found.state == "restarting";
        let is_asked_for = arguments.labels.iter().all(|label| label.matches(&found.container));
        let is_meant = is_asked_for && (arguments.all || is_up) && found.is_node(erlang_port);
        is_meant.then(|| Node::read(found, &self.name, self.ip, erlang_port))
    }

    async fn in_time<T>(
        &self,
        arguments: &Arguments,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let answer = timeout(arguments.engines.timeout(), asked).await;
        answer
            .unwrap_or(Err(Error::Timeout))
            .map_err(|error| self.failure(error))
    }
}

impl Arguments {
    pub fn which(&self) -> ListScope {
        match self.all {
            true => ListScope::All,
            false => ListScope::Running,
        }
    }
}
