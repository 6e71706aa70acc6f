//! Tests `eid doctor` with scripted engines and nodes that do what real ones cannot be made to do. The tests with real
//! engines and nodes are in `test/eid_doctor_SUITE.erl`.

mod command;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use command::{closed, command, text};
use serde_json::Value;

const NODE: &str = "db@127.0.0.1";
const CHALLENGE: u32 = 0x8000_0001;
const COOKIE: &[u8] = b"rosebud";

/// A container in the host's network: `eid doctor` dials its node directly on the distribution port.
const INSPECTED: &str = r#"{"Id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Name":"/db",
    "State":{"Running":true,"Status":"running"},"HostConfig":{"NetworkMode":"host"},"Config":{"Image":"shop:1"}}"#;

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// A short timeout, for engines and nodes that use it up.
const BRIEFLY: [&str; 2] = ["--timeout", "1"];

fn eid(arguments: &[&str]) -> Output {
    command(&[&["doctor"], arguments].concat(), &[]).output().unwrap()
}

/// Listens on loopback and serves each connection in its own thread.
fn serve(serve_one: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let (serve_one, stream) = (serve_one.clone(), stream.unwrap());
            spawn(move || serve_one(stream));
        }
    });
    address
}

/// An engine that chooses the status and the body of its answer by the path.
fn engine(answer: impl Fn(&str) -> (&'static str, String) + Clone + Send + 'static) -> SocketAddr {
    serve(move |mut stream| {
        let mut head = vec![];
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let (status, body) = answer(text(&head).split(' ').nth(1).unwrap());
        let (length, server) = (body.len(), "Server: Docker/99.0 (linux)\r\nApi-Version: 1.41");
        let answer =
            format!("HTTP/1.1 {status}\r\n{server}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn good(path: &str) -> (&'static str, String) {
    match path {
        "/_ping" => ("200 OK", "OK".to_owned()),
        "/v1.41/containers/db/json" => ("200 OK", INSPECTED.to_owned()),
        _ => ("404 Not Found", r#"{"message":"No such container"}"#.to_owned()),
    }
}

/// Runs `eid doctor --json` with a good engine and a node at this address. Returns the report and the exit status.
fn examine(node: SocketAddr, more: &[&str]) -> (Value, i32) {
    diagnose(engine(good), node, more)
}

fn diagnose(engine: SocketAddr, node: SocketAddr, more: &[&str]) -> (Value, i32) {
    let (engine, port) = (format!("tcp://{engine}"), node.port().to_string());
    let arguments = [NODE, "--json", "--engine", &engine, "--erlang-port", &port];
    let limit = if more.contains(&"--timeout") {
        &[]
    } else {
        &["--timeout", "20"][..]
    };
    let began = Instant::now();
    let output = eid(&[&arguments, limit, more].concat());
    assert!(began.elapsed() < FAR_TOO_LONG, "{:?}", began.elapsed());
    assert_eq!(text(&output.stderr), "");
    let stdout = text(&output.stdout);
    assert_eq!(stdout.matches('\n').count(), 1);
    (serde_json::from_str(stdout).unwrap(), output.status.code().unwrap())
}

/// Returns the step with this name from a report.
fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let steps = answer["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap()
}

/// Asserts that this step is the first that fails, and that its sentence contains this text.
fn fails_at(answer: &(Value, i32), name: &str, status: i32, part: &str) {
    let (answer, code) = answer;
    let failed = step(answer, name);
    let sentence = failed["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains(part), "{sentence:?} in {answer}");
    assert_eq!(
        (answer["failed"].as_str(), answer["ok"].as_bool()),
        (Some(name), Some(false)),
        "{answer}"
    );
    assert_eq!(*code, status, "{answer}");
    assert!(!failed["advice"].as_str().unwrap().is_empty() && failed["microseconds"].is_u64());
    let mut expected = "ok";
    for step in answer["steps"].as_array().unwrap() {
        if step["step"] == name {
            assert_eq!(step["status"], "failed");
            expected = "not_tried";
        } else {
            assert_eq!(step["status"], expected, "{answer}");
        }
    }
    assert_eq!(answer["steps"].as_array().unwrap().len(), 10);
}

// Nodes

fn frame(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn challenge(name: &str) -> Vec<u8> {
    let flags: u64 = 0x0d_07df_7fbd;
    let length = u16::try_from(name.len()).unwrap();
    let numbers = [
        &flags.to_be_bytes()[..],
        &CHALLENGE.to_be_bytes(),
        &7_u32.to_be_bytes(),
        &length.to_be_bytes(),
    ];
    frame(&[b"N", &numbers.concat()[..], name.as_bytes()].concat())
}

/// The messages of an OTP node to a peer that asks for a dynamic node name, up to the challenge.
fn welcome(name: &str) -> Vec<u8> {
    [frame(b"snamed:\0\x0dX1@eid-doctor\0\0\0\x01"), challenge(name)].concat()
}

/// A node that reads the peer's name, sends these bytes, and then closes the connection or stays silent.
fn saying(bytes: Vec<u8>, closes: bool) -> SocketAddr {
    serve(move |mut stream| {
        receive(&mut stream);
        stream.write_all(&bytes).unwrap();
        if !closes {
            let _ = stream.read(&mut [0]);
        }
    })
}

/// A temporary file, removed when it is dropped.
struct CookieFile(std::path::PathBuf);

impl CookieFile {
    fn new(name: &str, content: &[u8], mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("eid-doctor-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for CookieFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_node_that_answers() {
    let (answer, code) = examine(saying(welcome(NODE), false), &[]);
    assert_eq!(
        (code, answer["ok"].as_bool(), &answer["failed"]),
        (0, Some(true), &Value::Null),
        "{answer}"
    );
    assert_eq!(step(&answer, "api")["detail"]["api_version"], "1.41");
    assert_eq!(step(&answer, "api")["detail"]["server"], "Docker/99.0 (linux)");
    assert_eq!(step(&answer, "container")["detail"]["image"], "shop:1");
    assert_eq!(step(&answer, "port")["detail"]["route"], "host");
    let detail = &step(&answer, "handshake")["detail"];
    assert_eq!(
        (&detail["name"], &detail["creation"]),
        (&Value::from(NODE), &Value::from(7))
    );
    assert!(
        detail["flags"].as_array().unwrap().contains(&Value::from("SPAWN")),
        "{detail}"
    );
    let cookie = step(&answer, "cookie");
    assert_eq!(
        (&cookie["status"], &cookie["microseconds"]),
        (&Value::from("not_tried"), &Value::Null)
    );
    assert!(cookie["sentence"].as_str().unwrap().contains("--cookie-file"));
}

/// `eid doctor` closes the connection as soon as it has the node's name. It sends nothing that a node should not get
/// from an unauthenticated peer.
#[test]
fn what_a_node_gets_to_see() {
    for (more, flag, creation_is_0, name) in [
        (&[][..], 1 << 33, true, "eid-doctor"),
        (&["--name", "me@h"][..], 0, false, "me@h"),
    ] {
        let (sender, seen) = std::sync::mpsc::channel();
        let node = serve(move |mut stream| {
            let message = receive(&mut stream);
            stream.write_all(&[frame(b"sok"), challenge(NODE)].concat()).unwrap();
            let mut rest = vec![];
            stream.read_to_end(&mut rest).unwrap();
            sender.send((message, rest)).unwrap();
        });
        assert_eq!(examine(node, more).1, 0);
        let (message, rest) = seen.recv_timeout(FAR_TOO_LONG).unwrap();
        assert_eq!((message[0], rest), (b'N', vec![]));
        let flags = u64::from_be_bytes(message[1..9].try_into().unwrap());
        assert_eq!((flags & 1, flags & 1 << 33), (0, flag), "hidden, and named by the node");
        assert_eq!(message[9..13] == [0; 4], creation_is_0);
        assert_eq!(&message[15..], name.as_bytes());
    }
}

#[test]
fn nodes_that_do_not_want() {
    for (said, part, error) in [
        (&b"snok"[..], "just connecting", "handshake"),
        (b"snot_allowed", "does not let in me@h", "not_allowed"),
        (b"salive", "already connected with one named me@h", "handshake"),
        (b"sbored", "\"bored\"", "handshake"),
    ] {
        let answer = examine(saying(frame(said), true), &["--name", "me@h"]);
        fails_at(&answer, "handshake", 4, part);
        assert_eq!(step(&answer.0, "handshake")["error"], error);
    }
}

#[test]
fn the_question_whether_it_is_alive_is_answered() {
    let (sender, seen) = std::sync::mpsc::channel();
    let node = serve(move |mut stream| {
        receive(&mut stream);
        stream.write_all(&frame(b"salive")).unwrap();
        sender.send(receive(&mut stream)).unwrap();
    });
    fails_at(&examine(node, &["--name", "me@h"]), "handshake", 4, "already connected");
    assert_eq!(seen.recv_timeout(FAR_TOO_LONG).unwrap(), b"sfalse");
}

#[test]
fn what_is_no_erlang_node() {
    let long = [&[0xff, 0xff][..], &[b'x'; 100_000]].concat();
    let cut = welcome(NODE);
    let cut = cut[..cut.len() - 2].to_vec();
    let cases: [(Vec<u8>, bool, &str); 11] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            true,
            "a web server listens there",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
            false,
            "\"SSH-2.0-OpenSSH_9.2p1\"",
        ),
        (b"\x15\x03\x03\0\x02\x02\x0a".to_vec(), true, "-proto_dist inet_tls"),
        (b"\x1b[2J\x07".to_vec(), true, "\u{fffd}[2J\u{fffd}"),
        (long, false, "something else"),
        (vec![0; 4096], false, "something else"),
        (vec![0], true, "something else"),
        (frame(b"x"), true, "something else"),
        (cut, true, "something else"),
        (vec![], true, "closes it without a word"),
        (vec![], false, "says nothing"),
    ];
    for (said, closes, part) in cases {
        let limit = if said.is_empty() { &BRIEFLY[..] } else { &[] };
        fails_at(&examine(saying(said, closes), limit), "handshake", 4, part);
    }
}

#[test]
fn nodes_that_stop_half_way() {
    fails_at(
        &examine(saying(frame(b"sok"), true), &[]),
        "handshake",
        4,
        "in the middle",
    );
    fails_at(
        &examine(saying(frame(b"sok"), false), &BRIEFLY),
        "handshake",
        4,
        "falls silent",
    );
    // Single bytes with pauses between them must not extend the timeout.
    let slow = serve(|mut stream| {
        for byte in welcome(NODE) {
            sleep(Duration::from_millis(300));
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    fails_at(&examine(slow, &BRIEFLY), "handshake", 4, "something else");
}

/// `eid doctor` does not wait for bytes that it would only print, even if they arrive slowly.
#[test]
fn a_stranger_that_talks_slowly() {
    let slow = serve(|mut stream| {
        while stream.write_all(b"SSSS").is_ok() {
            // At this rate all 60 bytes would take 140 s, longer than the test allows.
            sleep(Duration::from_secs(10));
        }
    });
    let (answer, code) = examine(slow, &[]);
    assert_eq!((code, answer["failed"].as_str()), (4, Some("handshake")));
}

#[test]
fn another_node() {
    let answer = examine(saying(welcome("db@127.0.0.2"), false), &[]);
    fails_at(&answer, "handshake", 4, "calls itself db@127.0.0.2");
    assert_eq!(step(&answer.0, "handshake")["error"], "another_node");
    let answer = examine(saying(welcome("\x1b]0;x\x07"), false), &[]);
    fails_at(&answer, "handshake", 4, "calls itself \u{fffd}]0;x\u{fffd}");
}

/// To Erlang, these names are two different nodes. The user asked for one of them and reached the right container.
#[test]
fn the_same_container_by_another_name() {
    let id = "0123456789abcdef".repeat(4);
    for (own, part) in [
        (
            format!("{}@127.0.0.1", &id[..12]),
            "the node in this container has another name",
        ),
        (format!("{id}@127.0.0.1"), "the node in this container has another name"),
        (format!("{}@127.0.0.2", &id[..12]), "another node answers there"),
        ("fedcba987654@127.0.0.1".to_owned(), "another node answers there"),
    ] {
        let answer = examine(saying(welcome(&own), false), &[]);
        fails_at(&answer, "handshake", 4, &format!("{part}: it calls itself {own}"));
    }
}

/// A node that checks the cookie as OTP does. It compares with the MD5 digest of the cookie followed by its challenge,
/// and acknowledges with the digest of the cookie followed by the peer's challenge.
fn node_with_cookie(acknowledge: fn(u32) -> Option<Vec<u8>>) -> SocketAddr {
    serve(move |mut stream| {
        receive(&mut stream);
        stream.write_all(&welcome(NODE)).unwrap();
        let reply = receive(&mut stream);
        assert_eq!((reply[0], reply.len()), (b'r', 21));
        let theirs = u32::from_be_bytes(reply[1..5].try_into().unwrap());
        if reply[5..] == md5(&[COOKIE, CHALLENGE.to_string().as_bytes()].concat())[..] {
            if let Some(answer) = acknowledge(theirs) {
                stream.write_all(&answer).unwrap();
                let _ = stream.read(&mut [0]);
            }
        }
    })
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    use md5::{Digest, Md5};
    Md5::digest(bytes).to_vec()
}

fn acknowledged(challenge: u32) -> Option<Vec<u8>> {
    let digest = md5(&[COOKIE, challenge.to_string().as_bytes()].concat());
    Some(frame(&[&b"a"[..], &digest].concat()))
}

#[test]
fn cookies() {
    let good = CookieFile::new("good", b"rosebud\n", 0o400);
    let wrong = CookieFile::new("wrong", b"rosebuds", 0o600);
    let (good, wrong) = (["--cookie-file", good.path()], ["--cookie-file", wrong.path()]);
    let (answer, code) = examine(node_with_cookie(acknowledged), &good);
    assert_eq!(
        (code, &step(&answer, "cookie")["status"]),
        (0, &Value::from("ok")),
        "{answer}"
    );
    fails_at(
        &examine(node_with_cookie(acknowledged), &wrong),
        "cookie",
        4,
        "another cookie",
    );
    // Three bad nodes: the first does not know the cookie, the second sends an empty acknowledgement, the third sends
    // nothing.
    let parrot = |challenge: u32| Some(frame(&[&b"a"[..], &challenge.to_be_bytes().repeat(4)].concat()));
    fails_at(
        &examine(node_with_cookie(parrot), &good),
        "cookie",
        4,
        "can't show that it has it",
    );
    fails_at(
        &examine(node_with_cookie(|_| Some(frame(b"a"))), &good),
        "cookie",
        4,
        "something else",
    );
    fails_at(
        &examine(node_with_cookie(|_| Some(vec![])), &[&good[..], &BRIEFLY].concat()),
        "cookie",
        4,
        "falls silent",
    );
}

/// With an unusable cookie file, `eid doctor` dials no node and prints no part of the cookie.
#[test]
fn cookie_files_that_are_none() {
    let is_dialled = serve(|_| panic!("dialled"));
    let engine = format!("tcp://{is_dialled}");
    let cases: [(&[u8], u32, &str); 6] = [
        (b"rosebud", 0o440, "chmod 400"),
        (b"rosebud", 0o604, "chmod 400"),
        (b"", 0o400, "no cookie in it"),
        (b"\n", 0o400, "no cookie in it"),
        (b"rosebud\nrosebud", 0o400, "one line"),
        (&[b'x'; 300], 0o400, "at most 255"),
    ];
    for (number, (content, mode, part)) in cases.iter().enumerate() {
        let file = CookieFile::new(&number.to_string(), content, *mode);
        let output = eid(&[NODE, "--engine", &engine, "--cookie-file", file.path()]);
        let error = text(&output.stderr);
        assert!(
            error.starts_with("eid: the cookie file ") && error.contains(part),
            "{error:?}"
        );
        assert!(!error.contains("rosebud") && output.stdout.is_empty());
        assert_eq!((error.matches('\n').count(), output.status.code()), (1, Some(1)));
    }
    let output = eid(&[NODE, "--engine", &engine, "--cookie-file", "/nonexistent/cookie"]);
    assert!(text(&output.stderr).contains("can't be read"));
}

#[test]
fn engines_that_are_none() {
    let node = saying(welcome(NODE), false);
    let page = |status| move |_: &str| (status, "<html>no</html>".to_owned());
    fails_at(
        &diagnose(engine(page("403 Forbidden")), node, &[]),
        "api",
        5,
        "a page of HTML",
    );
    fails_at(
        &diagnose(
            engine(|_| ("401 Unauthorized", r#"{"message":"who?"}"#.to_owned())),
            node,
            &[],
        ),
        "api",
        5,
        "does not let this host ask: who?",
    );
    fails_at(
        &diagnose(serve(|mut stream| drop(stream.write_all(b"SSH-2.0-x\r\n"))), node, &[]),
        "api",
        5,
        "no Docker engine",
    );
    let silent = serve(|mut stream| while stream.read(&mut [0]).unwrap_or(0) > 0 {});
    fails_at(&diagnose(silent, node, &BRIEFLY), "api", 5, "does not answer in time");
    // A web server that answers 404 to every path, with different bodies.
    for body in ["", "Not Found", "{}", "404 page not found", "<html>no</html>"] {
        let found = diagnose(engine(move |_| ("404 Not Found", body.to_owned())), node, &[]);
        fails_at(&found, "api", 5, "no Docker engine");
    }
    let elsewhere = engine(|_| ("301 Moved Permanently", String::new()));
    fails_at(&diagnose(elsewhere, node, &[]), "api", 5, "sends this host elsewhere");
    let broken = diagnose(engine(|_| ("502 Bad Gateway", String::new())), node, &[]);
    fails_at(&broken, "api", 5, "status 502");
    assert!(step(&broken.0, "api")["advice"]
        .as_str()
        .unwrap()
        .contains("read the log"));
    // A proxy that refuses only `/_ping` is harmless.
    let shy = engine(|path| match path {
        "/_ping" => ("403 Forbidden", String::new()),
        "/containers/db/json" => ("200 OK", INSPECTED.to_owned()),
        _ => ("404 Not Found", "{}".to_owned()),
    });
    assert_eq!(diagnose(shy, node, &[]).1, 0);
    let (_closed, nowhere) = closed();
    let nowhere = nowhere.trim_start_matches("tcp://").parse().unwrap();
    fails_at(&diagnose(nowhere, node, &[]), "engine", 5, "nobody listens");
}

/// Runs `eid doctor` with an engine that returns this description of the container.
fn with_container(inspected: &'static str) -> (Value, i32) {
    let engine = engine(move |path| match path {
        "/v1.41/containers/db/json" => ("200 OK", inspected.to_owned()),
        path => good(path),
    });
    // The run fails before it dials the node.
    diagnose(engine, SocketAddr::from(([127, 0, 0, 1], 12345)), &[])
}

#[test]
fn containers_that_do_not_run() {
    for (state, part) in [
        (
            r#"{"Status":"created","Running":false,"Error":"no such file"}"#,
            "never started: no such file",
        ),
        (
            r#"{"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1}"#,
            "ends again and again, last time with exit status 1",
        ),
        (
            r#"{"Status":"exited","ExitCode":137,"OOMKilled":true,"FinishedAt":"2026-01-02T03:04:05.678Z"}"#,
            "it ended at 2026-01-02T03:04:05Z with exit status 137 (the kernel ended it: out of memory)",
        ),
        (r#"{"Status":"dead"}"#, "is dead"),
        (r#"{"Status":"paused","Running":true,"Paused":true}"#, "paused"),
        ("{}", "does not run"),
    ] {
        let inspected = INSPECTED.replace(r#"{"Running":true,"Status":"running"}"#, state);
        fails_at(&with_container(inspected.leak()), "running", 4, part);
    }
}

#[test]
fn ports_that_are_not_published() {
    let with = |ports: &str| {
        let settings = format!(r#""NetworkSettings":{{"Ports":{ports}}}"#);
        with_container(
            INSPECTED
                .replace(r#""HostConfig":{"NetworkMode":"host"}"#, &settings)
                .leak(),
        )
    };
    let both =
        |port: u16| format!(r#"[{{"HostIp":"0.0.0.0","HostPort":"{port}"}},{{"HostIp":"::","HostPort":"{port}"}}]"#);
    let found = with(&format!(r#"{{"80/tcp":{},"443/tcp":{}}}"#, both(1080), both(1443)));
    fails_at(
        &found,
        "port",
        4,
        "port 12345 of the container is not published; published are 80, 443",
    );
    let sentence = step(&found.0, "port")["sentence"].as_str().unwrap();
    assert!(sentence.ends_with("80, 443"), "{sentence}");
    fails_at(
        &with(&format!(r#"{{"12345/udp":{}}}"#, both(1080))),
        "port",
        4,
        "not published for TCP, only for UDP",
    );
}

/// `eid doctor` replaces control characters in texts from the engine and from the node.
#[test]
fn nothing_that_a_terminal_would_act_on() {
    let inspected = INSPECTED
        .replace("0123456789abcdef", "\\u001b[2J\u{202e}")
        .replace("shop:1", "\u{2067}shop");
    let url = format!(
        "tcp://{}",
        engine(move |path| match path {
            "/v1.41/containers/db/json" => ("200 OK", inspected.clone()),
            path => good(path),
        })
    );
    let port = saying(welcome("\u{202e}x@h"), false).port().to_string();
    let output = eid(&[NODE, "--engine", &url, "--erlang-port", &port]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("\u{fffd}shop") && shown.contains("calls itself \u{fffd}x@h"),
        "{shown:?}"
    );
    assert!(!shown.contains(['\x1b', '\u{202e}', '\u{2067}']), "{shown:?}");
}

#[test]
fn lines() {
    let (engine, node) = (format!("tcp://{}", engine(good)), saying(welcome(NODE), false));
    let output = eid(&[NODE, "--engine", &engine, "--erlang-port", &node.port().to_string()]);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(
        lines[..9]
            .iter()
            .all(|line| line.starts_with("ok ") && line.contains("ms  ")),
        "{lines:#?}"
    );
    assert!(lines[9].starts_with("not tried cookie") && lines[9].contains("--cookie-file"));
    assert!(!text(&output.stdout).contains('\x1b') && output.stderr.is_empty());
    let output = eid(&["db"]);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(
        lines[0].starts_with("failed    name") && lines[9] == "not tried cookie",
        "{lines:#?}"
    );
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn wrong_command_lines() {
    for arguments in [
        &[][..],
        &["a@b", "c@d"],
        &["a@b", "--name", "me"],
        &["a@b", "--erlang-port", "0"],
    ] {
        assert_eq!(eid(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
