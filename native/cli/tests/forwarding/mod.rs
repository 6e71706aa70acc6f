//! Helpers for tests of `eid forward`: the running process, its log, and services to forward to.

// Each test file uses only some of these helpers.
#![allow(dead_code)]

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{bind, getsockname, listen, socket_with, AddressFamily, SocketFlags, SocketType};
use rustix::process::{kill_process, Pid, Signal};

/// Upper limit for every wait. A test that reaches it hangs.
pub const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// A running `eid forward`. Dropping it kills the process.
pub struct Forward {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// The addresses on which it listens, in the order of the rules.
    pub places: Vec<SocketAddr>,
}

/// The resources of a process, as `/proc` shows them.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    pub descriptors: usize,
    /// Resident memory, in kB.
    pub memory: usize,
    pub threads: usize,
}

impl Footprint {
    pub fn of(process: &Child) -> Self {
        let proc = format!("/proc/{}", process.id());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            descriptors: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            memory: number("VmRSS:"),
            threads: number("Threads:"),
        }
    }
}

/// `eid forward` with these arguments and only these environment variables.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eid"));
    command.arg("forward").args(arguments);
    command.env_clear().envs(environment.iter().copied());
    command
}

impl Forward {
    /// Forwards a free port on loopback to this target.
    pub fn to(target: &str, more: &[&str]) -> Self {
        Self::start(&[&["--listen", "127.0.0.1:0", "--to", target], more].concat(), &[], 1)
    }

    /// Starts `eid forward` and waits until it listens on this number of addresses.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)], places: usize) -> Self {
        let mut command = command(arguments, environment);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log, said) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&lines));
        thread::spawn(move || {
            log.lines()
                .map_while(Result::ok)
                .for_each(|line| said.lock().unwrap().push(line))
        });
        let mut forward = Self {
            child,
            lines,
            places: Vec::new(),
        };
        until("it listens", || forward.said(" is forwarded to ").len() == places);
        let place = |line: String| {
            line.split(" INFO ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        forward.places = forward.said(" is forwarded to ").into_iter().map(place).collect();
        forward
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.places[0])
    }

    /// The log lines so far that contain this text.
    pub fn said(&self, part: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops all threads of the process, and waits for this, because `kill` returns earlier.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        until("it has stopped", || {
            fs::read_dir(&tasks)
                .unwrap()
                .all(|task| is_stopped(&task.unwrap().path()))
        });
    }

    /// Waits until the process exits without a further signal.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn footprint(&self) -> Footprint {
        Footprint::of(&self.child)
    }

    /// Returns a figure that the process logs on SIGUSR1: `connections`, `accepted` or `tasks`.
    pub fn figure(&self, name: &str) -> usize {
        let before = self.said(" figures ").len();
        self.signal(Signal::USR1);
        until("it logs figures", || self.said(" figures ").len() > before);
        let line = self.said(" figures ").pop().unwrap();
        let after = line.split(&format!("{name}=")).nth(1).unwrap();
        after.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(FAR_TOO_LONG)).unwrap();
    stream.set_write_timeout(Some(FAR_TOO_LONG)).unwrap();
    stream
}

/// Asserts that a connection to this address is reset. The reset may come early enough to make `connect` fail.
pub fn is_reset_from(to: SocketAddr) -> bool {
    match TcpStream::connect(to) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(FAR_TOO_LONG)).unwrap();
            is_reset(&mut stream)
        }
        Err(error) => has_been_reset(&error),
    }
}

/// Waits for the end of a connection and asserts that it is a reset.
pub fn is_reset(stream: &mut TcpStream) -> bool {
    has_been_reset(&io::copy(stream, &mut io::sink()).unwrap_err())
}

fn has_been_reset(error: &io::Error) -> bool {
    assert!(error.kind() == ErrorKind::ConnectionReset, "{error:?}");
    true
}

/// A listener on loopback, and its address as a target.
pub fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, target)
}

/// A port on loopback that refuses connections. The socket holds it, so that no other program gets it during the test.
pub struct Closed(OwnedFd);

impl Closed {
    /// Returns the port, and its address as a target.
    pub fn new() -> (Self, String) {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        (Self(socket), format!("tcp://{address}"))
    }

    pub fn open(self) -> TcpListener {
        listen(&self.0, 128).unwrap();
        self.0.into()
    }
}

/// A free port outside the range from which the kernel gives ports to other programs (`net.ipv4.ip_local_port_range`).
pub fn free_port() -> u16 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() * 31 + NUMBER.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (number % 20_000) as u16;
        let everywhere = match has_ipv6() {
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        };
        if TcpListener::bind(everywhere).is_ok() {
            return port;
        }
    }
}

/// Returns true if this machine has IPv6. Otherwise prints that the test skips IPv6.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("IPv6 is not checked: this machine has none");
    }
    has
}

/// A service that handles each connection in its own thread. Returns its address as a target.
pub fn service(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let (listener, target) = listener();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    target
}

/// A service that sends back all that it receives.
pub fn echo() -> String {
    service(|mut stream| {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    })
}

/// Sends a text to an echo service and returns true if the same text comes back.
pub fn is_echoed(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut answer = vec![0; text.len()];
    stream.write_all(text).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == text
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < FAR_TOO_LONG, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A reproducible sequence of random-looking bytes, made from a seed (xorshift64*, Vigna 2016).
pub struct Noise {
    state: u64,
}

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills a buffer, whose length must be a multiple of 8.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes());
        }
    }
}

/// Sends this number of bytes of the sequence. The number must be a multiple of `PIECE`.
pub fn send_noise(stream: &mut TcpStream, seed: u64, length: usize) -> std::io::Result<()> {
    let mut noise = Noise::new(seed);
    let mut piece = [0; PIECE];
    for _ in 0..length / PIECE {
        noise.fill(&mut piece);
        stream.write_all(&piece)?;
    }
    Ok(())
}

/// Reads this number of bytes, and panics if one differs from the sequence.
pub fn expect_noise(stream: &mut TcpStream, seed: u64, length: usize) -> std::io::Result<()> {
    let mut noise = Noise::new(seed);
    let (mut piece, mut expected) = ([0; PIECE], [0; PIECE]);
    for number in 0..length / PIECE {
        stream.read_exact(&mut piece)?;
        noise.fill(&mut expected);
        assert!(piece == expected, "piece {number} was altered");
    }
    Ok(())
}

pub const PIECE: usize = 8192;
