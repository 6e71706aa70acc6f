//! `eid doctor`: checks each step of connecting to a node, and explains the first that fails.
//!
//! [`node`], [`engine`], [`port`] and [`dial`] have the steps, and [`report`] prints them. [`handshake`] speaks Erlang's
//! distribution protocol, with the messages of [`wire`] and the [`flags`] in them.

mod cookie;
mod dial;
mod engine;
mod flags;
mod handshake;
mod node;
mod port;
mod report;
mod suggest;
mod wire;

use std::path::PathBuf;

use clap::Args;
use eid_docker::NodeName;

use crate::args::{EngineOptions, NodeOptions};
use crate::output::{self, Failure, STATUS};
use cookie::Cookie;
use handshake::Introduction;
use report::{Report, Step, Style};

/// Check every step of connecting to a node, and explain the first that fails
///
/// Takes the steps that a node here takes to connect, and shows each with its time:
/// the name, the address of the host, the host's Docker API and its version, the
/// container, whether it runs, and where its distribution port is published. Then it
/// dials the node and does the handshake of Erlang's distribution. With --cookie-file
/// the last step shows whether the cookie is the same. After a step that fails, the
/// others are not tried.
///
/// Run it in the container of the node that has to connect: from elsewhere the route
/// may differ. This command does not know the routes of {eid, [{routes, ...}]} in a
/// node's settings. It recognises a node with -proto_dist inet_tls, but does not try
/// the handshake inside of TLS.
///
/// The node notices little of this. Without a cookie file the connection is closed
/// before any node is connected, and nothing is logged. With the right cookie, a hidden
/// node Something@eid-doctor is connected for an instant, which a process that monitors
/// hidden nodes (net_kernel:monitor_nodes/2) sees. With a wrong cookie, the node logs a
/// failed attempt to connect. A node that uses TLS logs a failed TLS handshake.
///
/// With --json the answer is one object, {"node","ok","failed","steps"}. A step is
/// {"step","status","microseconds","sentence","detail"} with status ok, failed or
/// not_tried. The failed step also has "error" and "advice".
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// The node's name, ContainerID@Host
    node: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// The file with the cookie, as ~/.erlang.cookie: only its owner may read it
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,

    /// Introduce this end with this node name, if the node accepts only some names or has a cookie for each
    #[arg(long, value_name = "NODE", value_parser = node_name)]
    name: Option<String>,

    #[command(flatten)]
    nodes: NodeOptions,

    #[command(flatten)]
    engines: EngineOptions,
}

/// The host part of the name that a node chooses for this end. It identifies this command in the node's log.
const HOST_PART: &str = "eid-doctor";

/// Runs `eid doctor`.
/// Errors: [`Failure::Other`] if the cookie file is wrong or the report can't be written; [`Failure::Reported`] if a step
/// fails.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // A wrong cookie file must not cost a connection.
    let cookie = arguments.cookie_file.as_deref().map(Cookie::read).transpose()?;
    let mut report = Report::new(&arguments.node, Style::of_output(arguments.json));
    output::block_on(arguments.take_steps(&mut report, cookie.as_ref()))??;
    report.end("no --cookie-file says which")
}

impl Arguments {
    /// Takes the steps. Returns `None` after a failed step, which the report has recorded.
    async fn take_steps(&self, report: &mut Report, cookie: Option<&Cookie>) -> Result<Option<()>, Failure> {
        macro_rules! step {
            ($step:ident, $work:expr) => {
                match report.step(Step::$step, $work).await? {
                    Some(value) => value,
                    None => return Ok(None),
                }
            };
        }
        let limit = self.engines.timeout();
        let name: NodeName = step!(Name, async { node::parse(&self.node) });
        let ip = step!(Dns, node::resolve(&self.nodes, name.host(), limit));
        let engine = step!(Engine, engine::reach(&self.engines, name.host(), ip));
        step!(Api, engine::greet(&engine, name.container(), limit));
        let described = step!(Container, engine::find(&engine, name.container(), limit));
        step!(Running, async { engine::running(&described) });
        let plan = step!(Port, port::plan(&engine, &described, self.nodes.erlang_port, ip, limit));
        let stream = step!(Dial, dial::dial(&plan, self.engines.limits().connect));
        let introduction = self
            .name
            .as_deref()
            .map_or(Introduction::Host(HOST_PART), Introduction::Name);
        let met = step!(
            Handshake,
            node::introduce(stream, introduction, &self.node, &plan, limit)
        );
        if let Some(cookie) = cookie {
            step!(Cookie, node::prove(met, cookie, &plan));
        }
        Ok(Some(()))
    }
}

fn node_name(text: &str) -> Result<String, String> {
    let is_name = text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && text.len() <= 255
            && text.bytes().all(|b| b.is_ascii_graphic())
    });
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("it is no node name of the form Name@Host".to_owned())
    }
}
