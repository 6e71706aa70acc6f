//! Tests directories: lookups, and how a directory follows an engine whose containers change.

mod engine_double;
mod support;

use std::time::{Duration, Instant};

use eid_docker::{Directory, Error, Limits, Route, RouteKind, State};
use engine_double::{engine_at, EngineDouble, HostPorts, Kind, Misbehaviour, NewContainer, Times, Where, ERLANG_PORT};
use support::{
    after_the_second_list, agrees, as_soon_as_answered, at_once, closed, container, find, host, in_time, known, live,
    open, run_others, skip, until, until_agreed, until_live, until_quiet, wanted, StoppedClock, PATIENT,
};
use tokio::time::timeout;

fn directory(engine: &EngineDouble) -> Directory {
    Directory::new(engine.engine(PATIENT), None)
}

async fn route_to(directory: &Directory, text: &str) -> Result<Route, Error> {
    in_time(directory.route(&container(text), &wanted())).await
}

/// Starts this number of lookups at the same time. `name` makes the name for each lookup from its number.
async fn all_at_once(directory: &Directory, count: usize, name: impl Fn(usize) -> String) -> Vec<Result<u16, Error>> {
    let asked: Vec<_> = (0..count)
        .map(|n| {
            let (directory, name) = (directory.clone(), name(n));
            tokio::spawn(async move { find(&directory, &name).await })
        })
        .collect();
    let mut found = vec![];
    for asked in asked {
        found.push(asked.await.unwrap());
    }
    found
}

// Lookups

#[tokio::test]
async fn a_warm_lookup_makes_no_request() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    engine.add("web", 49154);
    let directory = live(&engine).await;
    let before = engine.notes().requests();
    for text in [&id[..], "db", &id[..12], &id[..40]] {
        assert_eq!(known(&directory, text), Some(49153), "{text}");
        assert_eq!(find(&directory, text).await, Ok(49153), "{text}");
    }
    assert_eq!(known(&directory, "web"), Some(49154));
    assert_eq!(engine.notes().requests(), before);
}

#[tokio::test]
async fn the_first_lookup_opens_and_waits_for_the_list() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = directory(&engine);
    assert_eq!(directory.info().state, State::Closed);
    assert_eq!(known(&directory, "db"), None);
    let found = as_soon_as_answered(&directory, &engine, find(&directory, "db")).await;
    assert_eq!(found, Ok(49153));
    let notes = engine.notes();
    assert_eq!((notes.pings, notes.events, notes.lists, notes.inspects), (1, 1, 1, 0));
    assert_eq!(directory.info().state, State::Live);
}

#[tokio::test]
async fn a_prefix_of_several_ids_is_left_to_the_engine() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    engine.misbehave(Misbehaviour::AmbiguousPrefix, Where::List, Times::Always);
    let directory = live(&engine).await;
    assert_eq!(known(&directory, &id[..12]), None);
    assert_eq!(
        (known(&directory, &id), known(&directory, "db")),
        (Some(49153), Some(49153))
    );
    assert_eq!(find(&directory, &id[..12]).await, Ok(49153));
    engine.misbehave(Misbehaviour::AmbiguousPrefix, Where::Inspect, Times::Always);
    assert_eq!(find(&directory, &id[..12]).await, Err(Error::NoSuchContainer));
}

#[tokio::test]
async fn equal_lookups_of_what_is_not_in_memory_share_one_inspect() {
    let engine = EngineDouble::start();
    let stopped = engine.create(NewContainer::new("stopped").publish(49153));
    let directory = live(&engine).await;
    engine.misbehave(Misbehaviour::Late, Where::Inspect, Times::Always);
    for (name, error) in [
        ("nobody", Error::NoSuchContainer),
        ("stopped", Error::NotRunning),
        (&stopped, Error::NotRunning),
    ] {
        engine.reset_notes();
        for found in all_at_once(&directory, 100, |_| name.to_owned()).await {
            assert_eq!(found, Err(error.clone()));
        }
        assert_eq!(engine.notes().inspects, 1, "{name}");
    }
}

