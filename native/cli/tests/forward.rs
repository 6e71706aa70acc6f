//! Tests `eid forward` between clients and services on loopback. The tests with containers are in
//! `test/eid_forward_SUITE.erl`.

#[path = "../../docker/tests/engine_double/mod.rs"]
mod engine_double;
mod forwarding;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use engine_double::{EngineDouble, NewContainer};
use forwarding::{
    command, connect, echo, expect_noise, free_port, has_ipv6, is_echoed, is_reset, is_reset_from, listener,
    send_noise, service, until, Closed, Forward, PIECE,
};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;

const MEGABYTE: usize = 1 << 20;

/// Asserts that `eid forward` exits with this status and prints one sentence that contains all of these texts.
fn fails(arguments: &[&str], environment: &[(&str, &str)], parts: &[&str], status: i32) {
    let output = command(arguments, environment).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(parts.iter().all(|part| error.contains(part)), "{error:?}");
    assert_eq!(output.status.code(), Some(status), "{error:?}");
    assert!(status == 2 || error.matches('\n').count() == 1, "{error:?}");
}

// Rules: listening addresses and targets

#[test]
fn the_variables_of_dockers_ambassador() {
    let (one, two) = (free_port(), free_port());
    let names = [one, two].map(|port| format!("MY_PORT_{port}_TCP"));
    let (ipv4, echo) = (echo(), echo());
    let environment = [
        (names[0].as_str(), ipv4.as_str()),
        (&names[1], &echo),
        // Other variables that Docker links set, and empty ones. `eid forward` ignores both.
        ("MY_PORT_6379_TCP_ADDR", "172.17.0.8"),
        ("MY_PORT", "tcp://172.17.0.8:6379"),
        ("MY_PORT_53_UDP", "udp://172.17.0.8:53"),
        ("OTHER_PORT_1_TCP", ""),
        ("PORT_2_TCP", "tcp://172.17.0.8:6379"),
    ];
    let _forward = Forward::start(&[], &environment, 2);
    for port in [one, two] {
        for ip in if has_ipv6() {
            &["127.0.0.1", "::1"][..]
        } else {
            &["127.0.0.1"]
        } {
            assert!(is_echoed(&mut TcpStream::connect((*ip, port)).unwrap(), b"hello"));
        }
    }
}

#[test]
fn variables_that_are_wrong() {
    let name = "REDIS_PORT_6379_TCP";
    for value in [
        "x",
        "tcp://",
        "tcp://h",
        "tcp://h:0",
        "tcp://h:65536",
        "tcp://h:1/x",
        "udp://h:1",
        "docker://h:1",
        "docker://@h:1",
        "docker://.a@h:1",
        "docker://a/b@h:1",
        "docker://a%2fb@h:1",
        "docker://a@h",
        "docker://a@:1",
        "docker://a@b@c:1",
        "tcp://::1:6379",
    ] {
        fails(&[], &[(name, value)], &[name], 1);
    }
    for port in ["0", "65536", "99999999999999999999"] {
        let name = format!("A_PORT_{port}_TCP");
        fails(&[], &[(&name, "tcp://h:1")], &[&name, "port"], 1);
    }
    let both = [("A_PORT_6379_TCP", "tcp://h:1"), ("B_PORT_6379_TCP", "tcp://h:1")];
    fails(&[], &both, &["A_PORT_6379_TCP and B_PORT_6379_TCP", "same port"], 1);
    fails(&[], &[], &["nothing to forward", "--listen"], 1);
}

