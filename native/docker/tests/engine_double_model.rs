//! Tests the engine double with a plain HTTP client that shares no code with eid.

mod engine_double;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use engine_double::{EngineDouble, HostPorts, Misbehaviour, NewContainer, Times, Where};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(20);

const EVENTS: &str = "/v1.41/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";

/// Sends one request and collects the answer until the connection ends, `enough` returns true or the time is over.
fn exchange(engine: &EngineDouble, path: &str, limit: Duration, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(engine.address()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: double\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let (begin, mut answer, mut part) = (Instant::now(), vec![], vec![0; 1 << 20]);
    while !enough(&answer) {
        let left = limit.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut part) {
            Ok(n) if n > 0 => answer.extend(&part[..n]),
            _ => break,
        }
    }
    answer
}

/// The status and the body of a good answer.
fn get(engine: &EngineDouble, path: &str) -> (u16, Value) {
    let mut reader = open(engine, path);
    let (status, length) = head(&mut reader);
    let mut body = vec![];
    match length {
        Some(length) => reader.take(length).read_to_end(&mut body).map(drop).unwrap(),
        None => loop {
            let chunk = chunk(&mut reader);
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        },
    }
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn open(engine: &EngineDouble, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(engine.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: double\r\n\r\n").as_bytes())
        .unwrap();
    BufReader::new(stream)
}

/// The status of an answer, and the length of its body unless the body comes in chunks.
fn head(reader: &mut BufReader<TcpStream>) -> (u16, Option<u64>) {
    let lines: Vec<_> = reader
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.is_empty())
        .collect();
    assert!(
        lines.iter().any(|line| line == "Api-Version: 1.41") || !lines[0].contains("200"),
        "{lines:?}"
    );
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    (lines[0].split(' ').nth(1).unwrap().parse().unwrap(), length)
}

fn chunk(reader: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut size = String::new();
    reader.read_line(&mut size).unwrap();
    let size = usize::from_str_radix(size.trim(), 16).unwrap();
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).unwrap();
    chunk.truncate(size);
    chunk
}

/// The next events of the stream, this number of them, as `container start`, `network connect` and so on.
fn actions(reader: &mut BufReader<TcpStream>, count: usize) -> Vec<String> {
    let action = |event: Value| {
        format!(
            "{} {}",
            event["Type"].as_str().unwrap(),
            event["Action"].as_str().unwrap()
        )
    };
    (0..count)
        .map(|_| action(serde_json::from_slice(&chunk(reader)).unwrap()))
        .collect()
}

#[test]
fn containers_are_found_by_id_name_and_prefix() {
    let engine = EngineDouble::start();
    let id = engine.add("db", 49153);
    // The name equals the beginning of another container's ID. The engine prefers the name.
    let named_like = engine.add(&id[..4], 49154);
    for (text, found) in [
        (&id[..], &id),
        ("db", &id),
        ("%64b", &id),
        (&id[..12], &id),
        (&id[..4], &named_like),
    ] {
        let (status, container) = get(&engine, &format!("/containers/{text}/json"));
        assert_eq!((status, &container["Id"]), (200, &json!(found)), "{text}");
    }
    let missing = (404, json!({"message": "No such container: nobody"}));
    assert_eq!(get(&engine, "/v1.30/containers/nobody/json"), missing);
    engine.add_many(40, "more");
    let ambiguous = (0..=9).map(|digit| get(&engine, &format!("/containers/{digit}/json")));
    let text = |digit| json!({"message": format!("multiple IDs found with provided prefix: {digit}")});
    assert!(ambiguous
        .enumerate()
        .any(|(digit, answer)| answer == (400, text(digit))));
}

