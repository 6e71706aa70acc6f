//! Lines of the log that clients can bring about, and how many of them there may be.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Of each kind, a line so often at most.
const INTERVAL: Duration = Duration::from_secs(5);

/// When a line of each kind was last written, and how many were left out since.
#[derive(Default)]
pub struct Quiet(Mutex<HashMap<&'static str, (Option<Instant>, u64)>>);

impl Quiet {
    /// Writes the line, unless one of its kind has just been written.
    pub fn tell(&self, kind: &'static str, line: impl FnOnce()) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, left_out) = kinds.entry(kind).or_default();
        if written.is_some_and(|written| written.elapsed() < INTERVAL) {
            *left_out += 1;
            return;
        }
        *written = Some(Instant::now());
        let others = std::mem::take(left_out);
        drop(kinds);
        if others > 0 {
            warn!("{others} more lines like the next one were left out");
        }
        line();
    }
}
