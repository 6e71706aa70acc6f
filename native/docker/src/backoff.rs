//! How long to wait before the next try.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// What has lasted so long was no failed try.
const LASTING: Duration = Duration::from_secs(5);

/// Waits that double from 100 ms to 3 s. Each is drawn from its upper half, so that many who lost the same engine do not
/// come back at the same moment.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a try that has lasted so long.
    pub(crate) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTING {
            self.failures = 0;
        }
        // 2^5 times the shortest is more than the longest.
        let wait = (SHORTEST * 2u32.pow(self.failures.min(5))).min(LONGEST);
        self.failures += 1;
        wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let mut backoff = Backoff::default();
        for longest in [100, 200, 400, 800, 1600, 3000, 3000, 3000] {
            let wait = backoff.after(Duration::ZERO).as_millis();
            assert!(wait <= longest && wait >= 100.max(longest / 2), "{wait} of {longest}");
        }
        assert_eq!(backoff.after(LASTING).as_millis(), 100);
        let waits: std::collections::HashSet<Duration> = (0..20).map(|_| backoff.after(Duration::ZERO)).collect();
        assert!(waits.len() > 10);
    }
}
