//! Tests of `eid serve`: limits on requests and connections, and shutdown.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use crate::serving::{command, eventually, next_event, own_address, Answer, Serve};
use crate::tls_double::Folder;
use crate::{names, shop};

#[test]
fn too_many_requests() {
    let engine = shop();
    let serve = Serve::start(engine.address(), &["--rate", "5"]);
    // The limit allows a burst of two seconds' worth of requests, and five more for each second that the loop takes.
    let began = Instant::now();
    let mut answered = 0;
    let late = loop {
        let answer = serve.get("/_ping");
        if answer.status == 429 {
            break answer;
        }
        answered += 1;
        let most = 10.0 + 5.0 * began.elapsed().as_secs_f64();
        assert!(f64::from(answered) <= most, "{answered} answers, and not {most}");
    };
    assert!(answered >= 10, "{answered} answers");
    assert!(
        late.head.contains("retry-after: 1") && !late.message().is_empty(),
        "{}",
        late.head
    );
    eventually("requests are answered again", || serve.get("/_ping").status == 200);
}

#[test]
fn too_many_connections() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &["--max-connections", "3"]);
    let mut held = Vec::new();
    eventually("the connection limit is reached", || {
        held.push(serve.connect());
        serve.get("/_ping").status == 0
    });
    assert!(held.len() >= 3);
    drop(held);
    eventually("connections are accepted again", || serve.get("/_ping").status == 200);
    assert!(serve.figure("eid_serve_turned_away_total") > 0);
}

/// Clients' connections do not use up the file descriptors that the server needs for its engine.
#[test]
fn few_descriptors() {
    let engine = shop();
    let address = own_address();
    let docker = format!("tcp://{}", engine.address());
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 128 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_eid"),
            "serve",
        ])
        .args(["--docker", &docker, "--listen", &address.to_string()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    let serve = Serve::run(&mut command, address);
    serve.until_live();
    let mut events = serve.events("");
    let held: Vec<TcpStream> = (0..300).map(|_| serve.connect()).collect();
    eventually("further connections are closed", || serve.get("/_ping").status == 0);
    // The server can also reconnect to its engine.
    engine.cut_streams();
    assert_eq!(next_event(&mut events), None);
    drop(held);
    serve.until_live();
    assert!(serve.figure("eid_serve_turned_away_total") > 200);
}

#[test]
fn requests_that_are_none() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let long = "x".repeat(100_000);
    for (sent, statuses) in [
        (
            format!("GET /_ping HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
            &[431, 400, 0][..],
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), &[414, 431, 400, 0]),
        (
            format!("GET /_ping HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: x\r\n".repeat(100)),
            &[431, 400],
        ),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), &[400, 0]),
        ("GET /_ping HTTP/9.9\r\n\r\n".to_owned(), &[400, 505, 0]),
        (
            format!(
                "GET /containers/json?filters={} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                "x".repeat(5000)
            ),
            &[400],
        ),
    ] {
        let mut stream = serve.connect();
        let _ = stream.write_all(sent.as_bytes());
        let answer = Answer::read(stream);
        assert!(statuses.contains(&answer.status), "{} {}", &sent[..20], answer.head);
    }
    // Clients that never finish their request do not block other clients.
    let mut slow: Vec<TcpStream> = (0..50).map(|_| serve.connect()).collect();
    slow.iter_mut()
        .for_each(|stream| stream.write_all(b"GET /_ping HTTP/1.1\r\nHo").unwrap());
    assert_eq!(serve.get("/_ping").status, 200);
}

// Shutdown

#[test]
fn sigterm() {
    let engine = shop();
    let folder = Folder::new(&[]);
    let socket = folder.path().join("eid.sock");
    let listen = format!("unix://{}", socket.display());
    let mut serve = Serve::follow(engine.address(), &["--listen", &listen, "--drain", "3600"]);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    write!(
        unix,
        "GET /containers/json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(names(&Answer::read(unix)).len(), 4);
    let mut events = serve.events("");
    let idle = serve.connect();
    let mut slow = serve.connect();
    slow.write_all(b"GET /_pi").unwrap();
    eventually("all four connections are open", || {
        serve.figure("eid_serve_open_connections") == 4
    });
    // The server ends without waiting for the whole drain time of an hour.
    assert_eq!(serve.terminate(), Some(0));
    // The server ends the chunked body properly before it closes the connection.
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n");
    assert!(TcpStream::connect(serve.address).is_err() && !socket.exists());
    drop((idle, slow));
    // A socket file that another process left behind does not prevent listening.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let again = Serve::follow(engine.address(), &["--listen", &listen]);
    let taken = command("unix:///nowhere", &["--listen", &listen]).output().unwrap();
    assert!(String::from_utf8(taken.stderr).unwrap().contains("can't listen"));
    drop(again);
}
