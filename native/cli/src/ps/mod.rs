//! `eid ps`: lists and watches the nodes on Docker hosts.
//!
//! [`host`] asks one engine, [`node`] reads its answers, [`table`] formats them, and [`watch`] follows changes.

mod host;
mod node;
mod table;
mod watch;

use std::sync::Arc;

use clap::Args;
use eid_docker::{is_host, Filter};
use serde_json::{json, Value};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::args::{EngineOptions, NodeOptions};
use crate::output::{self, Failure, STATUS};
use host::Host;
use node::Node;

/// List the nodes on Docker hosts
///
/// A node is a container that publishes or exposes the distribution port, or uses its
/// host's network, or has a label eid.* (eid.cluster, eid.node, ...). The columns:
///
///   NODE     The label eid.node, or else the container's ID, @, and the host.
///   NAME     The container's name.
///   STATE    The engine's word: running, exited and so on.
///   IMAGE    The image, if the engine or eid serve tells it.
///   PORT     The address to dial from another host, or host if the container uses its
///            host's network, or the reason why it can't be dialled: not_published,
///            published_on_loopback, ...
///   CLUSTER  The label eid.cluster.
///   SINCE    The time of the start, if the container runs.
///
/// If a host can't be asked, an error is printed on standard error, and the other hosts
/// are listed. The exit status is that of the first host that failed.
///
/// With --json the answer is an object, {"nodes","failures"}.
///
/// With --watch the command keeps running. On a terminal it keeps the table up to date.
/// Elsewhere it prints a line for each change. The line begins with + for a new node, -
/// for a node that is gone, and ~ for a node that has changed. With --json such a line
/// is {"change","node"}, where change is added, gone or changed. For a host the line is
/// {"change","host","error","sentence"}, where change is down or up. A host that is down
/// is tried again.
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// A host, as in node names after the @; a DNS name with several addresses means several hosts
    #[arg(long = "host", value_name = "HOST", env = "EID_HOST", required = true, value_parser = host)]
    hosts: Vec<String>,

    /// Also list stopped containers
    #[arg(long)]
    all: bool,

    /// Only containers with this label (and value); if repeated, all must match
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    labels: Vec<Filter>,

    /// Keep running and report changes
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

/// Runs `eid ps`.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let arguments = Arc::new(arguments);
    if arguments.watch {
        output::block_on(watch::run(arguments))?
    } else {
        output::block_on(list(arguments))?
    }
}

async fn list(arguments: Arc<Arguments>) -> Result<(), Failure> {
    let mut asked = JoinSet::new();
    for (position, host) in arguments.hosts().enumerate() {
        let arguments = Arc::clone(&arguments);
        asked.spawn(async move { (position, nodes(&host, arguments).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_unstable_by_key(|(position, _)| *position);
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
    // The caller prints the failure that it gets.
    let mut failures = failures.into_iter().map(|(_, failure)| failure);
    let first = failures.next();
    failures.for_each(|failure| failure.print());
    first.map_or(Ok(()), Err)
}

/// Lists the nodes of each host with this name. A host that can't be asked yields its name and the failure.
async fn nodes(name: &str, arguments: Arc<Arguments>) -> Vec<Result<Vec<Node>, (String, Failure)>> {
    let hosts = match Host::find(name, &arguments).await {
        Ok(hosts) => hosts,
        Err(failure) => return vec![Err((name.to_owned(), failure))],
    };
    let mut answers = Vec::with_capacity(hosts.len());
    // All hosts are asked at the same time.
    let asked = hosts.into_iter().map(|host| {
        let arguments = Arc::clone(&arguments);
        tokio::spawn(async move {
            let nodes = host.nodes(&arguments).await;
            nodes.map_err(|failure| (host.name().to_owned(), failure))
        })
    });
    for answer in asked.collect::<Vec<_>>() {
        // The task never panics.
        answers.extend(answer.await);
    }
    answers
}

/// Returns a failed host as an object for programs.
fn failed(host: &str, failure: &Failure) -> Value {
    json!({"host": host, "error": failure.name(), "sentence": failure.to_string()})
}

impl Arguments {
    /// Returns each host once, in the order of the command line.
    fn hosts(&self) -> impl Iterator<Item = String> + '_ {
        let hosts = self.hosts.iter().enumerate();
        let first = hosts.filter(|(position, host)| !self.hosts[..*position].contains(host));
        first.map(|(_, host)| host.clone())
    }
}

fn host(text: &str) -> Result<String, String> {
    let mistake = || "it is no IPv4 address, no IPv6 address without brackets and no DNS name".to_owned();
    is_host(text).then(|| text.to_owned()).ok_or_else(mistake)
}

fn label(text: &str) -> Result<Filter, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    let key = key.to_owned();
    if key.is_empty() {
        return Err("it must be KEY or KEY=VALUE".to_owned());
    }
    Ok(Filter::Label { key, value })
}
