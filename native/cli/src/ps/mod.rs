//! `eid ps`: the nodes on some Docker hosts, and what becomes of them.

mod host;
mod node;
mod table;
mod watch;

use std::sync::Arc;

use clap::Args;
use eid_docker::{Filter, NodeName};
use serde_json::{json, Value};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::engine_options::EngineOptions;
use crate::failure::{Failure, STATUS};
use crate::node_options::NodeOptions;
use crate::output;
use host::Host;
use node::Node;

/// List the nodes on Docker hosts
///
/// A node is a container that publishes or exposes the erlang port, or uses its host's
/// network, or has a label of eid's (eid.cluster, eid.node, ...). The columns are
///
///   NODE     the label eid.node, or else the container's ID, @, and the host
///   NAME     the container's name
///   STATE    running, exited and so on, in the engine's words
///   IMAGE    the image, where the engine or eid serve tells it
///   PORT     where another host dials it, host if it uses its host's network, or why
///            it can't be dialled: not_published, published_on_loopback, ...
///   CLUSTER  the label eid.cluster
///   SINCE    when it was started, if it runs
///
/// A host that can't be asked is told on standard error. The others are listed all the
/// same, and the exit status is that of the first one that failed.
///
/// With --json that is an object, {"nodes","failures"}. With --watch it goes on: on a
/// terminal the table stays up to date; anywhere else there is a line for each change,
/// which begins with + for a node that is new, with - for one that is gone and with ~
/// for one that has changed. With --json such a line is {"change","node"}, where change
/// is added, gone or changed, or for a host {"change","host","error","sentence"}, where
/// change is down or up. A host that is down is tried again.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// A host, as it stands after the @ of node names; a DNS name with several addresses means several hosts
    #[arg(long = "host", value_name = "HOST", env = "EID_HOST", required = true, value_parser = host)]
    hosts: Vec<String>,

    /// List those too that do not run
    #[arg(long)]
    all: bool,

    /// List those that have this label, with this value if one is given, and all others that are asked for
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    labels: Vec<Filter>,

    /// Go on, and tell of each change
    #[arg(long)]
    watch: bool,

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
/// Of the first host that can't be asked; the others have been told then.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let arguments = Arc::new(arguments);
    match arguments.watch {
        true => output::block_on(watch::run(arguments))?,
        false => output::block_on(list(arguments))?,
    }
}

async fn list(arguments: Arc<Arguments>) -> Result<(), Failure> {
    let mut asked = JoinSet::new();
    for (place, host) in arguments.hosts().enumerate() {
        let arguments = Arc::clone(&arguments);
        asked.spawn(async move { (place, nodes(&host, arguments).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_unstable_by_key(|(place, _)| *place);
    let (mut nodes, mut failures) = (Vec::new(), Vec::new());
    for answer in answers.into_iter().flat_map(|(_, answers)| answers) {
        match answer {
            Ok(found) => nodes.extend(found),
            Err((host, failure)) => failures.push((host, failure)),
        }
    }
    if arguments.json {
        let failures: Vec<Value> = failures.iter().map(|(host, failure)| failed(host, failure)).collect();
        output::print(&json!({"nodes": nodes, "failures": failures}))?;
    } else {
        for line in table::lines(&nodes, OffsetDateTime::now_utc()) {
            output::print(&line)?;
        }
    }
    // The caller tells of the one that it is given.
    let mut failures = failures.into_iter().map(|(_, failure)| failure);
    let first = failures.next();
    failures.for_each(|failure| failure.tell());
    first.map_or(Ok(()), Err)
}

/// Those of the hosts that this name means, or the name of one that can't be asked, and why.
async fn nodes(name: &str, arguments: Arc<Arguments>) -> Vec<Result<Vec<Node>, (String, Failure)>> {
    let hosts = match Host::find(name, &arguments).await {
        Ok(hosts) => hosts,
        Err(failure) => return vec![Err((name.to_owned(), failure))],
    };
    let mut answers = Vec::with_capacity(hosts.len());
    // They are asked at the same time.
    let asked = hosts.into_iter().map(|host| {
        let arguments = Arc::clone(&arguments);
        tokio::spawn(async move {
            let nodes = host.nodes(&arguments).await;
            nodes.map_err(|failure| (host.name().to_owned(), failure))
        })
    });
    for answer in asked.collect::<Vec<_>>() {
        // Nothing in there panics.
        answers.extend(answer.await);
    }
    answers
}

/// As an object for programs.
fn failed(host: &str, failure: &Failure) -> Value {
    json!({"host": host, "error": failure.name(), "sentence": failure.to_string()})
}

impl Arguments {
    /// Each host once, in the order of the command line.
    fn hosts(&self) -> impl Iterator<Item = String> + '_ {
        let hosts = self.hosts.iter().enumerate();
        let first = hosts.filter(|(place, host)| !self.hosts[..*place].contains(host));
        first.map(|(_, host)| host.clone())
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_host = NodeName::parse(format!("x@{text}")).is_ok();
    let or_what = || "it is no IPv4 address, no IPv6 address without brackets and no DNS name".to_owned();
    is_host.then(|| text.to_owned()).ok_or_else(or_what)
}

fn label(text: &str) -> Result<Filter, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    let key = key.to_owned();
    match key.is_empty() {
        true => Err("it must be KEY or KEY=VALUE".to_owned()),
        false => Ok(Filter::Label { key, value }),
    }
}