#[test]
fn options_that_are_wrong() {
    let to = ["--to", "tcp://127.0.0.1:1"];
    for place in ["x", "65536", "localhost:1", "127.0.0.1", "::1:5"] {
        fails(&[&["--listen", place], &to[..]].concat(), &[], &["--listen"], 2);
    }
    fails(&["--listen", "1", "--to", "x"], &[], &["--to"], 2);
    fails(&["--listen", "1"], &[], &["--to"], 2);
    let usage = "Usage: eid forward";
    fails(
        &[&["--listen", "1", "--listen", "2"], &to[..]].concat(),
        &[],
        &["--listen is there 2 times", "--to once", usage],
        2,
    );
    for (one, other) in [
        ("6379", "6379"),
        ("127.0.0.1:6379", "127.0.0.1:6379"),
        ("[::1]:6379", "[0::1]:6379"),
        ("6379", "127.0.0.1:6379"),
        ("[::1]:6379", "6379"),
        ("0.0.0.0:6379", "127.0.0.1:6379"),
        ("[::]:6379", "0.0.0.0:6379"),
    ] {
        let listen = |place| ["--listen", place, "--to", "tcp://127.0.0.1:1"];
        let arguments = [listen(one), listen("127.0.0.1:80"), listen(other)].concat();
        fails(&arguments, &[], &["same place", "--listen", usage], 2);
    }
    let many = ["--listen", "127.0.0.1:0", "--max-connections", "999999999999"];
    fails(&[&many, &to[..]].concat(), &[], &["open files"], 1);
}

#[test]
fn a_port_that_is_taken() {
    let (taken, target) = listener();
    let address = taken.local_addr().unwrap().to_string();
    fails(
        &["--listen", &address, "--to", &target],
        &[],
        &[&address, "something else"],
        1,
    );
    // Both processes set `SO_REUSEPORT`, so the kernel alone would let a second `eid forward` share the port.
    let first = Forward::to(&target, &["--threads", "2"]);
    let address = first.places[0].to_string();
    fails(
        &["--listen", &address, "--to", &target],
        &[],
        &[&address, "something else"],
        1,
    );
}

#[test]
fn pairs_belong_together() {
    let name = |text: &'static [u8]| service(move |mut stream| stream.write_all(text).unwrap());
    let (one, two) = (name(b"one"), name(b"two"));
    let listen = ["--listen", "127.0.0.1:0"];
    let arguments = [&listen[..], &["--to", &one], &listen, &["--to", &two]].concat();
    let forward = Forward::start(&arguments, &[("X_PORT_1_TCP", "nonsense, which is not read")], 2);
    for (place, expected) in forward.places.iter().zip(["one", "two"]) {
        let mut text = String::new();
        connect(*place).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
    }
}

/// The same port on two addresses, and port 0 (any free port) twice.
#[test]
fn places_that_are_not_the_same() {
    let (target, port) = (echo(), free_port());
    let places = [
        "127.0.0.1:0",
        "127.0.0.1:0",
        "127.0.0.2:PORT",
        "127.0.0.3:PORT",
        "[::1]:PORT",
        "[::]:0",
        "0",
    ];
    let mut places = Vec::from(places.map(|place| place.replace("PORT", &port.to_string())));
    if !has_ipv6() {
        places.retain(|place| !place.contains("::"));
    }
    let pairs = places.iter().flat_map(|place| ["--listen", place, "--to", &target]);
    let forward = Forward::start(&pairs.collect::<Vec<_>>(), &[], places.len());
    for place in forward.places.iter().take(5) {
        assert!(is_echoed(&mut connect(*place), b"hello"));
    }
}

#[test]
fn over_ipv6_to_a_name() {
    if !has_ipv6() {
        return;
    }
    let target = echo().replace("127.0.0.1", "localhost");
    let forward = Forward::start(&["--listen", "[::1]:0", "--to", &target], &[], 1);
    assert!(is_echoed(&mut forward.connect(), b"hello"));
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let forward = Forward::to(&target, &[]);
    let mut client = forward.connect();
    client.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    listener.accept().unwrap().0.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}

// Streams

#[test]
fn half_close_by_the_client() {
    let target = service(|mut stream| {
        let mut received = vec![];
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received.len().to_string().into_bytes()).unwrap();
    });
    let mut client = Forward::to(&target, &[]).and_connect();
    send_noise(&mut client.stream, 1, MEGABYTE).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, MEGABYTE.to_string());
}

#[test]
fn half_close_by_the_server() {
    let (send, received) = mpsc::channel();
    let target = service(move |mut stream| {
        send_noise(&mut stream, 1, MEGABYTE).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        send.send(std::io::copy(&mut stream, &mut std::io::sink()).unwrap())
            .unwrap();
    });
    let mut client = Forward::to(&target, &[]).and_connect();
    expect_noise(&mut client.stream, 1, MEGABYTE).unwrap();
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    send_noise(&mut client.stream, 2, MEGABYTE).unwrap();
    drop(client.stream);
    assert_eq!(received.recv().unwrap(), MEGABYTE as u64);
}

