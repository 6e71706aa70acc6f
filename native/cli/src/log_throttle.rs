//! Limits how often a log line is repeated that clients or a lasting condition cause.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Lets one log line through per interval, and counts the suppressed ones.
pub struct LogThrottle {
    interval: Duration,
    per_episode: bool,
    state: Mutex<Option<State>>,
}

struct State {
    /// The last logged line, or with `per_episode` the last occurrence.
    last: Instant,
    suppressed: u64,
}

impl LogThrottle {
    /// Allows one line per interval.
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            per_episode: false,
            state: Mutex::new(None),
        }
    }

    /// Allows one line per episode. An episode ends when the condition has not occurred for this interval.
    pub const fn per_episode(interval: Duration) -> Self {
        Self {
            per_episode: true,
            ..Self::every(interval)
        }
    }

    /// Records an occurrence. If a line may be logged for it, returns the number of lines suppressed since the last one.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        match &mut *state {
            Some(State { last, suppressed }) if now.saturating_duration_since(*last) < self.interval => {
                *suppressed += 1;
                if self.per_episode {
                    *last = now;
                }
                None
            }
            before => {
                let suppressed = before.take().map_or(0, |state| state.suppressed);
                *before = Some(State {
                    last: now,
                    suppressed: 0,
                });
                Some(suppressed)
            }
        }
    }

    /// Extends the current episode, if there is one: the condition still holds.
    pub fn extend(&self, now: Instant) {
        if let Some(state) = &mut *self.lock() {
            state.last = now;
        }
    }

    /// Allows a line at the next occurrence.
    pub fn reset(&self) {
        *self.lock() = None;
    }

    /// Calls `line`, which logs, if a line may be logged now. Logs the number of suppressed lines before it.
    pub fn log(&self, line: impl FnOnce()) {
        if let Some(suppressed) = self.allow(Instant::now()) {
            if suppressed > 0 {
                warn!("{suppressed} more lines like the next one were left out");
            }
            line();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn one_line_per_interval() {
        let (throttle, start) = (LogThrottle::every(MINUTE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.allow(at(0)), Some(0));
        assert!((1..60).all(|second| throttle.allow(at(second)).is_none()));
        assert_eq!(throttle.allow(at(60)), Some(59));
        assert_eq!(throttle.allow(at(61)), None);
        throttle.reset();
        assert_eq!(throttle.allow(at(61)), Some(0));
    }

    #[test]
    fn one_line_per_episode() {
        let (throttle, start) = (LogThrottle::per_episode(MINUTE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        throttle.extend(at(0));
        assert_eq!(throttle.allow(at(0)), Some(0));
        // The condition recurs for 99 minutes, with gaps of less than a minute.
        assert!((1..100).all(|time| throttle.allow(at(59 * time)).is_none()));
        throttle.extend(at(5900));
        assert!(throttle.allow(at(5959)).is_none());
        assert!(throttle.allow(at(5959 + 60)).is_some());
        assert!(throttle.allow(at(5959 + 60)).is_none());
        // Workers use the time of their last turn, so time may go back.
        assert!(throttle.allow(at(5900)).is_none());
    }
}
