//! What a command that goes on running says of itself: lines on standard error.

use std::ffi::OsStr;
use std::io::stderr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// What is logged to standard error: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        env = "RUST_LOG",
        hide_env_values = true,
        default_value = "info",
        value_parser = Levels,
        hide_possible_values = true
    )]
    log_level: Targets,
}

/// A level, or as in `RUST_LOG` several of parts of the program.
#[derive(Clone)]
struct Levels;

impl TypedValueParser for Levels {
    type Value = Targets;

    fn parse_ref(&self, command: &Command, option: Option<&Arg>, value: &OsStr) -> Result<Targets, clap::Error> {
        let text = StringValueParser::new();
        text.try_map(levels).parse_ref(command, option, value)
    }

    /// For the shells.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let levels = ["error", "warn", "info", "debug", "trace"];
        Some(Box::new(levels.into_iter().map(PossibleValue::new)))
    }
}

/// A word alone that is no level would be a part, and silence the others.
fn levels(text: String) -> Result<Targets, String> {
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    match text.split(',').all(is_level) {
        true => text.parse().map_err(|error: ParseError| error.to_string()),
        false => Err("it is error, warn, info, debug or trace".to_owned()),
    }
}

impl LogOptions {
    /// From now on what is logged goes to standard error, a line for each event, with the time.
    pub fn start(&self) {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(stderr)
            .with_ansi(false)
            .with_target(false);
        tracing_subscriber::registry()
            .with(self.log_level.clone())
            .with(lines)
            .init();
    }
}