#[test]
fn much_in_both_directions_at_once() {
    const LENGTH: usize = 64 * MEGABYTE;
    let both = |mut stream: TcpStream, (ours, theirs): (u64, u64)| {
        let mut writer = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            send_noise(&mut writer, ours, LENGTH).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        expect_noise(&mut stream, theirs, LENGTH).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        sender.join().unwrap();
    };
    let target = service(move |stream| both(stream, (1, 2)));
    let forward = Forward::to(&target, &[]);
    let clients = [0; 3].map(|_| {
        let stream = forward.connect();
        thread::spawn(move || both(stream, (2, 1)))
    });
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// Sizes around the limits at which a stream switches to large buffers, and pauses at which it switches back.
#[test]
fn pieces_of_all_sizes() {
    let forward = Forward::to(&echo(), &["--threads", "1"]);
    echo_pieces(forward.connect());
}

/// The same while the thread has a second busy stream. In this case `eid forward` uses `splice`.
#[test]
fn pieces_of_all_sizes_beside_others() {
    let forward = Forward::to(&echo(), &["--threads", "1"]);
    let other = forward.connect();
    let (mut writer, mut reader) = (other.try_clone().unwrap(), other.try_clone().unwrap());
    let sender = thread::spawn(move || while writer.write_all(&[0; 65536]).is_ok() {});
    let receiver = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    echo_pieces(forward.connect());
    other.shutdown(Shutdown::Both).unwrap();
    sender.join().unwrap();
    let _ = receiver.join().unwrap();
}

fn echo_pieces(mut client: TcpStream) {
    for round in 0..3 {
        for size in [1, 4095, 16383, 16384, 16385, 65536, 200_000, MEGABYTE, 3] {
            let piece: Vec<u8> = (0..size).map(|n| (n * 7 + round) as u8).collect();
            let mut writer = client.try_clone().unwrap();
            let sent = piece.clone();
            let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
            let mut answer = vec![0; size];
            client.read_exact(&mut answer).unwrap();
            assert!(answer == piece, "{size}");
            sender.join().unwrap();
        }
    }
}

#[test]
fn a_slow_reader_holds_up_the_sender() {
    let (slow, target) = listener();
    let forward = Forward::to(&target, &["--threads", "2"]);
    let before = forward.footprint().memory;
    let pairs = (0..8).map(|_| (forward.connect(), slow.accept().unwrap().0));
    let (clients, servers): (Vec<TcpStream>, Vec<TcpStream>) = pairs.unzip();
    let sent: Vec<usize> = clients.iter().map(fill).collect();
    // The kernel's buffers of both connections and the buffers of `eid forward` bound the amount.
    assert!(sent.iter().all(|&sent| sent < 64 * MEGABYTE), "{sent:?}");
    let after = forward.footprint().memory;
    assert!(after < before + 4096, "{before} kB, then {after} kB");
    // The services receive every byte that the clients sent.
    for ((client, mut server), sent) in clients.into_iter().zip(servers).zip(sent) {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(std::io::copy(&mut server, &mut std::io::sink()).unwrap(), sent as u64);
    }
}

/// Sends until the peer has taken nothing for 300 ms. Returns the number of bytes sent.
fn fill(mut client: &TcpStream) -> usize {
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let piece = vec![0; 65536];
    let mut sent = 0;
    loop {
        match client.write(&piece) {
            Ok(length) => sent += length,
            // With a write timeout, stopping and continuing the process interrupts the call (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                );
                return sent;
            }
        }
    }
}

#[test]
fn a_reset_goes_through() {
    let (listener, target) = listener();
    let forward = Forward::to(&target, &[]);
    for from_client in [true, false] {
        let mut client = forward.connect();
        let mut server = listener.accept().unwrap().0;
        assert!(client.write_all(b"x").is_ok() && server.read_exact(&mut [0]).is_ok());
        let (dying, mut other) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        set_socket_linger(&dying, Some(Duration::ZERO)).unwrap();
        drop(dying);
        assert!(is_reset(&mut other));
    }
}

