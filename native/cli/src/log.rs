//! What a command that goes on running says of itself: lines on standard error.

use tracing::Level;

/// From now on what is logged goes to standard error, a line for each event, with the time.
pub fn to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(Level::INFO)
        .with_target(false)
        .with_ansi(false)
        .init();
}