#[tokio::test]
async fn a_thousand_cold_lookups_make_a_handful_of_requests() {
    let engine = EngineDouble::start();
    engine.add_many(1000, "c");
    let ports: std::collections::HashMap<_, _> = support::listed(&engine)
        .into_iter()
        .map(|(_, name, port)| (name, port))
        .collect();
    let directory = directory(&engine);
    let all = all_at_once(&directory, 1000, |n| format!("c{n}"));
    let found = as_soon_as_answered(&directory, &engine, all).await;
    assert!(engine.notes().requests() <= 10, "{:?}", engine.notes().summary());
    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(found, Ok(ports[&format!("c{n}")]), "{n}");
    }
    assert_eq!(directory.info().lookups, [("ok", 1000)]);
    assert_eq!(directory.info().containers, 1000);
}

#[tokio::test]
async fn a_thousand_equal_cold_lookups() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let warm = directory(&engine);
    let found = as_soon_as_answered(&warm, &engine, all_at_once(&warm, 1000, |_| "db".to_owned())).await;
    assert!(found.iter().all(|found| *found == Ok(49153)));
    let notes = engine.notes();
    assert_eq!((notes.pings, notes.events, notes.lists, notes.inspects), (1, 1, 1, 0));
    // Now the same for a container that does not exist.
    engine.reset_notes();
    let cold = directory(&engine);
    // The first directory sends no requests meanwhile, because its clock is stopped too.
    let found = as_soon_as_answered(&cold, &engine, all_at_once(&cold, 1000, |_| "nobody".to_owned())).await;
    assert!(found.iter().all(|found| *found == Err(Error::NoSuchContainer)));
    let notes = engine.notes();
    assert!(
        notes.pings + notes.events + notes.lists + notes.inspects <= 4,
        "{}",
        notes.summary()
    );
}

#[tokio::test]
async fn a_list_that_takes_long_is_not_waited_for() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    engine.misbehave(Misbehaviour::HangAfterHeaders, Where::List, Times::Next(1));
    let directory = directory(&engine);
    let began = Instant::now();
    assert_eq!(find(&directory, "db").await, Ok(49153));
    assert!(began.elapsed() >= Duration::from_secs(1));
    // Later lookups do not wait, because the container is already in the cache.
    assert_eq!(at_once(find(&directory, "db")).await, Ok(49153));
    assert_eq!(
        (directory.info().state, engine.notes().inspects),
        (State::Connecting, 2)
    );
}

// Changes

#[tokio::test]
async fn a_container_that_starts_while_the_list_is_under_way() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let list = engine.hold(Kind::List);
    let directory = directory(&engine);
    let opening = tokio::spawn({
        let directory = directory.clone();
        async move { open(&directory).await }
    });
    // The engine has made the list and has not sent it yet.
    engine.until(|notes| notes.held == 1).await;
    let id = engine.add("web", 49154);
    engine.restart_at("db", 49155);
    list.open();
    opening.await.unwrap();
    until_agreed(&directory, &engine).await;
    assert_eq!(
        (known(&directory, &id), known(&directory, "db")),
        (Some(49154), Some(49155))
    );
    // The directory learned of the changes from the events of its first subscription.
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn a_list_from_before_an_event_does_not_overrule_it() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    let directory = live(&engine).await;
    let list = engine.hold(Kind::List);
    // This is the second list, a second after the first.
    engine.until(|notes| notes.held == 1).await;
    engine.restart_at("db", 49154);
    until("the new port is known", || known(&directory, "db") == Some(49154)).await;
    list.open();
    until_quiet(&directory, &engine).await;
    assert_eq!(known(&directory, &id), Some(49154));
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn the_new_port_of_a_container_that_restarts() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    let directory = live(&engine).await;
    for port in 50_000..50_020 {
        engine.restart_at("db", port);
        until("the new port is known", || known(&directory, &id) == Some(port)).await;
    }
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
    assert!(directory.info().events >= 20);
}

#[tokio::test]
async fn containers_that_stop_start_die_and_go() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    let gone = async |error| {
        until("it is gone", || directory.info().containers == 0).await;
        assert_eq!(known(&directory, "db"), None);
        assert_eq!(find(&directory, "db").await, Err(error));
    };
    engine.stop("db");
    gone(Error::NotRunning).await;
    engine.start_at("db", 49154);
    until_agreed(&directory, &engine).await;
    engine.die("db");
    gone(Error::NotRunning).await;
    engine.start_at("db", 49155);
    until_agreed(&directory, &engine).await;
    engine.remove("db");
    gone(Error::NoSuchContainer).await;
    // A new container with the same name.
    engine.add("db", 49156);
    until_agreed(&directory, &engine).await;
    assert_eq!(known(&directory, "db"), Some(49156));
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn what_changes_nothing_is_not_asked_about() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.signal("db");
    engine.create(NewContainer::new("later"));
    // The directory inspects the container that starts after this, and no other.
    let id = engine.add("web", 49154);
    until("the last one is known", || known(&directory, "web") == Some(49154)).await;
    let inspects = engine.notes().paths.into_iter().skip(3);
    let others: Vec<String> = inspects.filter(|path| !path.contains(&id)).collect();
    assert!(
        others.iter().all(|path| path.ends_with("/containers/json")),
        "{others:?}"
    );
    assert_eq!(known(&directory, "db"), Some(49153));
}

