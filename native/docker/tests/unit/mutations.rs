//! Thousands of texts that are almost what an engine or a user writes.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::api::events::{ContainerEvent, Lines};
use crate::api::wire::{Inspected, Listed};
use crate::container::Container;
use crate::{invariants, ListScope};

/// So many texts of each kind, or as many times more as `EID_SOAK` says.
const TEXTS: u64 = 2000;

/// Each takes well under a millisecond.
const FAR_TOO_LONG: Duration = Duration::from_secs(5);

/// Pieces that mean something in JSON, in ports, in addresses or in names.
const PIECES: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "é",
    "\r\n",
    "\n",
    "\0",
    "/",
    "../",
    "%2f",
    ",",
    ":",
    "@",
    "[",
    "{host}",
    "::",
    "::ffff:1.2.3.4",
    "0x7f.1",
    "/tcp",
    "running",
    "host",
    "\"Id\":7,",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

const NUMBERS: &[&str] = &[
    "0",
    "00",
    "-1",
    "1",
    "65535",
    "65536",
    "1.5",
    "1e999",
    "18446744073709551616",
];

/// Behind these stands what is read; most of a text is not.
const KEYS: &[&[u8]] = &[
    b"Port\":",
    b"Ip\":",
    b"IP\":",
    b"Id\":",
    b"ID\":",
    b"Name",
    b"State",
    b"/tcp",
    b"Action",
    b"//",
    b"Labels\":{",
];

/// The texts in a folder of samples, and their names, always in the same order.
fn samples(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(kind);
    let mut samples: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

/// Checks the samples as they are, and then mutations of them. The number in a failure's text is all that it takes to get
/// the same text again.
fn check(kind: &str, invariants: fn(&[u8])) {
    let samples: Vec<_> = samples(kind).into_iter().map(|(_, text)| text).collect();
    assert!(samples.len() >= 2);
    let soak = std::env::var("EID_SOAK").map_or(1, |times| times.parse().unwrap());
    for seed in 0..TEXTS * soak {
        let text = match samples.get(usize::try_from(seed).unwrap()) {
            Some(sample) => sample.clone(),
            None => mutated(&samples, &mut Rng::with_seed(seed)),
        };
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| invariants(&text)));
        let took = began.elapsed();
        let shown = String::from_utf8_lossy(&text);
        assert!(outcome.is_ok(), "{kind}, seed {seed}: {shown:?}");
        assert!(took < FAR_TOO_LONG, "{kind}, seed {seed} took {took:?}: {shown:?}");
    }
}

fn mutated(samples: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut text = samples[rng.usize(..samples.len())].clone();
    for _ in 0..rng.usize(1..5) {
        mutate(&mut text, samples, rng);
    }
    text
}

fn mutate(text: &mut Vec<u8>, samples: &[Vec<u8>], rng: &mut Rng) {
    if text.is_empty() {
        text.push(rng.u8(..));
    }
    let range = |text: &[u8], rng: &mut Rng| {
        let from = rng.usize(..text.len());
        from..rng.usize(from..=text.len().min(from + 200))
    };
    let at = place(text, rng);
    let piece = PIECES[rng.usize(..PIECES.len())].bytes();
    match rng.u8(..10) {
        0 => text[at] ^= 1 << rng.u8(..8),
        1 => text[at] = rng.u8(..),
        2 => text.truncate(at),
        3 => drop(text.drain(range(text, rng))),
        // A piece of it once more, here or elsewhere.
        4 => {
            let copy = text[range(text, rng)].to_vec();
            text.splice(at..at, copy);
        }
        // The beginning of one and the end of another.
        5 => {
            let other = &samples[rng.usize(..samples.len())];
            text.truncate(at);
            text.extend(&other[rng.usize(..=other.len())..]);
        }
        6 => drop(text.splice(at..at, piece)),
        // What stands between two quotes, or a number, becomes something else.
        7 => drop(text.splice(run(text, at, |byte| byte != b'"'), piece)),
        8 => {
            let digit = next(text, at, |byte| byte.is_ascii_digit());
            let number = NUMBERS[rng.usize(..NUMBERS.len())].bytes();
            drop(text.splice(run(text, digit, |byte| byte.is_ascii_digit()), number));
        }
        // A quote goes, or the value after a colon becomes another type.
        _ => {
            let quote = next(text, at, |byte| matches!(byte, b'"' | b':'));
            match text.get(quote) {
                Some(b':') => drop(text.splice(quote + 1..quote + 1, piece)),
                Some(_) => drop(text.remove(quote)),
                None => {}
            }
        }
    }
}

