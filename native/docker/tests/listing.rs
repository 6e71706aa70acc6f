//! Tests `Directory::listing`: callers that wait for changes get each relevant change once and at once.

mod engine_double;
mod support;

use std::sync::Arc;
use std::time::Duration;

use eid_docker::{Container, Directory, Error, Filter, Listing, State};
use engine_double::{engine_at, EngineDouble, HostPorts, Misbehaviour, NewContainer, Times, Where};
use support::{
    after_the_second_list, at_once, closed, container, in_time, live, run_others, skip, until, until_agreed,
    until_live, until_quiet, StoppedClock, PATIENT,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longer failures are reported to callers. Shorter ones are not.
const GAP: Duration = Duration::from_secs(1);

fn directory(engine: &EngineDouble) -> Directory {
    Directory::new(engine.engine(PATIENT), None)
}

fn all() -> Filter {
    Filter::Name("*".to_owned())
}

fn in_cluster(name: &str) -> Filter {
    Filter::Label {
        key: "eid.cluster".to_owned(),
        value: Some(name.to_owned()),
    }
}

fn new(name: &str, cluster: &str) -> NewContainer {
    NewContainer::new(name).label("eid.cluster", cluster)
}

/// The digest and the sorted names of a successful listing.
fn names(listing: &Listing) -> (u64, Vec<String>) {
    let Listing::Changed { digest, containers } = listing else {
        panic!("{listing:?}")
    };
    let mut names: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
    names.sort();
    (*digest, names)
}

fn error(listing: &Listing) -> Error {
    match listing {
        Listing::Failed { error, .. } => error.clone(),
        Listing::Changed { .. } => panic!("{listing:?}"),
    }
}

async fn now(directory: &Directory, filter: &Filter) -> (u64, Vec<String>) {
    names(&in_time(directory.listing(filter, 0)).await)
}

/// A task that waits for a change.
fn waiting(directory: &Directory, filter: &Filter, known: u64) -> JoinHandle<Listing> {
    let (directory, filter) = (directory.clone(), filter.clone());
    tokio::spawn(async move { directory.listing(&filter, known).await })
}

/// The same, after the task has begun to wait.
async fn settled(directory: &Directory, filter: &Filter, known: u64) -> JoinHandle<Listing> {
    let waiting = waiting(directory, filter, known);
    run_others().await;
    assert!(!waiting.is_finished(), "{:?}", waiting.await);
    waiting
}

/// The listing that a waiting task gets. In real time the wait is short.
async fn told(waiting: JoinHandle<Listing>) -> (u64, Vec<String>) {
    until("the caller gets a listing", || waiting.is_finished()).await;
    names(&waiting.await.unwrap())
}

// Changes

#[tokio::test]
async fn containers_that_start_die_and_are_renamed() {
    let engine = EngineDouble::start();
    let id = engine.run(new("db", "shop").label("eid.node", "db@h"));
    engine.run(new("other", "club"));
    let directory = directory(&engine);
    let shop = in_cluster("shop");
    let listing = in_time(directory.listing(&shop, 0)).await;
    let Listing::Changed { containers, .. } = &listing else {
        panic!("{listing:?}")
    };
    let seen = |it: &Arc<Container>| (it.id.clone(), it.name.clone(), it.node().map(str::to_owned));
    assert_eq!(
        containers.iter().map(seen).collect::<Vec<_>>(),
        [(id, "db".to_owned(), Some("db@h".to_owned()))]
    );
    let one = listing.digest();
    assert_ne!(one, 0);

    let change = settled(&directory, &shop, one).await;
    engine.run(new("web", "shop"));
    let (two, names) = told(change).await;
    assert_eq!(names, ["db", "web"]);

    let change = settled(&directory, &shop, two).await;
    engine.rename("web", "store");
    let (three, names) = told(change).await;
    assert_eq!(names, ["db", "store"]);

    let change = settled(&directory, &shop, three).await;
    engine.die("store");
    // The containers are the same as at first, and so is the digest.
    assert_eq!(told(change).await, (one, vec!["db".to_owned()]));

    let change = settled(&directory, &shop, one).await;
    engine.remove("db");
    assert_eq!(told(change).await.1, [""; 0]);
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn who_waits_is_told_at_once() {
    let engine = EngineDouble::start();
    let directory = live(&engine).await;
    let (mut known, _) = now(&directory, &all()).await;
    for n in 0..20 {
        // With the clock stopped, the change must arrive without a timer.
        let _stopped = StoppedClock::stop();
        let change = settled(&directory, &all(), known).await;
        engine.run(new(&format!("c{n}"), "shop"));
        known = told(change).await.0;
    }
}

#[tokio::test]
async fn nobody_is_told_of_what_is_not_meant() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = live(&engine).await;
    let (known, _) = now(&directory, &in_cluster("shop")).await;
    let change = settled(&directory, &in_cluster("shop"), known).await;
    engine.run(new("other", "club"));
    engine.rename("other", "another");
    engine.connect("db", "net");
    engine.disconnect("db", "bridge");
    engine.die("another");
    engine.create(new("later", "shop"));
    // The first reported change is the next one.
    engine.run(new("web", "shop"));
    assert_eq!(told(change).await.1, ["db", "web"]);
}

#[tokio::test]
async fn one_that_is_asked_about_is_what_it_was_before() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = live(&engine).await;
    let (known, _) = now(&directory, &all()).await;
    engine.misbehave(Misbehaviour::HangBeforeHeaders, Where::Inspect, Times::Always);
    engine.reset_notes();
    engine.connect("db", "net");
    engine.until(|notes| notes.inspects == 1).await;
    assert_eq!(now(&directory, &all()).await, (known, vec!["db".to_owned()]));
    // The same holds after `doubt`.
    engine.behave();
    until_live(&directory).await;
    directory.doubt(&container("db"));
    let change = settled(&directory, &all(), known).await;
    engine.run(new("web", "shop"));
    assert_eq!(told(change).await.1, ["db", "web"]);
}

