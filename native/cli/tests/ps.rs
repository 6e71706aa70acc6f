//! Tests `eid ps` with engine doubles that misbehave on request.

mod command;
#[path = "../../docker/tests/engine_double/mod.rs"]
mod engine_double;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command::{answer, command, eid, text, Running};
use engine_double::{EngineDouble, HostPorts, Misbehaviour, NewContainer, Times, Where};
use serde_json::{json, Value};

/// The start time that the engine double gives every container.
const SINCE: &str = "2024-02-29T12:00:00.123456789Z";

/// Two engines on the same port of two addresses, with their addresses and the template that matches both.
fn two() -> ([EngineDouble; 2], [String; 2], String) {
    let one = EngineDouble::start();
    let address = one.address();
    let SocketAddr::V4(v4) = address else { unreachable!() };
    let [a, b, c, d] = v4.ip().octets();
    let other = SocketAddr::from(([a, b, c, d.wrapping_add(100).max(1)], address.port()));
    let two = EngineDouble::listen(other, None).unwrap();
    let hosts = [address.ip().to_string(), other.ip().to_string()];
    ([one, two], hosts, format!("tcp://{{host}}:{}", address.port()))
}

fn one() -> (EngineDouble, String) {
    let engine = EngineDouble::start();
    let url = format!("tcp://{}", engine.address());
    (engine, url)
}

/// The arguments of `eid ps` for the host 192.0.2.1 with the engine at this URL.
fn ps<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["ps", "--host", "192.0.2.1", "--engine", url], more].concat()
}

fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| {
            line.split("   ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect()
}

fn watch(url: &str, more: &[&str]) -> Running {
    Running::start(command(&ps(url, &[&["--watch"], more].concat()), &[]))
}

fn event(running: &Running) -> Value {
    serde_json::from_str(&running.line()).unwrap()
}

#[test]
fn a_table_of_two_hosts() {
    let ([one, two], [host1, host2], url) = two();
    let id = one.run(
        NewContainer::new("db")
            .binding(&host1, 49153)
            .label("eid.cluster", "shop"),
    );
    one.run(NewContainer::new("api").host_network().label("eid.node", "api"));
    one.run(NewContainer::new("whole").label("eid.node", "whole@elsewhere"));
    one.run(NewContainer::new("exposed").expose(12345, "tcp"));
    // The first container is not a node, the second does not run.
    one.run(NewContainer::new("web").port(80, "tcp", "0.0.0.0", 8080));
    one.add("stopped", 49160);
    one.stop("stopped");
    two.run(NewContainer::new("cache").binding("127.0.0.1", 49154));
    let cache = two.find("cache").unwrap();
    let exposed = one.find("exposed").unwrap();

    let table = answer(&[
        "ps", "--host", &host1, "--host", &host2, "--host", &host1, "--engine", &url,
    ]);
    let days = table.lines().nth(1).unwrap().rsplit("   ").next().unwrap().to_owned();
    assert!(days.ends_with(" ago"), "{table}");
    let node = |id: &str, host: &str| format!("{}@{host}", &id[..12]);
    assert_eq!(
        rows(&table),
        [
            vec!["NODE", "NAME", "STATE", "IMAGE", "PORT", "CLUSTER", "SINCE"],
            vec![
                &format!("api@{host1}"),
                "api",
                "running",
                "erlang:25",
                "host",
                "-",
                &days
            ],
            vec![
                &node(&id, &host1),
                "db",
                "running",
                "erlang:25",
                &format!("{host1}:49153"),
                "shop",
                &days
            ],
            vec![
                &node(&exposed, &host1),
                "exposed",
                "running",
                "erlang:25",
                "not_published",
                "-",
                &days
            ],
            vec![
                "whole@elsewhere",
                "whole",
                "running",
                "erlang:25",
                "not_published",
                "-",
                &days
            ],
            // Other hosts cannot dial a port that is published on loopback only, although here the host is this
            // machine.
            vec![
                &node(&cache, &host2),
                "cache",
                "running",
                "erlang:25",
                "published_on_loopback",
                "-",
                &days
            ],
        ]
    );
    // Each column starts at the same place in every line.
    let column = |line: &str, head: &str| {
        table
            .lines()
            .next()
            .unwrap()
            .find(head)
            .map(|at| line.as_bytes()[at - 1])
    };
    for head in ["NAME", "STATE", "IMAGE", "PORT", "CLUSTER", "SINCE"] {
        assert!(table.lines().all(|line| column(line, head) == Some(b' ')), "{table}");
    }
}

#[test]
fn those_that_do_not_run_and_those_with_labels() {
    let (engine, url) = one();
    engine.run(
        NewContainer::new("db")
            .publish(49153)
            .label("eid.cluster", "shop")
            .label("tier", "back"),
    );
    engine.run(NewContainer::new("web").publish(49154).label("eid.cluster", "shop"));
    engine.run(NewContainer::new("old").publish(49155).label("eid.cluster", "shop"));
    engine.stop("old");
    engine.run(NewContainer::new("no-node"));
    engine.stop("no-node");
    let names = |more: &[&str]| -> Vec<String> {
        let table = answer(&ps(&url, more));
        rows(&table)[1..].iter().map(|row| row[1].to_owned()).collect()
    };
    assert_eq!(names(&[]), ["db", "web"]);
    assert_eq!(names(&["--all"]), ["db", "old", "web"]);
    assert_eq!(names(&["--label", "eid.cluster=shop"]), ["db", "web"]);
    assert_eq!(names(&["--label", "eid.cluster=shop", "--label", "tier"]), ["db"]);
    assert_eq!(names(&["--label", "tier=front", "--all"]), [""; 0]);
    assert_eq!(names(&["--erlang-port", "80"]), ["db", "web"]);
    let table = answer(&ps(&url, &["--all", "--erlang-port", "12345"]));
    let old = rows(&table).into_iter().find(|row| row[1] == "old").unwrap();
    assert_eq!(old[2..], ["exited", "erlang:25", "-", "shop", "-"]);
}

#[test]
fn as_json() {
    let (engine, url) = one();
    let id = engine.run(NewContainer::new("db").publish(49153).label("eid.cluster", "shop"));
    let gone = engine.run(NewContainer::new("gone").publish(49154));
    engine.stop("gone");
    let found: Value = serde_json::from_str(&answer(&ps(&url, &["--json", "--all"]))).unwrap();
    let db = json!({"node": format!("{}@192.0.2.1", &id[..12]), "host": "192.0.2.1", "id": id, "name": "db",
        "state": "running", "image": "erlang:25", "route": "published", "address": "192.0.2.1", "port": 49153,
        "error": null, "cluster": "shop", "since": SINCE});
    let gone = json!({"node": format!("{}@192.0.2.1", &gone[..12]), "host": "192.0.2.1", "id": gone, "name": "gone",
        "state": "exited", "image": "erlang:25", "route": null, "address": null, "port": null, "error": "not_running",
        "cluster": null, "since": null});
    assert_eq!(found, json!({"nodes": [db, gone], "failures": []}));
}

#[test]
fn hosts_that_fail() {
    let ([one, two], [host1, host2], url) = two();
    one.misbehave(Misbehaviour::Forbidden, Where::List, Times::Always);
    two.add("db", 49153);
    let hosts = ["--host", "no.such.host.invalid", "--host", &host1, "--host", &host2];
    let output = eid(&[&["ps", "--engine", &url], &hosts[..]].concat());
    // The exit status belongs to the first host that failed.
    assert_eq!(output.status.code(), Some(3));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("eid: the host no.such.host.invalid has no IPv4 address;"),
        "{errors}"
    );
    assert!(
        errors.contains(&format!("eid: {host1}: the engine refused with status 403")),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 2);
    assert_eq!(rows(text(&output.stdout))[1][1], "db");

    let output = eid(&[&["ps", "--json", "--engine", &url], &hosts[2..]].concat());
    assert_eq!(output.status.code(), Some(5));
    let found: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(found["nodes"][0]["name"], "db");
    assert_eq!(found["failures"][0]["host"], host1.as_str());
    assert_eq!(found["failures"][0]["error"], "refused");
}

