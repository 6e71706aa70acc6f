//! What a command that goes on running says of itself: lines on standard error.

use std::io::stderr;

use clap::Args;
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
        value_parser = levels
    )]
    log_level: Targets,
}

/// A level, or as in `RUST_LOG` several of parts of the program. A word alone that is no level would be a part, and silence the others.
fn levels(text: &str) -> Result<Targets, String> {
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