#[tokio::test]
async fn many_who_wait_are_all_told() {
    let engine = EngineDouble::start();
    let directory = live(&engine).await;
    let (shop, _) = now(&directory, &in_cluster("shop")).await;
    let waiting: Vec<_> = (0..500)
        .map(|_| waiting(&directory, &in_cluster("shop"), shop))
        .collect();
    let club = settled(&directory, &in_cluster("club"), shop).await;
    engine.run(new("db", "shop"));
    for waiting in waiting {
        assert_eq!(told(waiting).await.1, ["db"]);
    }
    assert!(!club.is_finished());
    club.abort();
    let notes = engine.notes();
    assert!(notes.lists <= 2 && notes.inspects <= 2, "{}", notes.summary());
}

#[tokio::test]
async fn a_burst_of_events_that_change_nothing() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop").publish(49153));
    let directory = live(&engine).await;
    let (known, _) = now(&directory, &all()).await;
    let change = settled(&directory, &all(), known).await;
    engine.misbehave(Misbehaviour::Burst, Where::OpenStreams, Times::Always);
    engine.signal("db");
    until("all events have come", || directory.info().events >= 10_000).await;
    until_agreed(&directory, &engine).await;
    assert!(!change.is_finished());
    change.abort();
}

#[tokio::test]
async fn ten_thousand_containers() {
    let engine = EngineDouble::start();
    let hostile = "x".repeat(3000);
    for n in 0..10_000 {
        let mut one = new(&format!("c{n}"), "shop");
        // One container in a hundred has long and hostile labels.
        if n % 100 == 0 {
            one = one.label("a", &hostile).label("\u{0}\u{202e}\"'\\", "\r\n");
        }
        engine.run(one);
    }
    let directory = live(&engine).await;
    let (known, found) = now(&directory, &in_cluster("shop")).await;
    assert_eq!(found.len(), 10_000);
    let change = settled(&directory, &in_cluster("shop"), known).await;
    engine.remove("c7");
    let (_, found) = told(change).await;
    assert_eq!(found.len(), 9_999);
}