#[test]
fn inspect_and_list_say_the_same_in_their_shapes() {
    let engine = EngineDouble::start();
    engine.add_ipv6_network("shop");
    let new = NewContainer::new("db")
        .network("shop")
        .publish(49153)
        .port(53, "udp", "192.0.2.1", 53);
    let id = engine.run(new.expose(80, "tcp").label("team", "a"));
    let settings = &get(&engine, "/containers/db/json").1["NetworkSettings"];
    assert_eq!(
        settings["Ports"],
        json!({
            "12345/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}, {"HostIp": "::", "HostPort": "49153"}],
            "53/udp": [{"HostIp": "192.0.2.1", "HostPort": "53"}],
            "80/tcp": null,
        })
    );
    let network = &settings["Networks"]["shop"];
    let ip: std::net::IpAddr = network["IPAddress"].as_str().unwrap().parse().unwrap();
    let ip6: std::net::IpAddr = network["GlobalIPv6Address"].as_str().unwrap().parse().unwrap();
    assert!(ip.is_ipv4() && ip6.is_ipv6());
    let listed = &get(&engine, "/containers/json").1[0];
    assert_eq!((&listed["Id"], &listed["Names"]), (&json!(id), &json!(["/db"])));
    assert_eq!(&listed["NetworkSettings"]["Networks"]["shop"], network);
    assert_eq!(
        listed["Ports"],
        json!([
            {"IP": "0.0.0.0", "PrivatePort": 12345, "PublicPort": 49153, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 12345, "PublicPort": 49153, "Type": "tcp"},
            {"IP": "192.0.2.1", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
            {"PrivatePort": 80, "Type": "tcp"},
        ])
    );
    engine.run(NewContainer::new("on-the-host").host_network().publish(1));
    let host = &engine.inspected("on-the-host");
    assert_eq!(host["HostConfig"]["NetworkMode"], "host");
    assert_eq!(host["NetworkSettings"]["Ports"], json!({}));
}

#[test]
fn stopped_containers() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    engine.create(NewContainer::new("made").publish(49154));
    engine.stop("db");
    assert_eq!(get(&engine, "/containers/json"), (200, json!([])));
    assert_eq!(get(&engine, "/containers/json?all=1").1.as_array().unwrap().len(), 2);
    let (_, db) = get(&engine, "/containers/db/json");
    assert_eq!(
        (&db["State"]["Running"], &db["NetworkSettings"]["Ports"]),
        (&json!(false), &json!({}))
    );
    engine.start_at("db", 49155);
    assert_eq!(
        engine.inspected("db")["NetworkSettings"]["Ports"]["12345/tcp"][0]["HostPort"],
        "49155"
    );
}

#[test]
fn the_events_of_a_containers_life() {
    let engine = EngineDouble::start();
    let mut events = open(&engine, EVENTS);
    assert_eq!(head(&mut events), (200, None));
    engine.add("db", 49153);
    assert_eq!(
        actions(&mut events, 3),
        ["container create", "network connect", "container start"]
    );
    engine.restart_at("db", 49154);
    let restart = [
        "container kill",
        "container die",
        "network disconnect",
        "container stop",
        "network connect",
    ];
    assert_eq!(actions(&mut events, 5), restart);
    let started: Value = serde_json::from_slice(&chunk(&mut events)).unwrap();
    assert_eq!(
        (&started["Action"], &started["Actor"]["Attributes"]["name"]),
        (&json!("start"), &json!("db"))
    );
    assert_eq!(started["Actor"]["ID"], engine.find("db").unwrap());
    assert_eq!(
        (&started["status"], &started["id"]),
        (&started["Action"], &started["Actor"]["ID"])
    );
    assert_eq!(actions(&mut events, 1), ["container restart"]);
    engine.connect("db", "shop");
    engine.disconnect("db", "bridge");
    engine.rename("db", "store");
    engine.signal("store");
    engine.remove("store");
    let rest = [
        "network connect",
        "network disconnect",
        "container rename",
        "container kill",
        "container kill",
        "container die",
        "network disconnect",
        "container destroy",
    ];
    assert_eq!(actions(&mut events, 8), rest);
}