/// The server receives all that a client sent, even if the client does not read the answer.
#[test]
fn what_was_sent_arrives_before_the_reset() {
    let (listener, target) = listener();
    let forward = Forward::to(&target, &[]);
    let mut client = forward.connect();
    let mut server = listener.accept().unwrap().0;
    send_noise(&mut client, 3, 4 * PIECE).unwrap();
    server.write_all(b"an answer that nobody reads").unwrap();
    // Closing a socket with unread data sends a reset.
    client.peek(&mut [0]).unwrap();
    drop(client);
    expect_noise(&mut server, 3, 4 * PIECE).unwrap();
}

/// The client receives all that a server sent, even if the server's reset arrives together with the data.
#[test]
fn what_was_sent_arrives_with_the_reset() {
    let (listener, target) = listener();
    let forward = Forward::to(&target, &[]);
    let mut client = forward.connect();
    let mut server = listener.accept().unwrap().0;
    client.write_all(b"what nobody reads").unwrap();
    server.peek(&mut [0]).unwrap();
    forward.stop();
    server.write_all(b"goodbye").unwrap();
    let other_end = server.peer_addr().unwrap();
    drop(server);
    until("the reset is there", || !is_in_the_kernel(other_end));
    forward.signal(Signal::CONT);
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"goodbye");
    assert!(is_reset(&mut client));
}

/// Returns true if the kernel lists a TCP connection with this local address. A reset removes the connection from the
/// list, even while its process is stopped.
fn is_in_the_kernel(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else {
        panic!("not of IPv4: {address}")
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let own_end = format!(" {ip:08X}:{:04X} ", address.port());
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut columns = connections.lines().filter_map(|line| line.split_once(':'));
    columns.any(|(_, columns)| columns.starts_with(&own_end))
}

#[test]
fn many_connections() {
    const CLIENTS: usize = 40;
    const TIMES: usize = 50;
    let forward = Forward::to(&echo(), &["--threads", "2"]);
    let place = forward.places[0];
    let idle: Vec<TcpStream> = (0..300).map(|_| forward.connect()).collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            thread::spawn(move || (0..TIMES).for_each(|_| assert!(is_echoed(&mut connect(place), &[client as u8; 64]))))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for mut client in idle {
        assert!(is_echoed(&mut client, b"still there"));
    }
    until("all are gone", || forward.figure("connections") == 0);
    assert_eq!(forward.figure("accepted"), 300 + CLIENTS * TIMES);
}

// Limits

#[test]
fn idle_connections_are_cut() {
    const LIMIT: Duration = Duration::from_secs(1);
    let forward = Forward::to(&echo(), &["--idle-timeout", "1"]);
    let (mut idle, mut busy) = (forward.connect(), forward.connect());
    let idle = thread::spawn(move || is_reset(&mut idle));
    let mut last = Instant::now();
    while !idle.is_finished() {
        let now = Instant::now();
        if is_echoed(&mut busy, b"tick") {
            last = now;
        } else {
            // On an overloaded machine, the busy connection may really have been idle for the whole limit.
            assert!(last.elapsed() >= LIMIT, "cut after {:?}", last.elapsed());
            (busy, last) = (forward.connect(), Instant::now());
        }
    }
    assert!(idle.join().unwrap());
    assert!(is_reset(&mut busy));
    assert!(last.elapsed() >= LIMIT, "{:?}", last.elapsed());
}

#[test]
fn connections_beyond_the_limit_wait() {
    let forward = Forward::to(&echo(), &["--max-connections", "2", "--threads", "1"]);
    let mut clients: Vec<TcpStream> = (0..2).map(|_| forward.connect()).collect();
    assert!(clients.iter_mut().all(|client| is_echoed(client, b"in")));
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| forward.connect()).collect();
    for client in &mut waiting {
        client.write_all(b"later").unwrap();
    }
    // Twenty round trips give the only thread time to look at the waiting connections.
    for _ in 0..20 {
        assert!(clients.iter_mut().all(|client| is_echoed(client, b"in")));
    }
    for client in &mut waiting {
        client.set_nonblocking(true).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert!(error.kind() == ErrorKind::WouldBlock, "{error}");
        client.set_nonblocking(false).unwrap();
    }
    assert_eq!((forward.figure("connections"), forward.figure("accepted")), (2, 2));
    clients.clear();
    for mut client in waiting {
        client.read_exact(&mut [0; 5]).unwrap();
    }
}