#[tokio::test]
async fn a_container_that_is_renamed() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.rename("db", "store");
    until("the new name is known", || known(&directory, "store") == Some(49153)).await;
    assert_eq!((known(&directory, "db"), known(&directory, &id)), (None, Some(49153)));
    assert_eq!(find(&directory, "db").await, Err(Error::NoSuchContainer));
}

#[tokio::test]
async fn a_name_that_goes_from_one_container_to_another() {
    let engine = EngineDouble::start();
    engine.add("blue", 50_000);
    engine.add("green", 50_001);
    let directory = live(&engine).await;
    // Both names have changed before the directory inspects either container. The order of the answers is random.
    for n in 0..50 {
        engine.rename("blue", "old");
        engine.rename("green", "blue");
        engine.rename("old", "green");
        let blue = if n % 2 == 0 { 50_001 } else { 50_000 };
        until("blue is known", || known(&directory, "blue") == Some(blue)).await;
        until_agreed(&directory, &engine).await;
    }
    for port in 50_010..50_060 {
        engine.remove("blue");
        engine.add("blue", port);
        until("blue is known", || known(&directory, "blue") == Some(port)).await;
    }
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn networks_that_are_connected_and_disconnected() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.disconnect("db", "bridge");
    until("nothing is published", || known(&directory, "db").is_none()).await;
    assert_eq!(find(&directory, "db").await, Err(Error::NotPublished));
    engine.connect("db", "shop");
    until_agreed(&directory, &engine).await;
    assert_ne!(known(&directory, "db"), Some(49153));
    engine.connect("db", "bridge");
    engine.disconnect("db", "shop");
    until_agreed(&directory, &engine).await;
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn more_events_than_can_be_asked_about_are_a_reason_to_list() {
    let engine = EngineDouble::start();
    let ids = engine.add_many(600, "c");
    // With the default limits, requests that hang block further inspects until they time out.
    let directory = Directory::new(engine.engine(Limits::default()), None);
    open(&directory).await;
    until_live(&directory).await;
    // Even on a slow machine, the limit on concurrent requests allows only this few inspects.
    engine.misbehave(Misbehaviour::HangBeforeHeaders, Where::Inspect, Times::Always);
    for id in &ids {
        engine.restart_at(id, engine.free_host_port());
    }
    until_agreed(&directory, &engine).await;
    assert!(engine.notes().inspects < 100, "{}", engine.notes().summary());
    assert!(engine.notes().lists >= 2 && directory.info().resyncs >= 1);
}

#[tokio::test]
async fn a_container_that_changes_all_the_time_is_asked_about_once_at_a_time() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.misbehave(Misbehaviour::Burst, Where::OpenStreams, Times::Always);
    engine.restart_at("db", 49154);
    until("all events have come", || directory.info().events >= 10_000).await;
    until_agreed(&directory, &engine).await;
    let notes = engine.notes();
    assert!(notes.connections < 8 && notes.inspects < 1000, "{}", notes.summary());
    assert_eq!(directory.info().resyncs, 0);
}

#[tokio::test]
async fn after_a_doubt_the_engine_is_asked_again() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.misbehave(Misbehaviour::Late, Where::Inspect, Times::Always);
    for text in ["db", &id, &id[..12]] {
        engine.reset_notes();
        directory.doubt(&container(text));
        assert_eq!(
            (known(&directory, &id), known(&directory, "db")),
            (None, None),
            "{text}"
        );
        assert_eq!(find(&directory, text).await, Ok(49153));
        until("it is known again", || known(&directory, "db") == Some(49153)).await;
        // One inspect is for the lookup, one is for the watcher. If both use the same text at the same time, they share
        // one.
        assert!((1..=2).contains(&engine.notes().inspects), "{text}");
    }
    // A request that started before `doubt` was called does not answer a later lookup.
    let before = tokio::spawn({
        let directory = directory.clone();
        async move { find(&directory, "nobody").await }
    });
    engine.reset_notes();
    engine.until(|notes| notes.inspects == 1).await;
    directory.doubt(&container("nobody"));
    assert_eq!(find(&directory, "nobody").await, Err(Error::NoSuchContainer));
    assert_eq!(before.await.unwrap(), Err(Error::NoSuchContainer));
    assert_eq!(engine.notes().inspects, 2);
}