#[test]
fn filters_and_events_of_the_past() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let mut networks = open(
        &engine,
        "/events?since=0&filters=%7B%22type%22:%7B%22network%22:true%7D%7D",
    );
    head(&mut networks);
    let mut starts = open(&engine, "/events?filters=%7B%22event%22:%5B%22start%22%5D%7D");
    head(&mut starts);
    engine.restart("db");
    assert_eq!(
        actions(&mut networks, 3),
        ["network connect", "network disconnect", "network connect"]
    );
    assert_eq!(actions(&mut starts, 1), ["container start"]);
    assert_eq!(get(&engine, "/events?filters=x").0, 400);
    assert_eq!(get(&engine, "/events?filters=%7B%22x%22:%5B%5D%7D").0, 400);
}

#[test]
fn ports_are_gone_without_a_network_and_others_with_the_next() {
    let engine = EngineDouble::start();
    let ports = || engine.inspected("db")["NetworkSettings"]["Ports"].clone();
    engine.add("db", 49153);
    engine.disconnect("db", "bridge");
    assert_eq!(ports(), json!({}));
    engine.connect("db", "shop");
    assert_ne!(ports()["12345/tcp"][0]["HostPort"], "49153");
}

#[test]
fn versions_are_checked() {
    let engine = EngineDouble::start();
    assert_eq!(get(&engine, "/v1.42/containers/json").0, 400);
    assert_eq!(get(&engine, "/version").1["ApiVersion"], "1.41");
    engine.set_versions("1.44", "1.52");
    let (status, body) = get(&engine, "/v1.41/containers/json");
    assert!(status == 400 && body["message"].as_str().unwrap().contains("too old"));
    let ping = exchange(&engine, "/_ping", PATIENCE, |_| false);
    assert!(String::from_utf8(ping).unwrap().contains("\r\nApi-Version: 1.52\r\n"));
    assert_eq!(get(&engine, "/no/such/page").0, 404);
}

#[test]
fn two_thousand_containers() {
    let engine = EngineDouble::start();
    let ids: HashSet<_> = engine.add_many(2000, "c").into_iter().collect();
    let (_, list) = get(&engine, "/containers/json");
    let listed: HashSet<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["Id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, ids);
    let mut events = open(&engine, EVENTS);
    head(&mut events);
    for id in &ids {
        engine.restart(id);
    }
    assert_eq!(actions(&mut events, 7 * 2000).last().unwrap(), "container restart");
}

#[tokio::test]
async fn notes() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    for path in [
        "/_ping",
        "/containers/json",
        "/containers/db/json",
        "/v1.41/containers/db/json",
        "/info",
    ] {
        get(&engine, path);
    }
    let events = open(&engine, EVENTS);
    engine.until(|notes| notes.subscribers == 1 && notes.open == 1).await;
    let notes = engine.notes();
    assert_eq!((notes.connections, notes.requests(), notes.most_in_flight), (6, 6, 1));
    assert_eq!(
        (notes.pings, notes.lists, notes.inspects, notes.events, notes.others),
        (1, 1, 2, 1, 1)
    );
    assert_eq!(notes.paths[3], "/v1.41/containers/db/json");
    engine.reset_notes();
    assert_eq!((engine.notes().requests(), engine.notes().subscribers), (0, 1));
    drop(events);
    engine.until(|notes| notes.subscribers == 0).await;
}

#[tokio::test]
async fn an_engine_that_restarts() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let before = engine.address();
    for _ in 0..100 {
        let mut events = open(&engine, EVENTS);
        head(&mut events);
        let port = engine.inspected("db")["NetworkSettings"]["Ports"]["12345/tcp"][0]["HostPort"].clone();
        engine.restart_engine(HostPorts::New);
        assert_eq!(events.read_to_end(&mut vec![]).unwrap_or(0), 0);
        assert_ne!(
            engine.inspected("db")["NetworkSettings"]["Ports"]["12345/tcp"][0]["HostPort"],
            port
        );
    }
    assert_eq!(engine.address(), before);
    engine.until(|notes| notes.open == 0).await;
    engine.misbehave(Misbehaviour::Refuse, Where::Any, Times::Always);
    let refused = TcpStream::connect(before).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    engine.behave();
    assert_eq!(get(&engine, "/containers/json").0, 200);
    drop(engine);
    assert!(TcpStream::connect(before).is_err());
}