/// Somewhere, and half of the time just behind a key.
fn place(text: &[u8], rng: &mut Rng) -> usize {
    let from = rng.usize(..text.len());
    let key = KEYS[rng.usize(..KEYS.len())];
    let found = text[from..].windows(key.len()).position(|window| window == key);
    match found.filter(|_| rng.bool()) {
        Some(found) => (from + found + key.len() + rng.usize(..3)).min(text.len() - 1),
        None => from,
    }
}

/// The first such byte from there on, or the end.
fn next(text: &[u8], at: usize, is_so: fn(u8) -> bool) -> usize {
    let found = text[at..].iter().position(|&byte| is_so(byte));
    found.map_or(text.len(), |found| at + found)
}

/// The bytes around there that are all so.
fn run(text: &[u8], at: usize, is_so: fn(u8) -> bool) -> std::ops::Range<usize> {
    let before = text[..at].iter().rev().take_while(|&&byte| is_so(byte)).count();
    let after = text[at..].iter().take_while(|&&byte| is_so(byte)).count();
    at - before..at + after
}

#[test]
fn mutated_inspects() {
    check("inspect", invariants::inspect);
}

#[test]
fn mutated_lists() {
    check("list", invariants::list);
}

#[test]
fn mutated_events() {
    check("events", invariants::events);
}

#[test]
fn mutated_endpoints() {
    check("endpoint", invariants::endpoint);
}

#[test]
fn mutated_node_names() {
    check("node_name", invariants::node_name);
}

#[test]
fn mutated_routes() {
    check("gateway", invariants::gateway);
}

#[test]
fn the_same_seed_makes_the_same_text() {
    let samples: Vec<_> = samples("inspect").into_iter().map(|(_, text)| text).collect();
    let text = |seed| mutated(&samples, &mut Rng::with_seed(seed));
    assert_eq!(text(77), text(77));
    assert_ne!(text(77), text(78));
}

/// What an engine's list and its inspects say of the same containers at the same time.
#[test]
fn lists_and_inspects_of_real_engines_tell_the_same() {
    for engine in ["docker-20.10", "podman-4.3.1"] {
        let (_, list) = samples("list")
            .into_iter()
            .find(|(name, _)| name.starts_with(engine))
            .unwrap();
        let list: Vec<Listed> = serde_json::from_slice(&list).unwrap();
        let inspects = samples("inspect");
        assert_eq!(list.len(), 6);
        for listed in list.into_iter().map(Container::from) {
            let name = format!("{engine}-{}.json", listed.name);
            let (_, text) = inspects.iter().find(|(there, _)| *there == name).unwrap();
            let known: Container = serde_json::from_slice::<Inspected>(text).unwrap().into();
            // Podman's list has no `HostConfig`, and so no network mode.
            let on_host = listed.name == "hostnet";
            assert_eq!(known.host_network, on_host, "{engine}: {}", listed.name);
            let expected = Container {
                host_network: on_host && engine.starts_with("docker"),
                ..known
            };
            assert_eq!(listed, expected, "{engine}");
        }
    }
}

/// The events of real engines tell of containers, and of nothing that is no event.
#[test]
fn events_of_real_engines() {
    for (name, text) in samples("events")
        .into_iter()
        .filter(|(name, _)| !name.starts_with("small"))
    {
        let events: Vec<ContainerEvent> = Lines::new(10_000).read(&text).unwrap();
        let changed = events
            .into_iter()
            .map(|event| event.changed(ListScope::Running).unwrap());
        assert!(changed.flatten().count() >= 9, "{name}");
    }
}