#[test]
fn an_engine_that_hangs_or_is_down() {
    for (misbehaviour, part) in [
        (Misbehaviour::HangInBody, "did not answer in time"),
        (Misbehaviour::Refuse, "connection refused"),
        (Misbehaviour::BadJson, "makes no sense"),
    ] {
        let (engine, url) = one();
        engine.add("db", 49153);
        engine.misbehave(misbehaviour, Where::Any, Times::Always);
        let output = eid(&ps(&url, &["--timeout", "0.5"]));
        assert_eq!(output.status.code(), Some(5));
        assert!(text(&output.stderr).starts_with("eid: 192.0.2.1: the engine"));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
        // The table has only its header line.
        assert_eq!(rows(text(&output.stdout)).len(), 1);
    }
}

/// Docker answers so for a container with damaged files.
#[test]
fn a_container_that_the_engine_can_not_inspect() {
    let (engine, url) = one();
    let labelled = NewContainer::new("db").label("eid.cluster", "shop");
    engine.run(labelled.binding("192.0.2.1", 49153));
    engine.run(NewContainer::new("web").port(80, "tcp", "0.0.0.0", 8080));
    engine.misbehave(Misbehaviour::InternalError, Where::Inspect, Times::Always);
    let found: Value = serde_json::from_str(&answer(&ps(&url, &["--json"]))).unwrap();
    assert_eq!(found["nodes"].as_array().unwrap().len(), 1, "{found}");
    let node = &found["nodes"][0];
    assert_eq!((&node["name"], &node["port"]), (&json!("db"), &json!(49153)));
    assert_eq!((&node["state"], &node["image"]), (&json!(""), &Value::Null));
    // A failed inspect of one container is not a failure of the host.
    let running = watch(&url, &["--json", "--all"]);
    assert_eq!(event(&running)["change"], "added");
    engine.stop("db");
    assert_eq!(event(&running)["change"], "changed");
    engine.remove("db");
    assert_eq!(event(&running)["change"], "gone");
}

