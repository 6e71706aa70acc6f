//! The command `eid`: what a person types, and what an entry point calls before the Erlang VM is there.
//!
//! An error is one sentence on standard error, `eid: …`, and a status other than 0; standard output has the answer and nothing
//! else, so that it can stand in `$(…)`.

mod name;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What all subcommands' statuses mean, below their help.
const STATUS: &str = "\
Exit status:
  0  it worked
  1  it did not; one sentence on standard error says why
  2  the command line was wrong";

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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Name(arguments) => name::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("eid: {sentence}");
            ExitCode::FAILURE
        }
    }
}