// Missing events

fn forbidden() -> Error {
    Error::Refused {
        status: 403,
        message: "<html><body><h1>403 Forbidden</h1> Request forbidden by administrative rules. </body></html>"
            .to_owned(),
    }
}

#[tokio::test]
async fn events_that_are_refused() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    let directory = directory(&engine);
    assert_eq!(directory.take_notice(), None);
    for port in [49153, 49154] {
        let found = as_soon_as_answered(&directory, &engine, find(&directory, "db")).await;
        assert_eq!(found, Ok(port));
        assert_eq!(
            (known(&directory, "db"), directory.info().state),
            (None, State::Inspecting)
        );
        engine.restart_at("db", 49154);
    }
    assert_eq!(directory.take_notice(), Some(forbidden()));
    assert_eq!(directory.take_notice(), None);
    assert_eq!(find(&directory, "nobody").await, Err(Error::NoSuchContainer));
    assert_eq!((engine.notes().events, engine.notes().inspects), (1, 3));
    // The directory subscribes again once a minute, and reports the refusal only once.
    skip(Duration::from_secs(40)).await;
    assert_eq!(find(&directory, "db").await, Ok(49154));
    assert_eq!(engine.notes().events, 1);
    skip(Duration::from_secs(21)).await;
    engine.until(|notes| notes.events == 2).await;
    until("it has been refused again", || {
        directory.info().state == State::Inspecting
    })
    .await;
    assert_eq!(find(&directory, "db").await, Ok(49154));
    assert_eq!(directory.take_notice(), None);
    // At the next try the engine accepts the subscription.
    engine.behave();
    skip(Duration::from_secs(40)).await;
    assert_eq!(find(&directory, "db").await, Ok(49154));
    skip(Duration::from_secs(21)).await;
    until_live(&directory).await;
    assert!(agrees(&directory, &engine));
}

#[tokio::test]
async fn a_stream_that_died_silently_is_found_out_within_a_minute() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    after_the_second_list(&directory, &engine).await;
    engine.misbehave(Misbehaviour::Silent, Where::OpenStreams, Times::Always);
    engine.restart_at("db", 49154);
    engine.add("web", 49155);
    assert_eq!(find(&directory, "web").await, Ok(49155));
    assert_eq!(known(&directory, "db"), Some(49153));
    until_quiet(&directory, &engine).await;
    skip(Duration::from_secs(30)).await;
    until_quiet(&directory, &engine).await;
    assert_eq!((known(&directory, "db"), engine.notes().lists), (Some(49153), 2));
    skip(Duration::from_secs(30)).await;
    until_agreed(&directory, &engine).await;
    // The list showed a change that no event had reported, so the directory replaces the event stream.
    engine.until(|notes| notes.events == 2).await;
    until_agreed(&directory, &engine).await;
    assert_eq!(directory.info().resyncs, 1);
    engine.behave();
    engine.restart_at("db", 49156);
    until_agreed(&directory, &engine).await;
}

#[tokio::test]
async fn an_event_may_come_a_little_later_than_the_list_that_shows_its_change() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    after_the_second_list(&directory, &engine).await;
    engine.misbehave(Misbehaviour::Silent, Where::OpenStreams, Times::Always);
    engine.restart_at("db", 49154);
    skip(Duration::from_secs(30)).await;
    assert_eq!(known(&directory, "db"), Some(49153));
    // With the clock stopped, the event arrives within the same second even on a slow machine.
    let clock = StoppedClock::stop();
    skip(Duration::from_secs(30)).await;
    until_agreed(&directory, &engine).await;
    engine.behave();
    engine.restart_at("db", 49155);
    until_agreed(&directory, &engine).await;
    until_quiet(&directory, &engine).await;
    drop(clock);
    skip(Duration::from_millis(1500)).await;
    // The directory keeps the same stream.
    engine.restart_at("db", 49156);
    until_agreed(&directory, &engine).await;
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn a_list_that_tells_nothing_new_leaves_the_stream_alone() {
    let engine = EngineDouble::start();
    engine.add_many(20, "c");
    engine.run(NewContainer::new("on-host").host_network());
    engine.run(NewContainer::new("unpublished"));
    let directory = live(&engine).await;
    after_the_second_list(&directory, &engine).await;
    for lists in 3..10 {
        skip(Duration::from_secs(30)).await;
        assert!(known(&directory, "c1").is_some());
        skip(Duration::from_secs(30)).await;
        engine.until(|notes| notes.lists == lists).await;
        until_quiet(&directory, &engine).await;
    }
    assert_eq!((engine.notes().events, directory.info().resyncs), (1, 0));
}

