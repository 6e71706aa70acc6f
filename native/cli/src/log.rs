//! What a command that goes on running says of itself: lines on standard error.

use std::io::stderr;

use clap::Args;
use tracing_subscriber::filter::Targets;
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
        default_value = "info"
    )]
    log_level: Targets,
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
