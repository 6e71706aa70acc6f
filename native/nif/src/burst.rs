//! Lookups in quick succession.
//!
//! Reading the settings takes twice as long as reading a route. So they count as read for a lookup that follows
//! the one before at once. Whoever changes a setting calls another process for it (`application:set_env/3`), which takes
//! longer than [`GAP`], and so sees the change in the next lookup. Who changes it while others look up without a pause
//! sees it after [`LONGEST`] at the latest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

/// From the end of one lookup to the beginning of the next.
const GAP: Duration = Duration::from_nanos(500);

/// From one reading of the settings to the next.
const LONGEST: Duration = Duration::from_millis(1);

static START: Lazy<Instant> = Lazy::new(Instant::now);

/// When the settings were last read, and when a lookup last ended, in nanoseconds after `START`.
static READ: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The settings have just been read.
pub fn begin() {
    READ.store(now(), Ordering::Relaxed);
}

/// Whether the settings need not be read again.
pub fn goes_on() -> bool {
    let now = now();
    let within = |moment: &AtomicU64, time: Duration| {
        let passed = now.saturating_sub(moment.load(Ordering::Relaxed));
        u128::from(passed) < time.as_nanos()
    };
    within(&ENDED, GAP) && within(&READ, LONGEST)
}

/// A lookup has ended.
pub fn pause() {
    ENDED.store(now(), Ordering::Relaxed);
}
