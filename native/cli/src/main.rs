//! The command `eid`: what a person types, and what an entry point calls before the Erlang VM is there.
//!
//! An error is one sentence on standard error, `eid: …`, and a status other than 0; standard output has the answer and nothing
//! else, so that it can stand in `$(…)`.

mod engine_options;
mod failure;
mod lookup;
mod name;
mod node_options;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, STATUS};

/// eid connects Erlang nodes that run in Docker containers.
#[derive(Parser)]
#[command(name = "eid", version, after_help = STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Name(name::Arguments),
    Lookup(lookup::Arguments),
}

fn main() -> ExitCode {
    let outcome: Result<(), Failure> = match Cli::parse().command {
        Command::Name(arguments) => name::run(arguments),
        Command::Lookup(arguments) => lookup::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("eid: {failure}");
            failure.into()
        }
    }
}
