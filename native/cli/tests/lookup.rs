//! Tests `eid lookup` with an engine double that misbehaves on request.

mod command;
#[path = "../../docker/tests/engine_double/mod.rs"]
mod engine_double;

use std::process::{Output, Stdio};

use command::{answer, closed, command, eid, failure, text};
use engine_double::{EngineDouble, Misbehaviour, NewContainer, Times, Where};
use serde_json::{json, Value};

fn at(engine: &EngineDouble) -> String {
    format!("tcp://{}", engine.address())
}

fn lookup<'a>(node: &'a str, engine: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["lookup", node, "--engine", engine], more].concat()
}

/// Runs `eid lookup --json` and returns its output and its exit status.
fn as_json(node: &str, engine: &str, more: &[&str]) -> (Value, Option<i32>) {
    let more = [&["--json"], more].concat();
    let output = eid(&lookup(node, engine, &more));
    let line = text(&output.stdout);
    assert_eq!(line.matches('\n').count(), 1, "{line:?}");
    (serde_json::from_str(line).unwrap(), output.status.code())
}

#[test]
fn routes() {
    let engine = EngineDouble::start();
    let url = at(&engine);
    let id = engine.add("db", 49153);
    engine.run(NewContainer::new("host").host_network());
    engine.run(NewContainer::new("v6").binding("2001:db8::1", 49154));
    engine.run(NewContainer::new("other").port(4711, "tcp", "192.0.2.1", 49155));
    for node in [
        "db@192.0.2.1",
        &format!("{id}@192.0.2.1"),
        &format!("{}@192.0.2.1", &id[..12]),
    ] {
        assert_eq!(answer(&lookup(node, &url, &[])), "published 192.0.2.1:49153\n");
    }
    assert_eq!(
        answer(&lookup("db@localhost", &url, &[])),
        "published 127.0.0.1:49153\n"
    );
    assert_eq!(answer(&lookup("host@192.0.2.1", &url, &[])), "host 192.0.2.1:12345\n");
    assert_eq!(
        answer(&lookup("host@192.0.2.1", &url, &["--erlang-port", "7"])),
        "host 192.0.2.1:7\n"
    );
    let other = lookup("other@192.0.2.1", &url, &["--erlang-port", "4711"]);
    assert_eq!(answer(&other), "published 192.0.2.1:49155\n");
    assert_eq!(
        answer(&lookup("v6@2001:db8::1", &url, &[])),
        "published [2001:db8::1]:49154\n"
    );
    let (found, status) = as_json("db@192.0.2.1", &url, &[]);
    let expected = json!({"node": "db@192.0.2.1", "route": "published", "address": "192.0.2.1", "port": 49153});
    assert_eq!((found, status), (expected, Some(0)));
}

#[test]
fn each_status_and_its_word() {
    let engine = EngineDouble::start();
    let url = at(&engine);
    let publish = |name: &str, ip: &str| engine.run(NewContainer::new(name).binding(ip, 49153));
    engine.run(NewContainer::new("hidden"));
    publish("loopback", "127.0.0.1");
    publish("elsewhere", "192.0.2.7");
    publish("stopped", "0.0.0.0");
    engine.stop("stopped");
    for (node, status, word, part) in [
        ("..@192.0.2.1", 3, "bad_node_name", "docker ps shows"),
        ("db", 3, "bad_node_name", "not a node name"),
        ("gone@192.0.2.1", 3, "no_such_container", "docker ps -a"),
        ("stopped@192.0.2.1", 4, "not_running", "docker start"),
        ("hidden@192.0.2.1", 4, "not_published", "docker run -p"),
        (
            "loopback@192.0.2.1",
            4,
            "published_on_loopback",
            "loopback address only",
        ),
        ("elsewhere@192.0.2.1", 4, "published_elsewhere", "docker port"),
        (
            "db@no.such.host.invalid",
            3,
            "unknown_host",
            "no IPv4 address; check it in DNS",
        ),
    ] {
        let sentence = failure(&lookup(node, &url, &[]), status);
        assert!(sentence.contains(part), "{sentence}");
        let (error, json_status) = as_json(node, &url, &[]);
        assert_eq!(
            (error["node"].as_str(), error["error"].as_str()),
            (Some(node), Some(word))
        );
        assert_eq!(format!("eid: {}\n", error["sentence"].as_str().unwrap()), sentence);
        assert_eq!(json_status, Some(status));
    }
}

#[test]
fn engines_that_do_not_answer() {
    for (misbehaviour, word, part, limit) in [
        (Misbehaviour::Refuse, "unreachable", "connection refused", "60"),
        (Misbehaviour::Forbidden, "refused", "status 403", "60"),
        (Misbehaviour::Noise, "bad_response", "not HTTP", "60"),
        (Misbehaviour::EmptyBody, "bad_response", "makes no sense", "60"),
        (
            Misbehaviour::HangBeforeHeaders,
            "timeout",
            "did not answer in time",
            "0.5",
        ),
    ] {
        let engine = EngineDouble::start();
        engine.add("db", 49153);
        engine.misbehave(misbehaviour, Where::Any, Times::Always);
        let url = at(&engine);
        let more = ["--timeout", limit];
        let sentence = failure(&lookup("db@192.0.2.1", &url, &more), 5);
        assert!(sentence.contains(part), "{sentence}");
        let (error, status) = as_json("db@192.0.2.1", &url, &more);
        assert_eq!((error["error"].as_str(), status), (Some(word), Some(5)));
    }
}

