//! `eid doctor`: the whole way to a node, step by step.

mod cookie;
mod dial;
mod engine;
mod fault;
mod flags;
mod handshake;
mod names;
mod peer;
mod port;
mod report;
mod wire;

use std::path::PathBuf;

use clap::Args;
use eid_docker::NodeName;

use crate::engine_options::EngineOptions;
use crate::failure::{Failure, STATUS};
use crate::node_options::NodeOptions;
use crate::output;
use cookie::Cookie;
use handshake::Own;
use report::{Report, Step, Style};

/// Walk the whole way to a node, and say at which step it goes wrong
///
/// Takes the steps that a node in this place takes to connect, and shows each with its
/// time: the name, the address of its host, the host's Docker API and the version
/// of it, the container, whether it runs, where its erlang port is published, the
/// dial, and the handshake of Erlang's distribution, in which the node says its own
/// name. With --cookie-file the last step shows whether the cookie is the same. The
/// first step that fails says why and what to do; those after it are not tried.
///
/// Run it where the other node runs, in its container: from elsewhere the route may
/// be another one. Routes that a node was told in {eid, [{routes, ...}]} are not known
/// here, and a node with -proto_dist inet_tls is only recognised: the handshake inside
/// of TLS is not tried.
///
/// The node sees little of it. Without a cookie file the connection is closed before
/// any node is connected, and nothing is logged. With one, and the right cookie, a
/// hidden node Something@eid-doctor is connected for an instant: whoever watches hidden
/// nodes (net_kernel:monitor_nodes/2) sees it come and go. A wrong cookie is logged
/// over there, as from any node that tries, and a node with TLS logs that this is none.
///
/// With --json the answer is one object, {"node","ok","failed","steps"}, and a step in it
/// {"step","status","microseconds","sentence","detail"} with status ok, failed or
/// not_tried; that which failed has "error" and "advice".
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

    /// Introduce this end by this node name, for a node that lets in certain names only or has a cookie for each
    #[arg(long, value_name = "NODE", value_parser = own_name)]
    name: Option<String>,

    #[command(flatten)]
    nodes: NodeOptions,

    #[command(flatten)]
    engines: EngineOptions,
}

/// What stands after the `@` in the name that a node gives to this end. It says in a log who it was.
const OWN_HOST: &str = "eid-doctor";

/// # Errors
///
/// [`Failure::Other`] if the cookie file is none, or nobody reads the report; [`Failure::Answered`] if a step fails.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Before anything is dialled.
    let cookie = arguments.cookie_file.as_deref().map(Cookie::read).transpose()?;
    let mut report = Report::new(&arguments.node, Style::of_output(arguments.json));
    output::block_on(arguments.take_steps(&mut report, cookie.as_ref()))??;
    report.end("no --cookie-file says which")
}

impl Arguments {
    /// `None` as soon as a step has failed; the report knows of it.
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
        let name: NodeName = step!(Name, async { peer::parse(&self.node) });
        let ip = step!(Dns, peer::resolve(&self.nodes, name.host(), limit));
        let engine = step!(Engine, engine::reach(&self.engines, name.host(), ip));
        step!(Api, engine::greet(&engine, name.container(), limit));
        let described = step!(Container, engine::find(&engine, name.container(), limit));
        step!(Running, async { engine::running(&described) });
        let ways = step!(Port, port::ways(&engine, &described, self.nodes.erlang_port, ip, limit));
        let stream = step!(Dial, dial::dial(&ways, self.engines.limits().connect));
        let own = self.name.as_deref().map_or(Own::Host(OWN_HOST), Own::Name);
        let met = step!(Handshake, peer::introduce(stream, own, &self.node, &ways, limit));
        if let Some(cookie) = cookie {
            step!(Cookie, peer::prove(met, cookie, &ways));
        }
        Ok(Some(()))
    }
}

fn own_name(text: &str) -> Result<String, String> {
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
