//! Helpers for tests of `eid serve`: the running process, its log, and its answers.

// Each test file uses only some of these helpers.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// Number of log lines to keep.
const LOG_LINES: usize = 20;

/// A running `eid serve` with the last lines of its log. Dropping it kills the process.
pub struct Serve {
    pub child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// A loopback address that no other test uses, with a port that is free on all addresses.
pub fn own_address() -> SocketAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id()
        .wrapping_mul(7919)
        .wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
    let byte = |n: u32| 1 + (n % 250) as u8;
    let ip = Ipv4Addr::new(127, byte(n / 62_500), byte(n / 250), byte(n));
    let mut addresses = (4243..).map(|port| SocketAddr::from((ip, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

pub fn command(docker: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eid"));
    command.args(["serve", "--docker", docker]).args(arguments).env_clear();
    command
}

impl Serve {
    /// Starts a server with `--listen` on a new address.
    pub fn start(engine: SocketAddr, arguments: &[&str]) -> Self {
        let address = own_address();
        let listen = address.to_string();
        let mut command = command(
            &format!("tcp://{engine}"),
            &[&["--listen", &listen], arguments].concat(),
        );
        Self::run(&mut command, address)
    }

    /// Starts a command that listens on this address.
    pub fn run(command: &mut Command, address: SocketAddr) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.find(|line| line.as_ref().unwrap().contains("listening on"));
        assert!(listening.is_some(), "it does not listen");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        // Read all lines, because the server would block on a full pipe.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_back(line);
                if kept.len() > LOG_LINES {
                    kept.pop_front();
                }
            }
        });
        Self { child, address, log }
    }

    /// Starts a server and waits until it follows its engine.
    pub fn follow(engine: SocketAddr, arguments: &[&str]) -> Self {
        let serve = Self::start(engine, arguments);
        serve.until_live();
        serve
    }

    pub fn until_live(&self) {
        eventually("it is live", || self.get("/_ping").status == 200);
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    pub fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
        // The server may turn a client away and close the connection before it reads the request.
        let _ = stream.write_all(request.as_bytes());
        Answer::read(stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(FAR_TOO_LONG)).unwrap();
        stream
    }

    /// Subscribes to the events. The subscription is active when this returns.
    pub fn events(&self, query: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        write!(stream, "GET /events{query} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut events = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(events.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        events
    }

    pub fn figure(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The last lines of the log.
    pub fn log(&self) -> String {
        Vec::from_iter(self.log.lock().unwrap().iter().cloned()).join("\n")
    }

    pub fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn read(mut stream: impl Read) -> Self {
        let mut all = Vec::new();
        // The server may close without a TLS close_notify alert, or reset a connection with unread data.
        let _ = stream.read_to_end(&mut all);
        let all = String::from_utf8(all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
        Self {
            status: head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// Reads the next event from a chunked body. Returns `None` at the end of the body.
pub fn next_event(events: &mut impl BufRead) -> Option<Value> {
    loop {
        let mut line = String::new();
        let read = events.read_line(&mut line).unwrap();
        if read == 0 || line == "0\r\n" {
            return None;
        }
        if line.starts_with('{') {
            return Some(serde_json::from_str(&line).unwrap());
        }
    }
}

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < FAR_TOO_LONG, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