/// Every command rejects an invalid engine address before it connects.
#[test]
fn addresses_of_engines_that_are_none() {
    let node = "db@127.0.0.1";
    let commands: [&[&str]; 5] = [
        &["lookup", node],
        &["doctor", node],
        &["ps", "--host", "127.0.0.1"],
        &["name", "--host", "127.0.0.1"],
        &["forward", "--listen", "127.0.0.1:0", "--to", "tcp://127.0.0.1:1"],
    ];
    let is_refused = |output: Output, engine: &str| {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{engine} {error}");
        let forms = ["tcp://host:port", "https://host:port", "unix:///path"];
        assert!(forms.iter().all(|form| error.contains(form)), "{error}");
        assert!(!error.contains("unreachable") && output.stdout.is_empty(), "{error}");
    };
    for engine in [
        "garbage",
        "http://127.0.0.1:1",
        "tcp://{hst}:1",
        "tcp://{host}",
        "unix://{host}",
    ] {
        for arguments in commands {
            is_refused(eid(&[arguments, &["--engine", engine]].concat()), engine);
            is_refused(command(arguments, &[("EID_ENGINE", engine)]).output().unwrap(), engine);
        }
        is_refused(eid(&["serve", "--listen", "127.0.0.1:1", "--docker", engine]), engine);
    }
    // `eid serve` has a single engine, so the placeholder `{host}` is invalid there.
    is_refused(
        eid(&["serve", "--listen", "127.0.0.1:1", "--docker", "tcp://{host}:1"]),
        "",
    );
    // These addresses are valid: the command fails only when it connects.
    let (_closed, nowhere) = closed();
    for engine in [
        &nowhere.replace("127.0.0.1", "{host}"),
        &nowhere,
        "unix:///nowhere/{host}.sock",
        "https://{host}.invalid:1",
    ] {
        let sentence = failure(&lookup(node, engine, &["--certs", "/nowhere"]), 5);
        assert!(sentence.contains("the engine is unreachable"), "{engine} {sentence}");
    }
}

/// `eid lookup` cannot ask the engine, because a local file is unusable.
#[test]
fn files_that_say_who_asks_and_can_not_be_used() {
    let files = ["--token-file", "/dev/null", "--certs", "/nowhere"];
    for (engine, part) in [
        ("unix:///nowhere.sock", "the token file /dev/null can't be read"),
        ("https://127.0.0.1:1", "the token file /dev/null can't be read"),
        ("https://127.0.0.1:1", "there is no folder /nowhere"),
    ] {
        let files = if part.contains("token") {
            &files[..2]
        } else {
            &files[2..]
        };
        let sentence = failure(&lookup("db@192.0.2.1", engine, files), 5);
        assert!(sentence.contains(part), "{sentence}");
        assert!(
            sentence.contains("files that --certs and --token-file name"),
            "{sentence}"
        );
    }
}

#[test]
fn a_wrong_command_line() {
    for arguments in [
        &["lookup"][..],
        &["lookup", "a@h", "b@h"],
        &["lookup", "a@h", "--erlang-port", "0"],
        &["lookup", "a@h", "--timeout", "0"],
        &["lookup", "a@h", "--timeout", "soon"],
    ] {
        let output = eid(arguments);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(2), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn what_is_no_text_for_a_terminal() {
    let sentence = failure(&["lookup", "a\x1b[31m\u{9b}\u{202e}@h"], 3);
    assert!(sentence.contains("a\u{fffd}[31m\u{fffd}\u{fffd}@h"), "{sentence:?}");
}

#[test]
fn an_output_that_takes_nothing() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&lookup("db@192.0.2.1", &at(&engine), &[]), &[]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("can't be written"));
}

/// As in `eid lookup … | head -0`: the reader of the output has gone, so no message is useful.
#[test]
fn an_output_that_is_closed() {
    let engine = EngineDouble::start();
    engine.add("db", 49153);
    let mut command = command(&lookup("db@192.0.2.1", &at(&engine), &[]), &[]);
    let unread = std::io::pipe().unwrap().1;
    let output = command.stdout(unread).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), ""));
}

/// The exit status is right even if both outputs are closed.
#[test]
fn outputs_that_nobody_reads() {
    let unread = || std::io::pipe().unwrap().1;
    let (_closed, nowhere) = closed();
    for (arguments, status) in [
        (&["lookup", "db"][..], 3),
        (&["lookup", "db", "--json"], 141),
        (&["doctor", "db"], 141),
        (&["ps", "--host", "192.0.2.1", "--engine", &nowhere], 141),
        (&["name", "--host", "no host"], 1),
    ] {
        let output = command(arguments, &[("EID_NAME", "shop")])
            .stdout(unread())
            .stderr(unread())
            .status();
        assert_eq!(output.unwrap().code(), Some(status), "{arguments:?}");
    }
}

/// As in a compose file that passes on variables that are not set.
#[test]
fn empty_variables_are_unset() {
    let empty = ["EID_ENGINE", "DOCKER_CERT_PATH", "EID_ENGINE_TOKEN_FILE", "EID_HOST"].map(|key| (key, ""));
    // No server listens on the default engine port of this address.
    let output = command(&["lookup", "db@127.9.9.9"], &empty).output().unwrap();
    assert!(
        text(&output.stderr).contains("connection refused"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(5));
    let output = command(&["ps"], &empty).output().unwrap();
    assert!(
        text(&output.stderr).contains("not provided"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(2));
}