#[test]
fn misbehaviour_is_counted_and_in_turn() {
    let engine = EngineDouble::start();
    engine.misbehave(Misbehaviour::Forbidden, Where::List, Times::Next(2));
    engine.misbehave(Misbehaviour::Conflict, Where::Any, Times::Always);
    let status = |path| get(&engine, path).0;
    assert_eq!(status("/containers/json"), 403);
    assert_eq!(status("/containers/db/json"), 409);
    assert_eq!(status("/containers/json"), 403);
    assert_eq!(status("/containers/json"), 409);
    engine.behave();
    assert_eq!(status("/containers/json"), 200);
}

#[test]
fn streams_that_are_open_misbehave_and_behave_again() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let mut events = open(&engine, EVENTS);
    head(&mut events);
    let mut become_so = |misbehaviour, expected: &[&str]| {
        engine.misbehave(misbehaviour, Where::OpenStreams, Times::Always);
        engine.signal("db");
        engine.behave();
        engine.rename("db", "other");
        engine.rename("other", "db");
        let read = actions(&mut events, expected.len());
        assert_eq!(read, expected, "{misbehaviour:?}");
    };
    become_so(Misbehaviour::Silent, &["container rename"; 2]);
    let mut burst = ["container die", "container start"].repeat(5000);
    burst.extend(["container rename"; 2]);
    become_so(Misbehaviour::Burst, &burst);
    let unknown = ["moon rise", "container exec_create: sh -c 'true'", "container kill"];
    become_so(
        Misbehaviour::UnknownEvents,
        &[&unknown[..], &["container rename"; 2]].concat(),
    );
    engine.cut_streams();
    assert_eq!(events.read_to_end(&mut vec![]).unwrap(), 0);
}

/// Each misbehaviour is visible on the wire once, and afterwards the engine answers well.
#[test]
fn every_misbehaviour_wherever_it_suits() {
    let names: HashSet<_> = Misbehaviour::ALL.iter().map(|how| how.name()).collect();
    assert_eq!(names.len(), Misbehaviour::ALL.len());
    let places = [Where::Ping, Where::List, Where::Inspect, Where::Events];
    let all = Misbehaviour::ALL
        .iter()
        .flat_map(|how| places.map(|place| (*how, place)));
    let suitable: Vec<_> = all.filter(|(how, place)| how.suits(*place)).collect();
    for some in suitable.chunks(32) {
        std::thread::scope(|scope| {
            for (how, place) in some {
                scope.spawn(|| misbehaves_once(*how, *place));
            }
        });
    }
}

fn misbehaves_once(how: Misbehaviour, place: Where) {
    let engine = EngineDouble::start();
    engine.add_many(3, "c");
    let path = match place {
        Where::Ping => "/_ping",
        Where::List => "/containers/json",
        Where::Inspect => "/containers/c1/json",
        _ => "/events?since=0",
    };
    // An event stream has no end, so the test counts the nine events.
    let nine = |answer: &[u8]| answer.iter().filter(|byte| **byte == b'}').count() == 27;
    let is_whole = |answer: &[u8]| place == Where::Events && answer.ends_with(b"\n\r\n") && nine(answer);
    let right = exchange(&engine, path, PATIENCE, is_whole);
    engine.misbehave(how, place, Times::Next(1));
    let wrong = exchange(&engine, path, Duration::from_millis(300), |answer| {
        answer.len() > 4_000_000
    });
    let comes_right = match how {
        Misbehaviour::Late => true,
        Misbehaviour::Drip => place == Where::Ping,
        // By its name, the engine still finds the container.
        Misbehaviour::AmbiguousPrefix => place == Where::Inspect,
        _ => false,
    };
    assert!(comes_right || wrong != right, "{how:?} {place:?}");
    assert_eq!(engine.redirects_followed(), 0);
    // A restarted engine has forgotten the earlier events.
    if how != Misbehaviour::Restart {
        assert!(
            exchange(&engine, path, PATIENCE, is_whole) == right,
            "{how:?} {place:?}"
        );
    }
}
