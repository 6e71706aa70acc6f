//! Helpers for tests of directories.

// Each test file uses only some of these helpers.
#![allow(dead_code)]

use std::cell::Cell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::mpsc::{channel, Sender};
use std::thread;
use std::time::{Duration, Instant};

use eid_docker::{Bridge, ContainerRef, Directory, Error, Limits, NodeName, State, Wanted};
use tokio::net::TcpSocket;
use tokio::task::{spawn_blocking, yield_now};

use crate::engine_double::{EngineDouble, ERLANG_PORT};

/// Upper limit for every wait. A test that reaches it hangs.
pub const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// Limits that are never reached, even on a busy machine and when a test sets the clock forward.
pub const PATIENT: Limits = Limits {
    connect: Duration::from_secs(1000),
    response: Duration::from_secs(1000),
    body: 1024 * 1024,
};

/// Time between a directory's first and second list.
const SECOND_LIST: Duration = Duration::from_secs(1);

/// The address of the engine double's host, as in node names.
pub fn host() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

pub fn wanted() -> Wanted {
    Wanted {
        host: host(),
        erlang_port: ERLANG_PORT,
        bridge: Bridge::Preferred,
    }
}

pub fn container(text: &str) -> ContainerRef {
    NodeName::parse(format!("{text}@192.0.2.1"))
        .unwrap()
        .container()
        .clone()
}

/// The port in the directory's cache.
pub fn known(directory: &Directory, text: &str) -> Option<u16> {
    let route = directory.known_route(text, &wanted())?;
    Some(route.to.port())
}

/// The port that a lookup finds.
pub async fn find(directory: &Directory, text: &str) -> Result<u16, Error> {
    let found = in_time(directory.route(&container(text), &wanted())).await;
    found.map(|route| route.to.port())
}

pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(FAR_TOO_LONG, what).await.expect("it hangs")
}

/// Waits until the condition is true. The time limit uses real time, because tokio's clock may be stopped.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < FAR_TOO_LONG, "timed out waiting until {what}");
        a_moment().await;
    }
}

/// Lets other threads run, and then all tasks of this thread.
pub async fn a_moment() {
    thread::sleep(Duration::from_millis(1));
    run_others().await;
}

/// Runs all other tasks of the test's only thread until they wait for an external event.
pub async fn run_others() {
    // At each yield, tokio runs up to 61 tasks. Then it checks the network and the timers.
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Waits until no request is in flight between a directory and its engine, and the directory has processed all answers.
/// The engine must answer every request.
pub async fn until_quiet(directory: &Directory, engine: &EngineDouble) {
    let is_quiet = || {
        let notes = engine.notes();
        notes.unanswered == 0 && notes.requests() as u64 == directory.info().requests
    };
    let began = Instant::now();
    loop {
        until("all is answered", is_quiet).await;
        run_others().await;
        // Check again, because an answer may have caused another request.
        if is_quiet() {
            return;
        }
        assert!(began.elapsed() < FAR_TOO_LONG, "{:?}", directory.info());
    }
}

/// Waits until no request is in flight between a live directory and its engine. The next one then comes a minute later.
pub async fn after_the_second_list(directory: &Directory, engine: &EngineDouble) {
    until_quiet(directory, engine).await;
    let lists = engine.notes().lists;
    skip(SECOND_LIST).await;
    until("it lists again", || engine.notes().lists > lists).await;
    until_quiet(directory, engine).await;
}

thread_local! {
    static IS_STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Stops tokio's clock until this is dropped. Answers still arrive, but time passes only through [`skip`].
#[must_use]
pub struct StoppedClock {
    _goes_on: Sender<()>,
}

impl StoppedClock {
    pub fn stop() -> Self {
        let (sender, goes_on) = channel::<()>();
        tokio::time::pause();
        // While this blocking task runs, tokio does not move a paused clock forward when all tasks wait.
        spawn_blocking(move || goes_on.recv());
        IS_STOPPED.set(true);
        Self { _goes_on: sender }
    }
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        IS_STOPPED.set(false);
        tokio::time::resume();
    }
}

/// The outcome of a future that must finish while the clock is stopped.
pub async fn at_once<T>(what: impl Future<Output = T>) -> T {
    let _stopped = StoppedClock::stop();
    tokio::select! {
        outcome = what => outcome,
        () = until("it ends", || false) => unreachable!("the condition is never true"),
    }
}

/// The outcome of a future that waits only for the engine's answers. The clock is stopped while an answer is pending,
/// so slow answers cause no timeout.
pub async fn as_soon_as_answered<T>(directory: &Directory, engine: &EngineDouble, what: impl Future<Output = T>) -> T {
    let mut what = pin!(what);
    let _stopped = StoppedClock::stop();
    let began = Instant::now();
    loop {
        tokio::select! {
            biased;
            outcome = what.as_mut() => return outcome,
            () = a_moment() => {}
        }
        assert!(began.elapsed() < FAR_TOO_LONG, "it hangs: {:?}", directory.info());
        let notes = engine.notes();
        if notes.unanswered == 0 && notes.requests() as u64 == directory.info().requests {
            // Even a timer without delay fires only at the next tick.
            skip(Duration::from_millis(1)).await;
        }
    }
}

/// A loopback address that refuses connections. The socket holds the port, so that no other program gets it during the
/// test.
pub fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub async fn until_live(directory: &Directory) {
    until("it is live", || directory.info().state == State::Live).await;
}

/// A directory of this engine, once it is live.
pub async fn live(engine: &EngineDouble) -> Directory {
    let directory = Directory::new(engine.engine(PATIENT), None);
    open(&directory).await;
    until_live(&directory).await;
    directory
}

/// Asks for the names, which opens the directory.
pub async fn open(directory: &Directory) {
    let _ = in_time(directory.names(host(), ERLANG_PORT)).await;
}

/// Sets tokio's clock forward. All timers that are due by then fire now, including the time limits of requests. Use
/// this only if no request is in flight. The engine double has a separate clock.
pub async fn skip(time: Duration) {
    if IS_STOPPED.get() {
        tokio::time::advance(time).await;
    } else {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }
}

/// ID, name and host port of each container that the engine lists.
pub fn listed(engine: &EngineDouble) -> Vec<(String, String, u16)> {
    let list = engine.listed();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let one = |listed: &serde_json::Value| {
        let port = listed["Ports"][0]["PublicPort"].as_u64().unwrap_or_default();
        let name = text(&listed["Names"][0]).trim_start_matches('/').to_owned();
        (text(&listed["Id"]), name, u16::try_from(port).unwrap())
    };
    list.as_array().unwrap().iter().map(one).collect()
}

/// Returns true if the cache and the engine's list have the same containers and ports. Checks each container by its ID,
/// by a prefix of its ID and by its name. Each must be published on one port.
pub fn agrees(directory: &Directory, engine: &EngineDouble) -> bool {
    let list = listed(engine);
    let is_known = |(id, name, port): &(String, String, u16)| {
        [id, &id[..12], name]
            .iter()
            .all(|text| known(directory, text) == Some(*port))
    };
    directory.info().containers == list.len() && list.iter().all(is_known)
}

pub async fn until_agreed(directory: &Directory, engine: &EngineDouble) {
    let began = Instant::now();
    while !agrees(directory, engine) {
        assert!(
            began.elapsed() < FAR_TOO_LONG,
            "the engine: {:?}\nthe directory: {:?}\n{:?}",
            listed(engine),
            listed(engine)
                .iter()
                .map(|(id, ..)| known(directory, id))
                .collect::<Vec<_>>(),
            directory.info()
        );
        a_moment().await;
    }
}
