//! Tests `eid name`, called as a container's entry point calls it.

mod command;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};

use command::{closed, command, text};
use eid_docker::own_container;

fn eid(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments, environment).output().unwrap()
}

/// Asserts that `eid name` prints this line and nothing else.
fn prints(arguments: &[&str], environment: &[(&str, &str)], line: &str) {
    let output = eid(arguments, environment);
    assert_eq!(text(&output.stderr), "", "{arguments:?} {environment:?}");
    assert_eq!(text(&output.stdout), line, "{arguments:?} {environment:?}");
    assert_eq!(output.status.code(), Some(0));
}

/// Asserts that `eid name` fails with one sentence that contains this text.
fn fails(arguments: &[&str], environment: &[(&str, &str)], part: &str) {
    let output = eid(arguments, environment);
    let error = text(&output.stderr);
    assert!(error.starts_with("eid: ") && error.contains(part), "{error:?}");
    assert_eq!(error.matches('\n').count(), 1, "{error:?}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(output.status.code(), Some(1));
}

/// A metadata service that answers each path with its page, one request per connection.
fn metadata(pages: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = vec![];
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let path = text(&head).split(' ').nth(1).unwrap();
            let page = pages.iter().find(|(known, _)| *known == path);
            let (status, body) = page.map_or(("404 Not Found", "Not found"), |(_, body)| ("200 OK", body));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn names_from_the_environment() {
    let shop = ("EID_NAME", "shop");
    prints(&["name"], &[shop, ("EID_HOST", "192.0.2.1")], "shop@192.0.2.1\n");
    prints(&["name"], &[shop, ("MY_POD_IP", "fd00::3")], "shop@fd00::3\n");
    prints(&["name", "--host", "h"], &[shop, ("EID_HOST", "192.0.2.1")], "shop@h\n");
    prints(
        &["name", "--host="],
        &[shop, ("EID_HOST", "192.0.2.1")],
        "shop@192.0.2.1\n",
    );
    prints(
        &["name", "--short"],
        &[shop, ("EID_HOST", ""), ("MY_POD_IP", "10.0.0.1")],
        "shop@10.0.0.1\n",
    );
}

#[test]
fn names_after_the_container() {
    match own_container() {
        Some(id) => {
            prints(&["name", "--host", "h"], &[], &format!("{id}@h\n"));
            prints(&["name", "--host", "h", "--short"], &[], &format!("{}@h\n", &id[..12]));
        }
        None => fails(
            &["name", "--host", "h"],
            &[("HOSTNAME", "4f1c0b6a9d8e")],
            "set EID_NAME",
        ),
    }
}

#[test]
fn what_is_missing_or_wrong() {
    let shop = ("EID_NAME", "shop");
    let (_closed, nowhere) = closed();
    fails(&["name"], &[shop, ("EID_ENGINE", &nowhere)], "set EID_HOST");
    fails(
        &["name"],
        &[("EID_NAME", "shop@h"), ("EID_HOST", "h")],
        "EID_NAME is \"shop@h\"",
    );
    fails(&["name"], &[shop, ("EID_HOST", "[::1]")], "EID_HOST is \"[::1]\"");
    fails(&["name", "--host", "a\nb"], &[shop], "--host is \"a\\nb\"");
    fails(&["name", "--rancher", "metadata"], &[shop], "give it a URL");
}

#[test]
fn names_that_rancher_completes() {
    let address = metadata(&[
        ("/latest/self/host", r#"{"agent_ip":"192.0.2.1"}"#),
        ("/latest/self/container", r#"{"primary_ip":"10.42.0.1"}"#),
    ]);
    let url = format!("http://{address}/latest");
    let shop = ("EID_NAME", "shop");
    prints(&["name", "--rancher", &url], &[shop], "shop@10.42.0.1\n");
    prints(&["name"], &[shop, ("EID_RANCHER", &url)], "shop@10.42.0.1\n");
    prints(&["name", "--rancher", &url], &[shop, ("EID_HOST", "h")], "shop@h\n");
    if let Some(id) = own_container() {
        prints(&["name", "--rancher", &url], &[], &format!("{id}@192.0.2.1\n"));
    }
    fails(
        &["name", "--rancher", &format!("{url}/x")],
        &[shop],
        "status 404: Not found",
    );
}

#[test]
fn a_rancher_that_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_closed, nowhere) = closed();
    for (url, why) in [
        (
            format!("tcp://{}", silent.local_addr().unwrap()),
            "does not answer in time",
        ),
        (nowhere, "connection refused"),
    ] {
        let url = url.replace("tcp://", "http://");
        fails(&["name", "--rancher", &url], &[("EID_NAME", "shop")], why);
    }
}

#[test]
fn names_that_eid_serve_completes() {
    let shop = ("EID_NAME", "shop");
    for host in ["192.0.2.1", "2001:db8::1", "docker-1.example"] {
        let body: &'static str = format!(r#"{{"Host":"{host}"}}"#).leak();
        let address = metadata(Vec::leak(vec![("/eid/host", body)]));
        let engine = format!("tcp://{address}");
        let name = format!("shop@{host}\n");
        prints(&["name", "--engine", &engine], &[shop], &name);
        prints(&["name"], &[shop, ("EID_ENGINE", &engine), ("EID_HOST", "")], &name);
        if let Some(id) = own_container() {
            prints(
                &["name", "--short", "--engine", &engine],
                &[],
                &format!("{}@{host}\n", &id[..12]),
            );
        }
        // The engine is the last source that `eid name` asks.
        prints(
            &["name", "--engine", &engine],
            &[shop, ("MY_POD_IP", "10.0.0.1")],
            "shop@10.0.0.1\n",
        );
        let rancher = metadata(&[("/latest/self/container", r#"{"primary_ip":"10.42.0.1"}"#)]);
        let url = format!("http://{rancher}");
        prints(
            &["name", "--engine", &engine, "--rancher", &url],
            &[shop],
            "shop@10.42.0.1\n",
        );
    }
}

#[test]
fn an_eid_serve_that_does_not_say_it() {
    let shop = ("EID_NAME", "shop");
    let asked = |body: &'static str| format!("tcp://{}", metadata(Vec::leak(vec![("/eid/host", body)])));
    let at = |engine: &str, part| fails(&["name", "--engine", engine, "--timeout", "60"], &[shop], part);
    for body in ["{}", r#"{"Host":"h:80"}"#, r#"{"Host":"\u001b[31m"}"#, "<html>", "null"] {
        at(&asked(body), "does not say the address (");
    }
    // A server that answers 404, as an engine without `eid serve` does, and a closed port.
    at(
        &format!("tcp://{}", metadata(&[])),
        "does not say the address (status 404: Not found); set EID_HOST",
    );
    let (_closed, nowhere) = closed();
    at(&nowhere, "run eid serve --advertise on that host");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("tcp://{}", silent.local_addr().unwrap());
    fails(
        &["name", "--engine", &silent, "--timeout", "0.5"],
        &[shop],
        "does not answer in time",
    );
}

#[test]
fn a_wrong_command_line() {
    for arguments in [&[][..], &["nmae"], &["name", "--hots", "h"], &["name", "h"]] {
        let output = eid(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn the_help_tells_the_exit_status() {
    for arguments in [&["--help"][..], &["name", "--help"], &["help", "name"], &["name", "-h"]] {
        let output = eid(arguments, &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Exit status:"), "{arguments:?}");
    }
    assert!(text(&eid(&["--version"], &[]).stdout).starts_with("eid "));
}

#[test]
fn an_output_that_takes_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&["name", "--host", "h"], &[("EID_NAME", "shop")]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("eid: "));
}