#[tokio::test]
async fn a_stream_that_is_cut_is_replaced() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    for n in 1..=3 {
        engine.cut_streams();
        engine.restart_at("db", 49153 + n);
        engine.until(|notes| notes.events == 1 + usize::from(n)).await;
        until_agreed(&directory, &engine).await;
        assert_eq!(directory.info().resyncs, u64::from(n));
    }
}

#[tokio::test]
async fn an_engine_that_restarts_as_another_version() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.stop_engine();
    until("it is not live", || directory.info().state == State::Connecting).await;
    assert_eq!(
        find(&directory, "db").await,
        Err(Error::unreachable("connection refused"))
    );
    engine.set_versions("1.44", "1.52");
    engine.restart_engine(HostPorts::New);
    until_agreed(&directory, &engine).await;
    assert!(engine.notes().paths.last().unwrap().starts_with("/v1.52/"));
}

#[tokio::test]
async fn reconnects_are_few() {
    let engine = EngineDouble::start();
    let directory = live(&engine).await;
    let connections = engine.notes().connections;
    // The engine accepts each connection and closes it.
    engine.misbehave(Misbehaviour::Close, Where::Any, Times::Always);
    let began = Instant::now();
    engine.cut_streams();
    // The directory sends a request twice if the connection is closed, so eight connections are at least four tries.
    engine.until(|notes| notes.connections >= connections + 8).await;
    // The waits before the tries are 200, 400, 800 and 1600 ms, each shortened at random by up to half.
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(directory.info().state, State::Connecting);
    engine.behave();
    until_live(&directory).await;
}

#[tokio::test]
async fn an_engine_that_is_away_for_long_is_found_again() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    engine.stop_engine();
    until("it is not live", || directory.info().state == State::Connecting).await;
    let requests = directory.info().requests;
    for _ in 0..30 {
        // A refused connection fails at once, so now the directory waits before its next try.
        run_others().await;
        skip(Duration::from_secs(3)).await;
    }
    let tries = directory.info().requests - requests;
    assert!((15..=60).contains(&tries), "{tries} in 90 s");
    assert!(find(&directory, "db").await.is_err());
    engine.start_engine();
    until_agreed(&directory, &engine).await;
}

// Directories without lookups

#[tokio::test]
async fn a_directory_that_nobody_asks_closes() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    after_the_second_list(&directory, &engine).await;
    skip(Duration::from_secs(50)).await;
    // A read from the cache counts as a use.
    assert_eq!(known(&directory, "db"), Some(49153));
    skip(Duration::from_secs(20)).await;
    until_quiet(&directory, &engine).await;
    assert_eq!(directory.info().state, State::Live);
    skip(Duration::from_secs(41)).await;
    until("it closes", || directory.info().state == State::Closed).await;
    engine.until(|notes| notes.subscribers == 0).await;
    assert_eq!((known(&directory, "db"), directory.info().containers), (None, 0));
    // The connection pool closes idle connections 10 s later.
    skip(Duration::from_secs(21)).await;
    engine.until(|notes| notes.open == 0).await;
    // After it opens again, the directory knows the changes made while it was closed.
    engine.restart_at("db", 49154);
    let found = as_soon_as_answered(&directory, &engine, find(&directory, "db")).await;
    assert_eq!(found, Ok(49154));
    assert_eq!(
        (directory.info().state, known(&directory, "db")),
        (State::Live, Some(49154))
    );
    assert_eq!(engine.notes().inspects, 0);
    // The directory follows the events again.
    engine.restart_at("db", 49155);
    until_agreed(&directory, &engine).await;
}

