//! Helpers that run `eid` as a user or a script runs it.

// Each test file uses only some of these helpers.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::Duration;

use rustix::net::{bind, getsockname, socket_with, AddressFamily, SocketFlags, SocketType};

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// `eid` with these arguments and only these environment variables. The added variable makes the resolver give up
/// before `eid` does if no DNS server answers.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eid"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.env("RES_OPTIONS", "timeout:1 attempts:1");
    command
}

/// A port on loopback that refuses connections, and the address of an engine there. The returned socket holds the port,
/// so that no other program gets it during the test.
pub fn closed() -> (OwnedFd, String) {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
    (socket, format!("tcp://{address}"))
}

pub fn eid(arguments: &[&str]) -> Output {
    command(arguments, &[]).output().unwrap()
}

/// Runs `eid`, asserts that it succeeds, and returns its standard output.
pub fn answer(arguments: &[&str]) -> String {
    let output = eid(arguments);
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        ("", Some(0)),
        "{arguments:?}"
    );
    text(&output.stdout).to_owned()
}

/// Runs `eid`, asserts that it exits with this status and prints nothing on standard output. Returns the single
/// sentence that it prints on standard error.
pub fn failure(arguments: &[&str], status: i32) -> String {
    let output = eid(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?} {error}");
    assert!(
        error.starts_with("eid: ") && error.matches('\n').count() == 1,
        "{error:?}"
    );
    assert_eq!(text(&output.stdout), "");
    error.to_owned()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A running `eid` process. Dropping it ends the process.
pub struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            stdout: lines(stdout),
            stderr: lines(stderr),
        }
    }

    /// Waits for the next line on standard output.
    pub fn line(&self) -> String {
        self.stdout.recv_timeout(FAR_TOO_LONG).expect("no line comes")
    }

    /// Waits for the next line on standard error.
    pub fn error(&self) -> String {
        self.stderr.recv_timeout(FAR_TOO_LONG).expect("no line comes")
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
