//! Soak tests of `eid forward` and `eid serve`: load while the engine, services and clients are killed at random.
//! Faults must not harm other connections, and resource use must not grow. The load runs for `EID_SOAK_SECONDS`, in
//! `make soak` for ten minutes.

#[path = "../../../docker/tests/engine_double/mod.rs"]
mod engine_double;
mod forward;
#[path = "../forwarding/mod.rs"]
mod forwarding;
mod serve;
#[path = "../serving/mod.rs"]
mod serving;

use std::time::Duration;

/// Time under load before the first measurement, to which the last measurement is compared.
fn warm_up() -> Duration {
    (soak_time() / 20).max(Duration::from_secs(3))
}

/// Growth in kB that is allowed for memory that malloc keeps for its threads.
const SPARE_MEMORY: usize = 4096;

fn soak_time() -> Duration {
    let seconds = std::env::var("EID_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}
