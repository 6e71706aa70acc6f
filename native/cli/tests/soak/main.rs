//! Load for `EID_SOAK_SECONDS` while the engine, services and clients are killed at random: what is not killed is not harmed, and
//! nothing grows. `make soak` gives it ten minutes.

#[path = "../../../docker/tests/engine_double/mod.rs"]
mod engine_double;
mod forward;
#[path = "../forwarding/mod.rs"]
mod forwarding;
mod serve;
#[path = "../serving/mod.rs"]
mod serving;

use std::time::Duration;

/// What is there after so much of the same load is what should be there at the end.
fn warm_up() -> Duration {
    (soak_time() / 20).max(Duration::from_secs(3))
}

/// Memory that may come and go, in kB: what malloc keeps, of several threads.
const SPARE_MEMORY: usize = 4096;

fn soak_time() -> Duration {
    let seconds = std::env::var("EID_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}
