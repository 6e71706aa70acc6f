//! Tests a node in a large cluster: 100 hosts, each with its own engine, and 2,000 containers. The node follows all
//! engines at once. The node's requests and memory have limits that do not depend on the number of lookups.
//!
//! The test prints its figures (`cargo test -p eid-docker --test scale -- --nocapture`). The node has one thread here,
//! and shares the machine with all engine doubles.

mod engine_double;
mod support;
mod thread_memory;

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use eid_docker::{Directory, Filter, Listing, Location, Registry, State, MAX_CONTAINER_SIZE};
use engine_double::{EngineDouble, Notes};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use support::{agrees, in_time, until, until_quiet, PATIENT};
use thread_memory::ThreadMemory;
use tokio::task::{spawn_blocking, JoinSet};

#[global_allocator]
static MEMORY: ThreadMemory = ThreadMemory;

const HOSTS: usize = 100;
/// Containers on each host.
const CONTAINERS: usize = 20;

/// Engines without containers, to measure the memory for an engine alone. One more engine has all containers.
const EMPTY: usize = 10;

/// Requests needed to learn an engine's containers: a ping, the events, a list, and a second list a second later.
const REQUESTS_TO_KNOW: usize = 4;

/// The events of `docker restart` that report a change: die, disconnect, stop, connect, start, restart.
const EVENTS_OF_A_RESTART: usize = 6;

/// Limit for a node's memory per engine: buffers of ten connections, up to 16 kB each way, and 64 kB for the rest.
const MOST_OF_AN_ENGINE: usize = 10 * 2 * 16 * 1024 + 64 * 1024;
/// Limit for the indexes' memory per container.
const MOST_OF_INDEXES: usize = 400;

/// An engine double needs these for its listeners and its runtime.
const DESCRIPTORS_OF_A_DOUBLE: usize = 8;
/// A node's connections to one engine: the events, eight inspects, a list.
const CONNECTIONS: usize = 10;
/// Both ends of each connection are in this process.
const MOST_DESCRIPTORS: usize = (HOSTS + EMPTY + 1) * (DESCRIPTORS_OF_A_DOUBLE + 2 * CONNECTIONS) + 100;

#[tokio::test]
async fn a_hundred_hosts_with_two_thousand_containers() {
    allow_descriptors();
    let node = Registry::new(|| None);

    let empty: Vec<_> = (0..EMPTY).map(|_| EngineDouble::start()).collect();
    let of_an_engine = held_by(&node, &empty).await / EMPTY;
    let crowded = EngineDouble::start();
    crowded.add_many(HOSTS * CONTAINERS, "c");
    let of_all = held_by(&node, std::slice::from_ref(&crowded)).await;
    let of_a_container = of_all.saturating_sub(of_an_engine) / (HOSTS * CONTAINERS);
    println!("an engine takes {of_an_engine} bytes of a node's memory, a container {of_a_container}");

    let hosts = Hosts::start();
    let began = Instant::now();
    let held = held_by(&node, &hosts.engines).await;
    let most_held = HOSTS * (MOST_OF_AN_ENGINE + CONTAINERS * (MAX_CONTAINER_SIZE + MOST_OF_INDEXES));
    assert!(held <= most_held, "{held} bytes");
    println!("{HOSTS} engines with {CONTAINERS} containers each take {held} bytes");
    for engine in hosts.engines.iter() {
        assert_asked(&engine.notes(), 1, 0, began);
    }
    println!("requests to an engine until all is known: {REQUESTS_TO_KNOW} from each node");

    // Every lookup now finds its answer in the cache.
    let directories = directories(&node, &hosts.engines);
    let asked = hosts.requests();
    for (directory, engine) in directories.iter().zip(hosts.engines.iter()) {
        assert!(agrees(directory, engine), "{:?}", directory.info());
    }
    assert_eq!(hosts.requests(), asked);

    restart_all(&hosts, &directories).await;
    let now_held = held + usize::try_from(MEMORY.held()).unwrap_or_default();
    assert!(now_held <= most_held, "{now_held} bytes");

    cut_all(&hosts, &directories).await;
    assert!(descriptors() <= MOST_DESCRIPTORS, "{} descriptors", descriptors());
}