#[tokio::test]
async fn labels_that_are_too_much() {
    let engine = EngineDouble::start();
    let mut hostile = NewContainer::new("db").publish(49153).label("eid.cluster", "shop");
    for n in 0..3000 {
        hostile = hostile.label(&format!("k{n}"), "");
    }
    hostile = hostile.label("long", &"é".repeat(100_000));
    engine.run(hostile);
    // A container with more ports than the directory keeps is still listed.
    let mut many_ports = new("ports", "shop").label("eid.node", "ports@h");
    for port in 1..300 {
        many_ports = many_ports.port(port, "tcp", "0.0.0.0", 40_000 + port);
    }
    engine.run(many_ports);
    let directory = live(&engine).await;
    let (known, found) = now(&directory, &in_cluster("shop")).await;
    assert_eq!(found, ["db", "ports"]);
    // A lookup of `db` needs no request.
    assert_eq!(support::known(&directory, "db"), Some(49153));
    for name in ["db", "ports"] {
        let change = settled(&directory, &in_cluster("shop"), known).await;
        engine.die(name);
        let (without, _) = told(change).await;
        let change = settled(&directory, &in_cluster("shop"), without).await;
        engine.start_container(name);
        assert_eq!(told(change).await, (known, vec!["db".to_owned(), "ports".to_owned()]));
    }
}

// Engines that go away

#[tokio::test]
async fn a_gap_is_not_told() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = live(&engine).await;
    let (known, _) = now(&directory, &all()).await;
    let change = settled(&directory, &all(), known).await;
    for events in 2..5 {
        // A session of this length does not count as a failed try, so the next one starts without a long wait.
        until_quiet(&directory, &engine).await;
        skip(Duration::from_secs(5)).await;
        engine.cut_streams();
        engine.until(|notes| notes.events == events).await;
        until_live(&directory).await;
    }
    engine.restart_engine(HostPorts::New);
    engine.until(|notes| notes.events == 5).await;
    until_live(&directory).await;
    assert!(!change.is_finished());
    // A caller that asks during a gap waits for its end.
    engine.cut_streams();
    until("it is not live", || directory.info().state == State::Connecting).await;
    assert_eq!(now(&directory, &all()).await, (known, vec!["db".to_owned()]));
    assert!(!change.is_finished());
    // The caller gets the changes made while the engine was down.
    engine.stop_engine();
    engine.remove("db");
    engine.run(new("web", "shop"));
    engine.start_engine();
    assert_eq!(told(change).await.1, ["web"]);
}

#[tokio::test]
async fn an_engine_that_is_away_for_long() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = live(&engine).await;
    let (known, _) = now(&directory, &all()).await;
    assert_eq!(directory.info().error, None);
    let change = settled(&directory, &all(), known).await;
    let began = Instant::now();
    engine.stop_engine();
    while !change.is_finished() {
        run_others().await;
        skip(Duration::from_millis(100)).await;
    }
    let failed = change.await.unwrap();
    assert_eq!(error(&failed), Error::unreachable("connection refused"));
    assert!(began.elapsed() >= GAP, "{:?}", began.elapsed());
    assert_ne!(failed.digest(), 0);
    assert_eq!(directory.info().error, Some(error(&failed)));
    // Further callers get the same error, each of them once.
    assert_eq!(in_time(directory.listing(&all(), 0)).await, failed);
    assert_eq!(in_time(directory.listing(&in_cluster("shop"), known)).await, failed);
    let change = settled(&directory, &all(), failed.digest()).await;
    for _ in 0..10 {
        skip(Duration::from_secs(3)).await;
        run_others().await;
        assert!(!change.is_finished());
    }
    engine.start_engine();
    assert_eq!(told(change).await, (known, vec!["db".to_owned()]));
    assert_eq!(directory.info().error, None);
}

#[tokio::test]
async fn an_engine_that_was_never_there() {
    let (_closed, address) = closed();
    let directory = Directory::new(engine_at(address, PATIENT), None);
    let failed = at_once(directory.listing(&all(), 0)).await;
    assert_eq!(error(&failed), Error::unreachable("connection refused"));
}

#[tokio::test]
async fn the_first_list_is_waited_for() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = directory(&engine);
    engine.misbehave(Misbehaviour::HangBeforeHeaders, Where::List, Times::Next(1));
    let first = settled(&directory, &all(), 0).await;
    engine.until(|notes| notes.lists == 1).await;
    skip(Duration::from_secs(900)).await;
    run_others().await;
    assert!(!first.is_finished());
    // If the first list never arrives, the listing fails. The next list succeeds.
    skip(Duration::from_secs(100)).await;
    let failed = in_time(first).await.unwrap();
    assert_eq!(error(&failed), Error::Timeout);
    assert_eq!(
        names(&in_time(directory.listing(&all(), failed.digest())).await).1,
        ["db"]
    );
}

