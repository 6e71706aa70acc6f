//! Figures of a directory: events, resyncs, and the outcomes and times of lookups. All of them are atomics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// The names under which lookups are counted: see [`Error::name`].
const OUTCOMES: [&str; 11] = [
    "ok",
    "bad_node_name",
    "bad_response",
    "no_such_container",
    "not_published",
    "not_running",
    "published_elsewhere",
    "published_on_loopback",
    "refused",
    "timeout",
    "unreachable",
];

/// Each power of two of nanoseconds is divided into this many buckets.
const STEPS: usize = 32;

/// Enough powers of two for 18 minutes. Longer times count as this.
const POWERS: usize = 36;

/// How long lookups took: percentiles, to within 2 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of the lookups took at most this long.
    pub p50: Duration,
    /// 90 % of the lookups took at most this long.
    pub p90: Duration,
    /// 99 % of the lookups took at most this long.
    pub p99: Duration,
    /// No lookup took longer.
    pub max: Duration,
}

pub(super) struct Stats {
    pub(super) events: AtomicU64,
    pub(super) resyncs: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Lookups by their time. A wait-free histogram with about 9 kB.
    buckets: Box<[AtomicU64]>,
    max_nanos: AtomicU64,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            events: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            outcomes: Default::default(),
            buckets: (0..POWERS * STEPS).map(|_| AtomicU64::new(0)).collect(),
            max_nanos: AtomicU64::new(0),
        }
    }

    /// Counts a lookup.
    pub(super) fn count<T>(&self, outcome: &Result<T, Error>, took: Duration) {
        let name = outcome.as_ref().map_or_else(Error::name, |_| OUTCOMES[0]);
        if let Some(outcome) = OUTCOMES.iter().position(|known| *known == name) {
            self.outcomes[outcome].fetch_add(1, Ordering::Relaxed);
        }
        let nanos = took.as_nanos().try_into().unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The number of lookups by their outcome, without outcomes that did not happen.
    pub(super) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        OUTCOMES
            .into_iter()
            .zip(counts)
            .filter(|&(_, count)| count > 0)
            .collect()
    }

    pub(super) fn latency(&self) -> Latency {
        let max = Duration::from_nanos(self.max_nanos.load(Ordering::Relaxed));
        let total: u64 = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let mut buckets = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .enumerate();
        let (mut seen, mut last) = (0, 0);
        // Called with rising percentages, so that one pass over the buckets is enough.
        let mut percentile = |percent: u64| {
            let wanted = (total * percent).div_ceil(100);
            while seen < wanted {
                let Some((bucket, count)) = buckets.next() else { break };
                (seen, last) = (seen + count, bucket);
            }
            middle(last).min(max)
        };
        Latency {
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max,
        }
    }
}

/// A lookup in progress. If its future is dropped before its end, it counts as a timeout.
pub(super) struct Counted<'a> {
    stats: &'a Stats,
    began: Instant,
    outcome: Result<(), Error>,
}

impl<'a> Counted<'a> {
    pub(super) fn begin(stats: &'a Stats) -> Self {
        let (began, outcome) = (Instant::now(), Err(Error::Timeout));
        Self { stats, began, outcome }
    }

    pub(super) fn end<T>(mut self, outcome: &Result<T, Error>) {
        self.outcome = outcome.as_ref().map(drop).map_err(Error::clone);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.stats.count(&self.outcome, self.began.elapsed());
    }
}

/// Numbers below [`STEPS`] have a bucket each; above, the highest bits of a number select its bucket.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEPS.ilog2() + 1);
    let step = usize::try_from(nanos >> shift).unwrap_or(usize::MAX);
    let bucket = usize::try_from(shift).unwrap_or(usize::MAX).saturating_mul(STEPS) + step;
    bucket.min(POWERS * STEPS - 1)
}

/// The time in the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let shift = (bucket / STEPS).saturating_sub(1);
    let low = ((bucket - shift * STEPS) as u64) << shift;
    Duration::from_nanos(low + (1 << shift) / 2)
}

#[cfg(test)]
#[path = "../../tests/unit/stats.rs"]
mod tests;
