//! How long to wait before the next try.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// What has lasted so long was no failed try.
const LASTING: Duration = Duration::from_secs(5);

/// Waits from 100 ms to 3 s: at first up to 200 ms, and then up to twice as long each time. Each is drawn from the upper half
/// of what it may be, so that many who lost the same engine do not come back at the same moment.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a try that has lasted so long.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTING {
            self.failures = 0;
        }
        self.failures += 1;
        // 2^5 times the shortest is more than the longest.
        let longest = (SHORTEST * 2u32.pow(self.failures.min(5))).min(LONGEST);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let mut backoff = Backoff::default();
        for longest in [200, 400, 800, 1600, 3000, 3000, 3000] {
            let wait = backoff.after(Duration::ZERO).as_millis();
            assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
        }
        assert!((100..=200).contains(&backoff.after(LASTING).as_millis()));
        let waits: std::collections::HashSet<Duration> = (0..20).map(|_| backoff.after(Duration::ZERO)).collect();
        assert!(waits.len() > 10);
    }
}
