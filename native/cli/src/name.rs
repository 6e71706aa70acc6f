//! `eid name`: the node name of the container that this runs in.

use std::io::{self, Write};

use clap::Args;
use eid_docker::{Limits, Naming, NodeName, OwnName};
use tokio::runtime::Builder;

/// Print the name of the Erlang node in this container
///
/// Before the @ stands EID_NAME if that is set, for nodes that share a base name,
/// otherwise the ID of this container, with Docker and with Podman, whatever its
/// hostname.
///
/// After the @ stands the first that is there of --host, EID_HOST, MY_POD_IP, and
/// what Rancher's metadata service at --rancher or EID_RANCHER says: the address
/// of this container's host, where a node with a container's ID is looked up; or
/// with EID_NAME that of this container in Rancher's network, where it is dialled.
///
/// A variable that is empty counts as unset. In an entry point:
///
///   name=$(eid name) || exit
///   exec erl -name "$name" -proto_dist eid_tcp -start_epmd false
#[derive(Args)]
#[command(after_help = crate::STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// What stands after the @: the address of this container's Docker host, or its DNS name
    #[arg(long)]
    host: Option<String>,

    /// The URL of Rancher's metadata service, such as http://rancher-metadata/latest [EID_RANCHER]
    #[arg(long, value_name = "URL")]
    rancher: Option<String>,

    /// Print the first 12 digits of the container's ID, as docker ps does, and not all 64
    #[arg(long)]
    short: bool,
}

/// # Errors
///
/// The sentence for the user.
pub fn run(arguments: Arguments) -> Result<(), String> {
    let naming = Naming {
        host: arguments.host,
        rancher: arguments.rancher,
        short: arguments.short,
    };
    let name = match naming.find().map_err(|error| error.to_string())? {
        OwnName::Known(name) => name,
        unknown => ask(unknown)?,
    };
    writeln!(io::stdout(), "{name}").map_err(|error| format!("the name can't be written to standard output: {error}"))
}

/// Only this needs a runtime, and the time to make one.
fn ask(unknown: OwnName) -> Result<NodeName, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no asking for the name: {error}"))?;
    let name = runtime.block_on(unknown.ask(Limits::default()));
    // A DNS query that nobody waits for any more would hold up the end.
    runtime.shutdown_background();
    name.map_err(|error| error.to_string())
}