/// `eid forward` logs the limit once, although the number of connections reaches it 20 times.
#[test]
fn the_limit_is_said_when_it_is_reached() {
    let forward = Forward::to(&echo(), &["--max-connections", "2", "--threads", "1"]);
    let said = || forward.said("2 connections, as many as there may be").len();
    let mut clients = vec![forward.connect()];
    assert!(is_echoed(&mut clients[0], b"in"));
    assert_eq!(said(), 0);
    for _ in 0..20 {
        let mut second = forward.connect();
        assert!(is_echoed(&mut second, b"in"));
        let waiting = forward.connect();
        drop(second);
        clients.push(waiting);
        assert!(is_echoed(&mut clients[1], b"in"));
        clients.pop();
    }
    // The figures come after all earlier log lines.
    forward.figure("connections");
    assert_eq!(said(), 1);
    assert!(forward.said("as many as there may be")[0].contains("--max-connections"));
}

// Shutdown

#[test]
fn connections_may_end_after_sigterm() {
    let mut forward = Forward::to(&echo(), &["--drain", "60"]);
    let mut client = forward.connect();
    assert!(is_echoed(&mut client, b"before"));
    forward.signal(Signal::TERM);
    until("it has stopped listening", || {
        TcpStream::connect(forward.places[0]).is_err()
    });
    assert!(is_echoed(&mut client, b"after"));
    drop(client);
    assert!(forward.ended().success());
    assert!(forward.said("are cut").is_empty());
}

#[test]
fn what_does_not_end_is_cut() {
    for (drain, signals) in [("0.2", &[Signal::INT][..]), ("600", &[Signal::TERM, Signal::TERM])] {
        let mut forward = Forward::to(&echo(), &["--drain", drain]);
        let mut client = forward.connect();
        assert!(is_echoed(&mut client, b"before"));
        for signal in signals {
            forward.signal(*signal);
            until("it is stopping", || forward.said("stopping").len() == 1);
        }
        assert!(is_reset(&mut client));
        assert!(forward.ended().success());
        assert_eq!(forward.said("1 connections are cut").len(), 1);
    }
}

// Unreachable targets

#[test]
fn a_refused_target_is_said_once_and_when_it_is_back() {
    let (closed, target) = Closed::new();
    let forward = Forward::to(&target, &[]);
    for _ in 0..20 {
        assert!(is_reset_from(forward.places[0]));
    }
    until("the log has the line", || forward.said("can't be reached").len() == 1);
    let line = forward.said("can't be reached").remove(0);
    assert!(line.contains("connection refused") && line.contains(&target), "{line}");
    let listener = closed.open();
    let _client = forward.connect();
    listener.accept().unwrap();
    until("the log has the line", || {
        forward.said("can be reached again").len() == 1
    });
    assert!(forward.said("can be reached again")[0].contains("20 failed connections"));
    assert_eq!(forward.said("can't be reached").len(), 1);
}

/// This rule would forward to itself in a loop until the connection limit is reached.
#[test]
fn a_target_that_is_its_own_port() {
    let few = ["--max-connections", "20"];
    for (listen, host) in [
        ("127.0.0.1:", "127.0.0.1"),
        ("127.0.0.1:", "localhost"),
        ("127.0.0.1:", "0.0.0.0"),
        ("", "127.0.0.2"),
        ("", "[::1]"),
        ("", "[::ffff:127.0.0.1]"),
    ] {
        if host.contains("::") && !has_ipv6() {
            continue;
        }
        let port = free_port();
        let (listen, target) = (format!("{listen}{port}"), format!("tcp://{host}:{port}"));
        let forward = Forward::start(&[&["--listen", &listen, "--to", &target], &few[..]].concat(), &[], 1);
        let place = SocketAddr::from(([127, 0, 0, 1], port));
        for _ in 0..3 {
            assert!(is_reset_from(place), "{target}");
        }
        assert_eq!(forward.figure("accepted"), 3, "{target}");
        until("the log has the line", || forward.said("itself listens").len() == 1);
        assert!(forward.said("itself listens")[0].contains(&target));
    }
    // Two rules that point to each other's listening ports form a loop as well.
    let ports = [free_port(), free_port()];
    let listen = ports.map(|port| format!("127.0.0.1:{port}"));
    let targets = [1, 0].map(|other| format!("tcp://{}", listen[other]));
    let pairs = [
        ["--listen", &listen[0], "--to", &targets[0]],
        ["--listen", &listen[1], "--to", &targets[1]],
    ];
    let forward = Forward::start(&[&pairs.concat()[..], &few[..]].concat(), &[], 2);
    assert!(is_reset_from(forward.places[0]));
    assert_eq!(forward.figure("accepted"), 1);
}

