//! The command `eid`, for people and for the entry points of containers.
//!
//! Answers go to standard output and nothing else does, so that `$(…)` works. An error is one sentence on standard error,
//! `eid: …`, and an exit status other than 0.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod args;
mod doctor;
mod forward;
mod log_throttle;
mod lookup;
mod manual;
mod name;
mod output;
mod ps;
mod serve;
mod sockets;

use std::env;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use output::{Failure, STATUS};

/// Variables that several commands read, or that name the node. Shown in the long help of `eid`.
const ENVIRONMENT: &str = "\
Environment:
  EID_HOST               the address of this container's Docker host, for eid name; the
                         host that eid ps lists
  EID_NAME               the part of the node name before the @, for eid name
  MY_POD_IP              the address of this pod, for eid name
  EID_RANCHER            the URL of Rancher's metadata service, for eid name
  EID_ENGINE             the URL of a host's Docker API or eid serve, as --engine
  EID_ENGINE_TOKEN_FILE  the file with the token that eid serve asks for, as --token-file
  DOCKER_CERT_PATH       the folder with ca.pem, cert.pem and key.pem, as --certs";

/// Find and reach Erlang nodes that run in Docker containers
///
/// A node is named after its container, ContainerID@Host. It listens on the distribution
/// port, 12345 by default, which is published on the host. To connect, a node asks the
/// Docker API or eid serve on that host for the published port. This command does the
/// same, for a person or for an entry point:
///
///   eid name     in an entry point: print the name of the node in this container
///   eid lookup   print where a node would be dialled from here
///   eid ps       list the nodes on some hosts, and watch them
///   eid doctor   find out, step by step, why a node can't be reached
///   eid serve    on each host: the part of the Docker API that nodes need, read-only
///   eid forward  for programs that are not Erlang nodes: a local port that leads to
///                a container on any host, as the Docker ambassador did
///
/// eid help COMMAND explains each of them. An answer goes to standard output, and
/// an error is one sentence on standard error.
#[derive(Parser)]
#[command(name = "eid", version, after_help = STATUS, after_long_help = format!("{ENVIRONMENT}\n\n{STATUS}"), verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Name(name::Arguments),
    Lookup(lookup::Arguments),
    Ps(ps::Arguments),
    #[command(hide = true)]
    Manual(manual::Arguments),
    Doctor(doctor::Arguments),
    Serve(serve::Arguments),
    Forward(forward::Arguments),
}

fn main() -> ExitCode {
    unset_empty_variables();
    let outcome = match parse() {
        Ok(command) => run(command),
        Err(wrong) if wrong.use_stderr() => wrong.exit(),
        // Help, or the version.
        Err(answer) => output::write(&answer.render()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Reported(_)) {
                failure.print();
            }
            failure.into()
        }
    }
}

/// Parses the command line.
fn parse() -> Result<Command, clap::Error> {
    let command = Cli::try_parse()?.command;
    if let Command::Forward(arguments) = &command {
        arguments
            .check()
            .map_err(|(kind, why)| subcommand("forward").error(kind, why))?;
    }
    Ok(command)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Name(arguments) => name::run(arguments),
        Command::Lookup(arguments) => lookup::run(&arguments),
        Command::Ps(arguments) => ps::run(arguments),
        Command::Manual(arguments) => manual::run(&arguments, Cli::command()),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Forward(arguments) => forward::run(arguments),
    }
}

/// Returns a subcommand as clap knows it, so that an error shows its usage.
fn subcommand(name: &str) -> clap::Command {
    let mut all = Cli::command();
    all.build();
    all.find_subcommand(name).cloned().unwrap_or(all)
}

/// An empty variable counts as unset, but clap would use it as a value. No other thread runs yet that could read variables.
fn unset_empty_variables() {
    let is_ours = |key: &OsStr| key == "DOCKER_CERT_PATH" || key.as_encoded_bytes().starts_with(b"EID_");
    let empty = env::vars_os().filter(|(key, value)| value.is_empty() && is_ours(key));
    empty.for_each(|(key, _)| env::remove_var(key));
}
