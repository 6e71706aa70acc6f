//! Sends inspects as fast as the server answers, for `bench_serve.erl`. The client costs little compared with the server.
//!
//! ```text
//! inspects SOCKET PATH CONNECTIONS MILLISECONDS
//! ```
//!
//! Requests the path at a unix socket, on CONNECTIONS keep-alive connections, for MILLISECONDS. Prints the answers per second.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// Time limit for an answer.
const WAIT: Duration = Duration::from_secs(20);

/// Each thread sends on all of its connections before it reads the answers, so that fewer answers wake a thread.
const THREADS: u64 = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, path, connections, milliseconds] = &arguments[..] else {
        panic!("inspects SOCKET PATH CONNECTIONS MILLISECONDS");
    };
    let connections = connections.parse::<u64>().unwrap() / THREADS;
    let milliseconds: u64 = milliseconds.parse().unwrap();
    let time = Duration::from_millis(milliseconds);
    let askers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (socket, path) = (socket.clone(), path.clone());
            thread::spawn(move || ask(&socket, &path, connections, time))
        })
        .collect();
    let answers: u64 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
    println!("{}", answers * 1000 / milliseconds);
}

/// Returns the number of answers in this time.
fn ask(socket: &str, path: &str, connections: u64, time: Duration) -> u64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut streams: Vec<UnixStream> = (0..connections).map(|_| UnixStream::connect(socket).unwrap()).collect();
    let mut answer = Vec::new();
    for stream in &mut streams {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        answer = first(stream);
    }
    let end = Instant::now() + time;
    let mut answers = 0;
    while Instant::now() < end {
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).unwrap();
        }
        // The container does not change, so all answers have the length of the first one.
        for stream in &mut streams {
            stream.read_exact(&mut answer).unwrap();
            assert!(is_whole(&answer));
            answers += 1;
        }
    }
    answers
}

fn first(stream: &mut UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut part = [0; 64 * 1024];
    while !is_whole(&answer) {
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "the connection was closed");
        answer.extend_from_slice(&part[..length]);
    }
    answer
}

/// Returns whether the answer is complete, chunked or not: the JSON of an inspect ends like this, and has it nowhere else.
fn is_whole(answer: &[u8]) -> bool {
    let is_json = answer.ends_with(b"}}}") || answer.ends_with(b"}}}\n") || answer.ends_with(b"\r\n0\r\n\r\n");
    answer.starts_with(b"HTTP/1.1 200 OK\r\n") && is_json
}
