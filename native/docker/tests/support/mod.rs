//! What the tests of directories have in common.

// Each test uses some of it.
#![allow(dead_code)]

use std::future::Future;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use eid_docker::{Bridge, ContainerRef, Directory, Error, NodeName, State, Wanted};
use tokio::time::sleep;

use crate::engine_double::{EngineDouble, ERLANG_PORT};

/// Long after everything should have happened.
pub const FAR_TOO_LONG: Duration = Duration::from_secs(20);

/// The address of the double's host, as node names have it.
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

/// The port that memory says.
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

/// Waits until it is so. The clock on the wall counts, and not that of tokio.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < FAR_TOO_LONG, "waited in vain: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

pub async fn until_live(directory: &Directory) {
    until("it is live", || directory.info().state == State::Live).await;
}

/// A directory of this engine that is live.
pub async fn live(engine: &EngineDouble) -> Directory {
    let directory = Directory::new(engine.engine(eid_docker::Limits::default()), None);
    open(&directory).await;
    until_live(&directory).await;
    directory
}

/// Asks for something, so that the directory opens.
pub async fn open(directory: &Directory) {
    let _ = in_time(directory.names(host(), ERLANG_PORT)).await;
}

/// Sets the clock of tokio forward. Whatever is due by then is due now, the limits of requests too; so this is for
/// moments at which none is under way. The engine's double has a clock of its own.
pub async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
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

/// Whether memory says of all containers what the engine's list says, by ID, by the beginning of the ID and by name, and
/// knows no other. Each is published on one port.
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
        sleep(Duration::from_millis(1)).await;
    }
}
