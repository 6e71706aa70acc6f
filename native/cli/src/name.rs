//! `eid name`: prints the node name of the container that it runs in.

use clap::Args;
use eid_docker::{NameError, Naming, OwnName};
use tokio::time::timeout;

use crate::args::EngineOptions;
use crate::output::{self, Failure, STATUS};

/// Print the name of the Erlang node in this container
///
/// The part before the @ is EID_NAME, for nodes that share a base name. If EID_NAME is
/// not set, it is the ID of this container, with Docker and with Podman. The hostname
/// does not matter.
///
/// The part after the @ is the first that exists of these:
///
///   1. --host
///   2. EID_HOST
///   3. MY_POD_IP
///   4. The address that Rancher's metadata service at --rancher or EID_RANCHER gives:
///      the address of this container's host, or with EID_NAME the address of this
///      container in Rancher's network.
///   5. The address that eid serve on this container's host advertises. eid serve is
///      asked at --engine, where {host} means this container's default gateway.
///
/// An empty variable counts as unset. If the environment is sufficient, nothing is
/// sent. In an entry point:
///
///   name=$(eid name) || exit
///   exec erl -name "$name" -proto_dist eid_tcp -start_epmd false
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// The part after the @: the address of this container's Docker host, or its DNS name
    #[arg(long)]
    host: Option<String>,

    /// The URL of Rancher's metadata service, such as http://rancher-metadata/latest [EID_RANCHER]
    // Help is plain text.
    #[allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]
    #[arg(long, value_name = "URL")]
    rancher: Option<String>,

    /// Print the first 12 digits of the container's ID, as docker ps does, and not all 64
    #[arg(long)]
    short: bool,

    #[command(flatten)]
    engines: EngineOptions,
}

/// Runs `eid name`.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let engines = arguments.engines;
    let naming = Naming {
        host: arguments.host,
        rancher: arguments.rancher,
        serve: Some(engines.template().to_owned()),
        short: arguments.short,
    };
    let name = match naming.find().map_err(missing)? {
        OwnName::Known(name) => name,
        // Only a question needs a runtime, and starting one takes time.
        unknown => {
            let asked = unknown.ask(engines.limits(), |endpoint| engines.at(endpoint));
            let in_time = async { timeout(engines.timeout(), asked).await };
            let name = output::block_on(in_time)?.unwrap_or(Err(NameError::Timeout));
            name.map_err(missing)?
        }
    };
    output::print(&name)
}

fn missing(error: NameError) -> Failure {
    Failure::Other(error.to_string())
}
