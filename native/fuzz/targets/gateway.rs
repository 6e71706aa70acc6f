#![no_main]

use eid_docker::invariants;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| invariants::gateway(data));