/// Restarts every container on another port, as fast as the engine doubles allow.
async fn restart_all(hosts: &Hosts, directories: &[Directory]) {
    const EVENTS: usize = HOSTS * CONTAINERS * EVENTS_OF_A_RESTART;
    hosts.reset_notes();
    MEMORY.reset();
    let began = Instant::now();
    let (engines, containers) = (Arc::clone(&hosts.engines), Arc::clone(&hosts.containers));
    // Another thread makes the changes, because the memory of this thread is measured.
    let restarts = spawn_blocking(move || {
        for number in 0..CONTAINERS {
            for (engine, ids) in engines.iter().zip(containers.iter()) {
                engine.restart_at(&ids[number], engine.free_host_port());
            }
        }
    });
    let mut most_descriptors = 0;
    until("all events have come", || {
        most_descriptors = most_descriptors.max(descriptors());
        directories.iter().map(|it| it.info().events).sum::<u64>() >= EVENTS as u64
    })
    .await;
    restarts.await.unwrap();
    for (directory, engine) in directories.iter().zip(hosts.engines.iter()) {
        until("the cache agrees with the engine", || agrees(directory, engine)).await;
    }
    let took = began.elapsed();
    let mut inspects = 0;
    for (directory, engine) in directories.iter().zip(hosts.engines.iter()) {
        let (info, notes) = (directory.info(), engine.notes());
        assert_eq!(
            (info.events as usize, info.resyncs),
            (CONTAINERS * EVENTS_OF_A_RESTART, 0)
        );
        assert_asked(&notes, 0, CONTAINERS * EVENTS_OF_A_RESTART, began);
        inspects += notes.inspects;
    }
    assert!(most_descriptors <= MOST_DESCRIPTORS, "{most_descriptors} descriptors");
    println!(
        "{} restarts: {EVENTS} events in {took:.1?}, {:.0} a second, with {:.1} inspects for each restart; up to \
         {most_descriptors} descriptors, the doubles' included ({})",
        HOSTS * CONTAINERS,
        EVENTS as f64 / took.as_secs_f64(),
        inspects as f64 / (HOSTS * CONTAINERS) as f64,
        if cfg!(debug_assertions) {
            "debug build"
        } else {
            "release build"
        },
    );
}

/// Ends all event streams at once, as when the node's own network fails for a moment.
async fn cut_all(hosts: &Hosts, directories: &[Directory]) {
    hosts.reset_notes();
    let began = Instant::now();
    for engine in hosts.engines.iter() {
        engine.cut_streams();
    }
    for (directory, engine) in directories.iter().zip(hosts.engines.iter()) {
        until("it is live again", || {
            let info = directory.info();
            info.resyncs == 1 && info.state == State::Live
        })
        .await;
        assert!(agrees(directory, engine), "{:?}", directory.info());
    }
    println!("all events cut: {:.1?} until all is known again", began.elapsed());
    for engine in hosts.engines.iter() {
        assert_asked(&engine.notes(), 1, 0, began);
    }
}

/// Asserts a node's number of requests to one engine, given its subscriptions and the reported changes. It may make
/// four requests for each subscription, one for each change, and a list each minute.
fn assert_asked(notes: &Notes, subscriptions: usize, changes: usize, since: Instant) {
    let minutes = since.elapsed().as_secs() as usize / 60;
    let summary = notes.summary();
    assert_eq!((notes.pings, notes.events), (subscriptions, subscriptions), "{summary}");
    assert!(notes.inspects <= changes, "{summary}");
    // One of these may be the second list after an earlier subscription.
    assert!(notes.lists <= 2 * subscriptions.max(1) + minutes, "{summary}");
    assert!(
        notes.requests() <= REQUESTS_TO_KNOW * subscriptions.max(1) + changes + minutes,
        "{summary}"
    );
}

/// Bytes that the node needs for its knowledge of these engines, measured when no request is in flight.
async fn held_by(node: &Registry, engines: &[EngineDouble]) -> usize {
    MEMORY.reset();
    let began = Instant::now();
    let mut lists = JoinSet::new();
    for directory in directories(node, engines) {
        lists.spawn(async move { directory.listing(&Filter::Name("*".to_owned()), 0).await });
    }
    while let Some(listing) = in_time(lists.join_next()).await {
        assert!(matches!(listing, Ok(Listing::Changed { .. })), "{listing:?}");
    }
    println!("{} engines: all known after {:.1?}", engines.len(), began.elapsed());
    drop(lists);
    for (directory, engine) in directories(node, engines).iter().zip(engines) {
        engine.until(|notes| notes.lists >= 2).await;
        until_quiet(directory, engine).await;
    }
    usize::try_from(MEMORY.held()).unwrap()
}

fn directories(node: &Registry, engines: &[EngineDouble]) -> Vec<Directory> {
    let directory = |engine: &EngineDouble| {
        let address = engine.address();
        let location = Location {
            template: &format!("tcp://{address}"),
            host: &address.ip().to_string(),
            ip: address.ip(),
            certificates: None,
            token_file: None,
        };
        node.get(&location, PATIENT).unwrap()
    };
    engines.iter().map(directory).collect()
}

struct Hosts {
    engines: Arc<Vec<EngineDouble>>,
    /// The IDs of each engine's containers.
    containers: Arc<Vec<Vec<String>>>,
}

impl Hosts {
    fn start() -> Self {
        let engines: Vec<_> = (0..HOSTS).map(|_| EngineDouble::start()).collect();
        let containers = engines.iter().map(|engine| engine.add_many(CONTAINERS, "c")).collect();
        Self {
            engines: Arc::new(engines),
            containers: Arc::new(containers),
        }
    }

    fn requests(&self) -> usize {
        self.engines.iter().map(|engine| engine.notes().requests()).sum()
    }

    fn reset_notes(&self) {
        self.engines.iter().for_each(EngineDouble::reset_notes);
    }
}

/// Raises the limit on open files. The usual limit of 1,024 is too low for both ends of all connections.
fn allow_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = Some(MOST_DESCRIPTORS as u64);
    if current.is_some() && current < enough {
        let current = enough;
        let raised = setrlimit(Resource::Nofile, Rlimit { current, maximum });
        assert!(
            raised.is_ok(),
            "this needs {MOST_DESCRIPTORS} descriptors; raise the hard limit (ulimit -Hn)"
        );
    }
}

/// Number of open file descriptors of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