#[tokio::test]
async fn a_directory_closes_while_its_engine_is_away_or_refuses() {
    let engine = EngineDouble::start();
    let directories = [Misbehaviour::Refuse, Misbehaviour::Forbidden].map(|misbehaviour| {
        let engine = EngineDouble::start();
        engine.misbehave(misbehaviour, Where::Any, Times::Always);
        (directory(&engine), engine)
    });
    for (directory, _) in &directories {
        open(directory).await;
    }
    for (directory, engine) in &directories {
        let begun = Instant::now();
        while directory.info().state != State::Closed {
            assert!(begun.elapsed() < support::FAR_TOO_LONG, "{:?}", directory.info());
            run_others().await;
            skip(Duration::from_secs(30)).await;
        }
        let (requests, notes) = (directory.info().requests, engine.notes().requests());
        skip(Duration::from_secs(1000)).await;
        run_others().await;
        assert_eq!(
            (directory.info().requests, engine.notes().requests()),
            (requests, notes)
        );
    }
    drop(engine);
}

#[tokio::test]
async fn many_who_ask_at_once_open_it_once() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let directory = live(&engine).await;
    for round in 2..6 {
        until_quiet(&directory, &engine).await;
        skip(Duration::from_secs(61)).await;
        until("it closes", || directory.info().state == State::Closed).await;
        as_soon_as_answered(&directory, &engine, all_at_once(&directory, 50, |_| "db".to_owned())).await;
        assert_eq!((engine.notes().events, directory.info().state), (round, State::Live));
        engine.until(|notes| notes.subscribers == 1).await;
    }
}

#[tokio::test]
async fn what_is_dropped_leaves_no_connection() {
    let engine = EngineDouble::start();
    engine.add_many(100, "c");
    let directory = live(&engine).await;
    after_the_second_list(&directory, &engine).await;
    all_at_once(&directory, 100, |n| format!("x{n}")).await;
    assert!(engine.notes().open > 0);
    skip(Duration::from_secs(61)).await;
    until("it closes", || directory.info().state == State::Closed).await;
    drop(directory);
    engine.until(|notes| notes.open == 0).await;
}

// Routes

#[tokio::test]
async fn routes_of_a_container_on_the_same_engine() {
    let engine = EngineDouble::start();
    let own = engine.add("own", 49153);
    engine.add("db", 49154);
    engine.run(NewContainer::new("shop").network("shop").publish(49155));
    engine.run(NewContainer::new("on-host").host_network());
    let directory = Directory::new(engine.engine(PATIENT), Some(&own));
    open(&directory).await;
    until_live(&directory).await;
    let address = |name: &str, network: &str| {
        let inspected = engine.inspected(name);
        let ip = &inspected["NetworkSettings"]["Networks"][network]["IPAddress"];
        ip.as_str().unwrap().parse().unwrap()
    };
    let expected = |kind, ip, port| {
        Ok(Route {
            kind,
            to: std::net::SocketAddr::new(ip, port),
        })
    };
    let table = [
        (
            "own",
            expected(RouteKind::Loopback, "127.0.0.1".parse().unwrap(), ERLANG_PORT),
        ),
        ("db", expected(RouteKind::Bridge, address("db", "bridge"), ERLANG_PORT)),
        ("shop", expected(RouteKind::Published, host(), 49155)),
        ("on-host", expected(RouteKind::Host, host(), ERLANG_PORT)),
    ];
    for (name, route) in &table {
        assert_eq!(route_to(&directory, name).await, *route, "{name}");
        assert_eq!(
            directory.known_route(name, &wanted()).ok_or(Error::Timeout),
            *route,
            "{name}"
        );
    }
    assert_eq!(engine.notes().inspects, 0);
    // Now the routes come from inspects.
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    engine.cut_streams();
    until("it inspects", || directory.info().state == State::Inspecting).await;
    for (name, route) in &table {
        assert_eq!(route_to(&directory, name).await, *route, "{name}");
    }
    // Both containers join the same network later.
    engine.behave();
    engine.connect("own", "shop");
    let bridge = expected(RouteKind::Bridge, address("shop", "shop"), ERLANG_PORT);
    assert_eq!(route_to(&directory, "shop").await, bridge);
}

