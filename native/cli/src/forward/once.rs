//! What lasts, or comes and goes, is said once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// It counts as over when it has not been so for this long.
const OVER: Duration = Duration::from_secs(60);

/// When it was so last.
#[derive(Default)]
pub struct Once(Mutex<Option<Instant>>);

impl Once {
    /// It is so now: whether that is new.
    pub fn begins(&self, now: Instant) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) >= OVER)
    }

    /// It is still so, if it was.
    pub fn goes_on(&self, now: Instant) {
        if let Some(last) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_new_after_it_was_over() {
        let (once, start) = (Once::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        once.goes_on(at(0));
        assert!(once.begins(at(0)));
        // It comes and goes for long.
        assert!((1..100).all(|time| !once.begins(at(59 * time))));
        once.goes_on(at(5900));
        assert!(!once.begins(at(5959)));
        assert!(once.begins(at(5959 + 60)));
        assert!(!once.begins(at(5959 + 60)));
        // The threads' clocks are those of their last turns.
        assert!(!once.begins(at(5900)));
    }
}