/// The usual case: the same port on another address.
#[test]
fn a_target_with_the_same_port_elsewhere() {
    let (listener, target) = listener();
    let port = listener.local_addr().unwrap().port();
    let forward = Forward::start(&["--listen", &format!("127.0.0.2:{port}"), "--to", &target], &[], 1);
    let mut client = forward.connect();
    listener.accept().unwrap().0.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_host_without_an_address() {
    let forward = Forward::to("tcp://nowhere.invalid:1", &[]);
    assert!(is_reset_from(forward.places[0]));
    until("the log has the line", || {
        forward.said("nowhere.invalid has no address").len() == 1
    });
}

/// Docker allows characters in container names that Erlang does not allow in node names.
#[test]
fn names_of_containers_that_no_node_has() {
    let engine = EngineDouble::start();
    let url = format!("tcp://{}", engine.address());
    let address: SocketAddr = echo().trim_start_matches("tcp://").parse().unwrap();
    for name in ["shop.redis", "shop_redis.1.0f-x"] {
        engine.run(NewContainer::new(name).port(6379, "tcp", "0.0.0.0", address.port()));
        let target = format!("docker://{name}@127.0.0.1:6379");
        let forward = Forward::to(&target, &["--engine", &url]);
        assert!(is_echoed(&mut forward.connect(), b"hello"));
        assert_eq!(forward.said(&target).len(), 1);
        // The second lookup of the same name needs no further inspect request.
        let asked = engine.notes().inspects;
        assert!(is_echoed(&mut forward.connect(), b"hello"));
        assert_eq!(engine.notes().inspects, asked);
        engine.remove(name);
    }
}

/// `eid forward` logs the missing engine before the first client connects.
#[test]
fn an_engine_that_is_not_there() {
    let (_closed, target) = Closed::new();
    let forward = Forward::to("docker://redis@127.0.0.1:6379", &["--engine", &target]);
    until("the log has the line", || forward.said("can't be reached").len() == 1);
    assert!(is_reset_from(forward.places[0]));
    // The figures come after all earlier log lines.
    forward.figure("connections");
    assert_eq!(forward.said("unreachable").len(), 1);
}

#[test]
fn an_engine_that_can_not_be_asked() {
    let more = ["--engine", "unix:///nowhere.sock", "--token-file", "/nowhere/token"];
    let forward = Forward::to("docker://redis@127.0.0.1:6379", &more);
    until("the log has the line", || forward.said("can't be reached").len() == 1);
    let line = forward.said("can't be reached").remove(0);
    assert!(line.contains("the token file /nowhere/token can't be read"), "{line}");
    assert!(
        line.contains("--engine") && line.contains("--token-file name"),
        "{line}"
    );
}

struct Client {
    stream: TcpStream,
    _forward: Forward,
}

impl Forward {
    fn and_connect(self) -> Client {
        Client {
            stream: self.connect(),
            _forward: self,
        }
    }
}

/// An unknown level must be an error, because the log filter would otherwise drop every message.
#[test]
fn a_level_that_is_none() {
    for level in ["loud", "info,loud"] {
        let target = ["--listen", "127.0.0.1:0", "--to", "tcp://127.0.0.1:1"];
        let output = command(&[&target[..], &["--log-level", level]].concat(), &[])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{level:?} {error}");
        assert!(error.contains("warn, info, debug"), "{error}");
    }
    // Filters for single modules are accepted, although shell completion cannot offer them.
    let log = ["--log-level", "warn,eid::forward=info"];
    Forward::to("tcp://127.0.0.1:1", &log);
}