#[test]
fn the_host_of_the_environment() {
    let (engine, url) = one();
    engine.add("db", 49153);
    let run = |host: &str| {
        command(&["ps", "--engine", &url], &[("EID_HOST", host)])
            .output()
            .unwrap()
    };
    assert!(text(&run("192.0.2.1").stdout).contains("192.0.2.1:49153"));
    assert_eq!(run("").status.code(), Some(2));
    for arguments in [
        &["ps"][..],
        &["ps", "--host", "[::1]"],
        &["ps", "--host", "h:80"],
        &["ps", "--host", "h", "--label", "=x"],
    ] {
        assert_eq!(eid(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn nothing_that_a_terminal_would_act_on() {
    let (engine, url) = one();
    let evil = "a\x1b[2J\u{9b}31m\u{202e}\r\nb";
    engine.run(NewContainer {
        image: evil.to_owned(),
        ..NewContainer::new("db")
            .label("eid.cluster", evil)
            .label("eid.node", evil)
    });
    engine.run(NewContainer::new("long").label("eid.cluster", &"x".repeat(1500)));
    let is_plain = |text: &str| !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    let table = answer(&ps(&url, &[]));
    assert!(is_plain(&table), "{table:?}");
    assert_eq!(table.lines().count(), 3);
    assert!(table.lines().all(|line| line.chars().count() < 500), "{table}");
    let running = watch(&url, &[]);
    assert!(is_plain(&running.line()) && is_plain(&running.line()));
    // JSON output is for programs, so it contains the text unchanged.
    let found: Value = serde_json::from_str(&answer(&ps(&url, &["--json"]))).unwrap();
    assert_eq!(found["nodes"][0]["cluster"], evil);
}

#[test]
fn changes_line_by_line() {
    let (engine, url) = one();
    let id = engine.add("db", 49153);
    let running = watch(&url, &[]);
    let line = |sign: &str, name: &str, port: u16| {
        format!(
            "{sign} {}@192.0.2.1  {name}  running  erlang:25  192.0.2.1:{port}  -  {SINCE}",
            &id[..12]
        )
    };
    assert_eq!(running.line(), line("+", "db", 49153));
    engine.rename("db", "store");
    assert_eq!(running.line(), line("~", "store", 49153));
    engine.stop("store");
    assert_eq!(running.line(), line("-", "store", 49153));
    engine.start_at("store", 49154);
    assert_eq!(running.line(), line("+", "store", 49154));
    // `eid ps` prints no line for the first two changes. The next line is about the third.
    engine.run(NewContainer::new("web"));
    engine.signal("store");
    engine.remove("store");
    assert_eq!(running.line(), line("-", "store", 49154));
}

#[test]
fn changes_as_json_of_all() {
    let (engine, url) = one();
    let running = watch(&url, &["--json", "--all"]);
    let told = || {
        let event = event(&running);
        let node = &event["node"];
        (
            event["change"].as_str().unwrap().to_owned(),
            node["state"].clone(),
            node["port"].clone(),
        )
    };
    // This line shows that `eid ps` has the host's first list.
    engine.add("first", 49150);
    assert_eq!(told(), ("added".to_owned(), json!("running"), json!(49150)));
    engine.create(NewContainer::new("db").publish(49153));
    assert_eq!(told(), ("added".to_owned(), json!("exited"), Value::Null));
    engine.start_container("db");
    assert_eq!(told(), ("changed".to_owned(), json!("running"), json!(49153)));
    engine.disconnect("db", "bridge");
    assert_eq!(told(), ("changed".to_owned(), json!("running"), Value::Null));
    engine.stop("db");
    assert_eq!(told(), ("changed".to_owned(), json!("exited"), Value::Null));
    engine.remove("db");
    assert_eq!(told().0, "gone");
}

#[test]
fn a_host_that_goes_down_and_comes_back() {
    let ([one, two], [host1, host2], url) = two();
    one.add("one", 49153);
    one.add("leaves", 49154);
    two.add("two", 49155);
    let arguments = [
        "ps", "--watch", "--json", "--host", &host1, "--host", &host2, "--engine", &url,
    ];
    let running = Running::start(command(&arguments, &[]));
    for _ in 0..3 {
        assert_eq!(event(&running)["change"], "added");
    }
    one.stop_engine();
    let down = event(&running);
    assert_eq!(
        (&down["change"], &down["host"], &down["error"]),
        (&json!("down"), &json!(host1), &json!("unreachable"))
    );
    assert_eq!(running.error(), format!("eid: {}", down["sentence"].as_str().unwrap()));
    // The second host still works, and its container changes.
    two.add("more", 49156);
    let mut events: Vec<Value> = vec![event(&running)];
    // `eid ps` may report one further reason for the first host.
    while events.last().unwrap()["change"] == "down" {
        events.push(event(&running));
    }
    assert_eq!(events.last().unwrap()["node"]["name"], "more");
    one.remove("leaves");
    one.restart_engine(HostPorts::Kept);
    let mut changes = vec![];
    while changes.last().is_none_or(|(change, _)| change != "gone") {
        let event = event(&running);
        changes.push((
            event["change"].as_str().unwrap().to_owned(),
            event["node"]["name"].clone(),
        ));
    }
    changes.retain(|(change, _)| change != "down");
    assert_eq!(
        changes,
        [("up".to_owned(), Value::Null), ("gone".to_owned(), json!("leaves"))]
    );
}

#[test]
fn a_stream_that_breaks_loses_nothing() {
    let (engine, url) = one();
    engine.add("db", 49153);
    let running = watch(&url, &["--json"]);
    assert_eq!(event(&running)["node"]["name"], "db");
    for misbehaviour in [Misbehaviour::Close, Misbehaviour::Noise] {
        engine.misbehave(misbehaviour, Where::Events, Times::Next(1));
        engine.cut_streams();
        engine.add(&format!("{misbehaviour:?}"), engine.free_host_port());
        let mut change = event(&running);
        while change["change"] != "added" {
            change = event(&running);
        }
        assert_eq!(change["node"]["name"], format!("{misbehaviour:?}"));
    }
}

/// As in `eid ps --watch | head -1`: the command ends at once and does not wait for the next change.
#[test]
fn a_reader_that_has_had_enough() {
    let (engine, url) = one();
    engine.add("db", 49153);
    for more in [&["--watch"][..], &["--watch", "--json"]] {
        let mut child = command(&ps(&url, more), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        assert!(reader.read_line(&mut String::new()).unwrap() > 0);
        drop(reader);
        let ended = until_ended(&mut child);
        assert_eq!(ended.code(), Some(141));
    }
    // `/dev/null` has no reader either, but the command must not end.
    let null = || Stdio::from(File::options().write(true).open("/dev/null").unwrap());
    engine.reset_notes();
    let mut child = command(&ps(&url, &["--watch"]), &[]).stdout(null()).spawn().unwrap();
    // The second list follows a second after the first. By then the command has printed the first list.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(engine.until(|notes| notes.lists == 2));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn until_ended(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn where_events_are_refused() {
    let (engine, url) = one();
    engine.misbehave(Misbehaviour::Forbidden, Where::Events, Times::Always);
    let running = watch(&url, &[]);
    engine.add("db", 49153);
    assert!(running.line().contains("  db  "));
    engine.stop("db");
    assert!(running.line().starts_with("- "));
}

#[test]
fn many_at_once() {
    let (engine, url) = one();
    engine.add_many(300, "many");
    assert_eq!(rows(&answer(&ps(&url, &[]))).len(), 301);
    let running = watch(&url, &[]);
    for _ in 0..300 {
        assert!(running.line().starts_with("+ "));
    }
    engine.add_many(300, "more");
    for _ in 0..300 {
        assert!(running.line().starts_with("+ "));
    }
    // No container appears twice: the next line is about the removal.
    engine.remove("many0");
    assert!(running.line().starts_with("- "));
}

#[test]
fn a_terminal() {
    let (engine, url) = one();
    engine.add("db", 49153);
    // `script` runs the command on a pseudo-terminal.
    let mut script = Command::new("script");
    script
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm");
    let eid = env!("CARGO_BIN_EXE_eid");
    let line = format!("stty rows 6 cols 80; exec {eid} ps --watch --host 192.0.2.1 --engine {url}");
    script.args(["-qefc", &line, "/dev/null"]);
    let running = Running::start(script);
    let until = |part: &str| {
        let began = Instant::now();
        loop {
            let seen = running.line();
            if seen.contains(part) {
                return seen;
            }
            // The command redraws the screen all the time, so only the total wait is limited.
            assert!(began.elapsed() < Duration::from_secs(60), "{part}: {seen:?}");
        }
    };
    let head = until("NODE");
    assert!(head.contains("\x1b[H") && head.contains("\x1b[K"), "{head:?}");
    until("  db  ");
    engine.rename("db", "store");
    until("  store  ");
    // The last line counts the containers that do not fit on the screen.
    engine.add_many(20, "many");
    until("… and 18 more");
    engine.stop_engine();
    until("eid: 192.0.2.1: the engine is unreachable");
}