#[tokio::test]
async fn a_bridge_comes_and_goes_with_the_events() {
    let engine = EngineDouble::start();
    let own = engine.add("own", 49153);
    engine.run(NewContainer::new("shop").network("shop").publish(49155));
    let directory = Directory::new(engine.engine(PATIENT), Some(&own));
    open(&directory).await;
    until_live(&directory).await;
    let kind = || directory.known_route("shop", &wanted()).map(|route| route.kind);
    assert_eq!(route_to(&directory, "shop").await.unwrap().kind, RouteKind::Published);
    for _ in 0..3 {
        engine.connect("own", "shop");
        until("there is a bridge", || kind() == Some(RouteKind::Bridge)).await;
        engine.disconnect("own", "shop");
        until("there is none", || kind() == Some(RouteKind::Published)).await;
    }
}

#[tokio::test]
async fn a_container_on_another_engine() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    engine.add("web", 49154);
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    let directory = Directory::new(engine.engine(PATIENT), Some(&"ab".repeat(32)));
    for (name, port) in [("db", 49153), ("web", 49154), ("db", 49153)] {
        let route = route_to(&directory, name).await.unwrap();
        assert_eq!((route.kind, route.to.port()), (RouteKind::Published, port));
    }
    // One inspect was enough to learn that the own container runs on another engine.
    assert_eq!(engine.notes().inspects, 4);
}

// Figures about the directory

#[tokio::test]
async fn info_counts() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    engine.run(NewContainer::new("unpublished"));
    let directory = directory(&engine);
    let info = directory.info();
    assert_eq!(info.endpoint, format!("tcp://{}", engine.address()));
    assert_eq!(
        (info.state, info.containers, info.events, info.resyncs, info.requests),
        (State::Closed, 0, 0, 0, 0)
    );
    assert_eq!(info.lookups, []);
    open(&directory).await;
    until_live(&directory).await;
    for _ in 0..10 {
        assert_eq!(find(&directory, "db").await, Ok(49153));
    }
    for _ in 0..5 {
        assert_eq!(known(&directory, "db"), Some(49153));
        assert_eq!(known(&directory, "nobody"), None);
    }
    assert_eq!(find(&directory, "nobody").await, Err(Error::NoSuchContainer));
    assert_eq!(find(&directory, "unpublished").await, Err(Error::NotPublished));
    // A caller that gives up counts as a timeout.
    const DEADLINE: Duration = Duration::from_millis(100);
    engine.misbehave(Misbehaviour::HangBeforeHeaders, Where::Inspect, Times::Next(1));
    let hasty = timeout(DEADLINE, directory.route(&container("nobody"), &wanted())).await;
    assert!(hasty.is_err());
    engine.restart("db");
    until_agreed_but_unpublished(&directory).await;
    engine.cut_streams();
    engine.until(|notes| notes.events == 2).await;
    until_live(&directory).await;
    let info = directory.info();
    assert_eq!(
        info.lookups
            .iter()
            .filter(|(name, _)| *name != "ok")
            .copied()
            .collect::<Vec<_>>(),
        [("no_such_container", 1), ("not_published", 1), ("timeout", 1)]
    );
    assert!(info.lookups.iter().any(|(name, count)| *name == "ok" && *count >= 15));
    assert_eq!((info.containers, info.resyncs), (2, 1));
    // The counted events are die, stop, start, restart, connect and disconnect. create and kill change nothing.
    assert_eq!(info.events, 6);
    assert_eq!(info.requests, engine.notes().requests() as u64);
    assert!(info.latency.p50 <= info.latency.p99 && info.latency.max >= DEADLINE);
}

async fn until_agreed_but_unpublished(directory: &Directory) {
    until("it is known again", || {
        known(directory, "db") == Some(49153) && directory.info().events == 6
    })
    .await;
}

#[tokio::test]
async fn names_come_from_memory() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    engine.run(NewContainer::new("unpublished"));
    let directory = live(&engine).await;
    let before = engine.notes().requests();
    for _ in 0..10 {
        let names = directory.names(host(), ERLANG_PORT).await;
        assert_eq!(names, Ok(vec![(id.clone(), 49153)]));
    }
    assert_eq!(engine.notes().requests(), before);
}

#[tokio::test]
async fn an_engine_that_was_never_there() {
    let (_closed, address) = closed();
    let directory = Directory::new(engine_at(address, PATIENT), None);
    let refused = Err(Error::unreachable("connection refused"));
    assert_eq!(at_once(find(&directory, "db")).await, refused);
    assert_eq!(
        in_time(directory.names(host(), ERLANG_PORT)).await.map(drop),
        refused.map(drop)
    );
    assert_eq!(directory.info().state, State::Connecting);
    assert_eq!(directory.take_notice(), None);
}