// Engines that refuse events

#[tokio::test]
async fn refused_events() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    let directory = Directory::new(engine.engine(PATIENT), None);
    let (known, found) = now(&directory, &in_cluster("shop")).await;
    assert_eq!(
        (found, directory.info().state),
        (vec!["db".to_owned()], State::Inspecting)
    );
    assert!(matches!(
        directory.info().error,
        Some(Error::Refused { status: 403, .. })
    ));
    // 100 waiting callers share one list.
    let waiting: Vec<_> = (0..100)
        .map(|_| waiting(&directory, &in_cluster("shop"), known))
        .collect();
    let one = settled(&directory, &in_cluster("shop"), known).await;
    assert_eq!(engine.notes().lists, 1);
    skip(Duration::from_secs(6)).await;
    engine.until(|notes| notes.lists == 2).await;
    until_quiet(&directory, &engine).await;
    assert!(!one.is_finished());
    engine.run(new("web", "shop"));
    skip(Duration::from_secs(6)).await;
    assert_eq!(told(one).await.1, ["db", "web"]);
    for waiting in waiting {
        assert_eq!(told(waiting).await.1, ["db", "web"]);
    }
    assert_eq!((engine.notes().lists, engine.notes().events), (3, 1));
}

#[tokio::test]
async fn events_that_are_refused_for_some_time() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = Directory::new(engine.engine(PATIENT), None);
    let (known, _) = now(&directory, &all()).await;
    let change = settled(&directory, &all(), known).await;
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    engine.cut_streams();
    until("it inspects", || directory.info().state == State::Inspecting).await;
    // A list must give the same digest as events.
    until_quiet(&directory, &engine).await;
    assert!(!change.is_finished());
    engine.behave();
    skip(Duration::from_secs(61)).await;
    until_live(&directory).await;
    until_quiet(&directory, &engine).await;
    assert!(!change.is_finished());
    engine.run(new("web", "shop"));
    assert_eq!(told(change).await.1, ["db", "web"]);
}

#[tokio::test]
async fn lists_that_are_refused_too() {
    let engine = EngineDouble::start();
    engine.misbehave(Misbehaviour::Forbidden, Where::Any, Times::Always);
    let directory = directory(&engine);
    let failed = in_time(directory.listing(&all(), 0)).await;
    assert!(
        matches!(error(&failed), Error::Refused { status: 403, .. }),
        "{failed:?}"
    );
    let change = settled(&directory, &all(), failed.digest()).await;
    for _ in 0..3 {
        until_quiet(&directory, &engine).await;
        let lists = engine.notes().lists;
        skip(Duration::from_secs(5)).await;
        engine.until(|notes| notes.lists > lists).await;
    }
    until_quiet(&directory, &engine).await;
    assert!(!change.is_finished());
    change.abort();
}

// Open and closed directories

#[tokio::test]
async fn a_directory_stays_open_while_somebody_waits() {
    let engine = EngineDouble::start();
    engine.run(new("db", "shop"));
    let directory = Directory::new(engine.engine(PATIENT), None);
    let (known, _) = now(&directory, &all()).await;
    let change = settled(&directory, &all(), known).await;
    after_the_second_list(&directory, &engine).await;
    for _ in 0..5 {
        skip(Duration::from_secs(61)).await;
        until_quiet(&directory, &engine).await;
    }
    assert_eq!((directory.info().state, engine.notes().events), (State::Live, 1));
    change.abort();
    // The directory counts the aborted wait as its last use.
    run_others().await;
    skip(Duration::from_secs(50)).await;
    until_quiet(&directory, &engine).await;
    assert_eq!(directory.info().state, State::Live);
    skip(Duration::from_secs(61)).await;
    until("it closes", || directory.info().state == State::Closed).await;
    assert_eq!(now(&directory, &all()).await, (known, vec!["db".to_owned()]));
}
