//! The command `eid`: what a person types, and what an entry point calls before the Erlang VM is there.
//!
//! An error is one sentence on standard error, `eid: …`, and a status other than 0; standard output has the answer and nothing
//! else, so that it can stand in `$(…)`.

#![forbid(unsafe_code)]

mod age;
mod descriptors;
mod doctor;
mod engine_options;
mod failure;
mod forward;
mod keep_alive;
mod log;
mod lookup;
mod manual;
mod name;
mod node_options;
mod output;
mod ps;
mod serve;

use std::env;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::{Failure, STATUS};

/// Below the long help of `eid` itself. Only what more than one command reads, or what names the node.
const ENVIRONMENT: &str = "\
Environment:
  EID_HOST               the address of this container's Docker host, for eid name; the
                         host that eid ps lists
  EID_NAME               what stands before the @ of the node's name, for eid name
  MY_POD_IP              the address of this pod, for eid name
  EID_RANCHER            the URL of Rancher's metadata service, for eid name
  EID_ENGINE             where a host's Docker API, or eid serve, is, as --engine
  EID_ENGINE_TOKEN_FILE  the file with the token that eid serve asks for, as --token-file
  DOCKER_CERT_PATH       the folder with ca.pem, cert.pem and key.pem, as --certs";

/// Find and reach Erlang nodes that run in Docker containers
///
/// A node is named after its container, ContainerID@Host, and listens on the erlang port,
/// 12345 unless it is told otherwise, which is published on the host. Whoever wants to
/// connect asks the Docker API of that host, or eid serve in its place, on which port that is.
/// This command does the same as a node does, for a person or for an entry point:
///
///   eid name     in an entry point: what the node in this container is to be called
///   eid lookup   where a node would be dialled from here
///   eid ps       which nodes there are on some hosts, and what becomes of them
///   eid doctor   why a node can't be reached, step by step, and what to do about it
///   eid serve    on each host: what nodes need of the Docker API, and nothing else of it
///   eid forward  for programs that are no Erlang nodes: a local port that leads to
///                a container, wherever it runs, as the Docker ambassador did
///
/// eid help COMMAND says more about each of them. An answer is on standard output, and
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
        Err(failure @ Failure::Answered(_)) => failure.into(),
        Err(failure) => {
            failure.tell();
            failure.into()
        }
    }
}

/// What the command line says.
///
/// # Errors
///
/// What is wrong with it, or the help that it asks for.
fn parse() -> Result<Command, clap::Error> {
    let command = Cli::try_parse()?.command;
    if let Command::Forward(arguments) = &command {
        arguments
            .check()
            .map_err(|(kind, why)| of("forward").error(kind, why))?;
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

/// A command as clap has it, so that its usage is shown.
fn of(name: &str) -> clap::Command {
    let mut all = Cli::command();
    all.build();
    all.find_subcommand(name).cloned().unwrap_or(all)
}

/// A variable that is empty counts as unset, and clap takes it for a value. No thread is there yet that could read one.
fn unset_empty_variables() {
    let is_ours = |key: &OsStr| key == "DOCKER_CERT_PATH" || key.as_encoded_bytes().starts_with(b"EID_");
    let empty = env::vars_os().filter(|(key, value)| value.is_empty() && is_ours(key));
    empty.for_each(|(key, _)| env::remove_var(key));
}
