//! `eid name`: the node name of the container that this runs in.

use clap::Args;
use eid_docker::{NameError, Naming, OwnName};
use tokio::time::timeout;

use crate::engine_options::EngineOptions;
use crate::failure::{Failure, STATUS};
use crate::output;

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
/// Where none of these is there, eid serve on this container's host is asked for the
/// address that it has been told to advertise: at --engine, in which {host} stands
/// for this container's default gateway.
///
/// A variable that is empty counts as unset. Nobody is asked, and nothing is sent,
/// where the environment says it all. In an entry point:
///
///   name=$(eid name) || exit
///   exec erl -name "$name" -proto_dist eid_tcp -start_epmd false
#[derive(Args)]
#[command(after_help = STATUS, verbatim_doc_comment)]
pub struct Arguments {
    /// What stands after the @: the address of this container's Docker host, or its DNS name
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

/// # Errors
///
/// What is missing.
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
        // Only this needs a runtime, and the time to make one.
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
