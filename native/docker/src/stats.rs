//! What an engine's directory has been asked, and how long the answers took.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Error;

/// The name under which lookups that found their container are counted; for the others see [`Error::name`].
const OK: &str = "ok";

/// Longer than any lookup may take.
const LONGEST: Duration = Duration::from_secs(600);

/// How long lookups took: of so many percent of them no longer than this, to within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// Lookups, counted.
pub(crate) struct Lookups {
    counted: Mutex<Counted>,
}

struct Counted {
    ok: u64,
    errors: BTreeMap<&'static str, u64>,
    /// In nanoseconds.
    latency: Histogram<u32>,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        let longest = LONGEST.as_nanos().try_into().unwrap_or(u64::MAX);
        Self {
            counted: Mutex::new(Counted {
                ok: 0,
                errors: BTreeMap::new(),
                latency: Histogram::new_with_bounds(1, longest, 2).expect("these bounds are valid"),
            }),
        }
    }

    pub(crate) fn count<T>(&self, outcome: &Result<T, Error>, took: Duration) {
        let mut counted = self.lock();
        match outcome {
            Ok(_) => counted.ok += 1,
            Err(error) => *counted.errors.entry(error.name()).or_default() += 1,
        }
        counted
            .latency
            .saturating_record(took.as_nanos().try_into().unwrap_or(u64::MAX).max(1));
    }

    /// How many lookups ended how.
    pub(crate) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let counted = self.lock();
        let errors = counted.errors.iter().map(|(&name, &count)| (name, count));
        let all = std::iter::once((OK, counted.ok)).chain(errors);
        all.filter(|&(_, count)| count > 0).collect()
    }

    pub(crate) fn latency(&self) -> Latency {
        let counted = self.lock();
        let of = |quantile| Duration::from_nanos(counted.latency.value_at_quantile(quantile));
        Latency {
            p50: of(0.5),
            p90: of(0.9),
            p99: of(0.99),
            max: Duration::from_nanos(counted.latency.max()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_percentiles() {
        let lookups = Lookups::new();
        assert_eq!(lookups.latency(), Latency::default());
        for micros in 1..=100 {
            lookups.count(&Ok(()), Duration::from_micros(micros));
        }
        lookups.count::<()>(&Err(Error::Timeout), Duration::from_secs(5000));
        lookups.count::<()>(&Err(Error::Unreachable("x".to_owned())), Duration::ZERO);
        assert_eq!(lookups.outcomes(), [("ok", 100), ("timeout", 1), ("unreachable", 1)]);
        let latency = lookups.latency();
        let about = |found: Duration, micros: f64| (found.as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.02;
        assert!(
            about(latency.p50, 50.0) && about(latency.p90, 91.0) && about(latency.p99, 100.0),
            "{latency:?}"
        );
        assert!(latency.max >= LONGEST);
    }
}
