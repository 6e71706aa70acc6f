//! Soak test of `eid serve`: after an event, clients get the state after the change, even if the engine or other
//! clients fail.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use serde_json::Value;

use crate::engine_double::{EngineDouble, NewContainer, ERLANG_PORT};
use crate::forwarding::{until, Footprint, Noise};
use crate::serving::{next_event, Serve};
use crate::{soak_time, warm_up, SPARE_MEMORY};

/// Each container has its own thread, which changes the container and follows the events.
const CONTAINERS: usize = 4;
const READERS: usize = 3;
/// Number of clients that are killed at random.
const VICTIMS: usize = 6;

/// Idle connections to the engine, which the server keeps for some seconds.
const SPARE_DESCRIPTORS: usize = 8;

struct Scene {
    engine: EngineDouble,
    serve: Serve,
    services: Vec<Service>,
    /// Odd from the moment the engine is killed until the server follows it again.
    engine_life: AtomicUsize,
    tally: Tally,
}

/// A container. Each change gives it another host port.
struct Service {
    name: String,
    /// Number of changes requested from the engine.
    asked: AtomicU64,
    /// Number of those changes that a client has seen in an answer.
    seen: AtomicU64,
}

#[derive(Debug, Default)]
struct Tally {
    changes: AtomicUsize,
    /// Changes that the server found without an event, after it had lost the engine.
    caught_up: AtomicUsize,
    answers: AtomicUsize,
    /// Requests that the server refused because the engine was down.
    refused: AtomicUsize,
    killed: AtomicUsize,
}

#[test]
fn no_answer_is_wrong_and_nothing_grows() {
    let engine = EngineDouble::start();
    let services: Vec<_> = (0..CONTAINERS).map(|n| Service::new(format!("service{n}"))).collect();
    for service in &services {
        engine.add(&service.name, port(0));
    }
    let scene = Arc::new(Scene {
        serve: Serve::follow(engine.address(), &["--rate", "0"]),
        engine,
        services,
        engine_life: AtomicUsize::new(0),
        tally: Tally::default(),
    });
    run(&scene, warm_up(), &mut Noise::new(9));
    let before = settled(&scene);
    run(&scene, soak_time(), &mut Noise::new(10));
    let after = settled(&scene);

    let tally = &scene.tally;
    let cut_off = scene.serve.figure("eid_serve_cut_off_total");
    let lives = scene.engine_life.load(SeqCst) / 2;
    println!("{tally:?}, {cut_off} cut off, the engine lost {lives} times; {before:?}, then {after:?}");
    for (what, count) in [
        ("changes", &tally.changes),
        ("answers", &tally.answers),
        ("killed", &tally.killed),
    ] {
        assert!(count.load(SeqCst) > 20, "{what}: {tally:?}");
    }
    assert!(lives > 2 && tally.refused.load(SeqCst) > 0, "{lives}, {tally:?}");
    assert!(
        after.descriptors <= before.descriptors + SPARE_DESCRIPTORS,
        "{before:?}, then {after:?}"
    );
    assert_eq!(after.threads, before.threads);
    assert!(
        after.memory <= before.memory + SPARE_MEMORY,
        "{before:?}, then {after:?}"
    );
}

/// Runs the load for this time.
fn run(scene: &Arc<Scene>, time: Duration, noise: &mut Noise) {
    let stop = Arc::new(AtomicBool::new(false));
    let stop_changes = Arc::new(AtomicBool::new(false));
    let changing = start(scene, &stop_changes, CONTAINERS, change);
    let reading = start(scene, &stop, READERS, read);
    let dying = start(scene, &stop, VICTIMS, die);
    trouble(scene, time, noise);
    stop.store(true, SeqCst);
    // Readers of events end only at an event, so the changes must go on until then.
    let failed = failures(reading) + failures(dying);
    stop_changes.store(true, SeqCst);
    assert_eq!(failed + failures(changing), 0, "clients have failed");
}

fn start(
    scene: &Arc<Scene>,
    stop: &Arc<AtomicBool>,
    count: usize,
    client: fn(&Scene, usize, &AtomicBool),
) -> Vec<JoinHandle<()>> {
    let start = |number| {
        let (scene, stop) = (Arc::clone(scene), Arc::clone(stop));
        thread::spawn(move || client(&scene, number, &stop))
    };
    (0..count).map(start).collect()
}

fn failures(threads: Vec<JoinHandle<()>>) -> usize {
    threads.into_iter().filter_map(|thread| thread.join().err()).count()
}

/// Resources when all clients have gone.
fn settled(scene: &Scene) -> Footprint {
    let Scene { serve, engine, .. } = scene;
    until("no client follows the events", || {
        serve.figure("eid_serve_event_subscribers") == 0
    });
    // One connection is left: it asks for this figure.
    until("all connections are closed", || {
        serve.figure("eid_serve_open_connections") == 1
    });
    until("the engine has one subscriber", || engine.notes().subscribers == 1);
    engine.reset_notes();
    thread::sleep(Duration::from_millis(1500));
    Footprint::of(&serve.child)
}

/// Kills the engine or cuts its event streams, and waits until the server follows the engine again.
fn trouble(scene: &Scene, time: Duration, noise: &mut Noise) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(200 + noise.number() % 2000));
        scene.engine.reset_notes();
        scene.engine_life.fetch_add(1, SeqCst);
        if noise.number().is_multiple_of(3) {
            scene.engine.cut_streams();
        } else {
            scene.engine.stop_engine();
            thread::sleep(Duration::from_millis(noise.number() % 300));
            scene.engine.start_engine();
        }
        // Before it subscribes again, the server may not have noticed the fault and may answer.
        until("it subscribes again", || scene.engine.notes().events > 0);
        until("it answers again", || scene.serve.get("/_ping").status == 200);
        scene.engine_life.fetch_add(1, SeqCst);
    }
}

// Clients that change containers

fn change(scene: &Scene, number: usize, stop: &AtomicBool) {
    let mut noise = Noise::new(number as u64 + 200);
    let service = &scene.services[number];
    let mut client = Client::new(scene);
    while !stop.load(SeqCst) {
        let life = scene.engine_life.load(SeqCst);
        let Some(mut events) = follow(scene, life) else {
            continue;
        };
        let mut is_lost = false;
        while !is_lost && !stop.load(SeqCst) {
            thread::sleep(Duration::from_millis(5 + noise.number() % 30));
            let heard = one_change(scene, service, &mut noise, &mut events);
            if !heard {
                scene.expect_trouble(life, "the events have ended");
            }
            let count = service.asked.load(SeqCst);
            is_lost = !heard || !is_told(scene, service, &mut client, count);
            if is_lost {
                // The event is lost, so the server must find the change in a list.
                until("the change is in the answers", || {
                    is_told_by_now(service, &mut client, count)
                });
                scene.tally.caught_up.fetch_add(1, SeqCst);
            }
            service.seen.store(count, SeqCst);
            scene.tally.changes.fetch_add(1, SeqCst);
        }
    }
}

/// Restarts or replaces the container. Returns true if an event reported it.
fn one_change(scene: &Scene, service: &Service, noise: &mut Noise, events: &mut impl BufRead) -> bool {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let port = port(service.asked.fetch_add(1, SeqCst) + 1);
    let engine = &scene.engine;
    if noise.number().is_multiple_of(10) {
        // More events than the server buffers for subscribers that do not read.
        (0..500).for_each(|_| engine.signal(&service.name));
    }
    let (id, action) = if noise.number().is_multiple_of(10) {
        engine.remove(&service.name);
        (engine.run(NewContainer::new(&service.name).publish(port)), "start")
    } else {
        engine.restart_at(&service.name, port);
        (engine.find(&service.name).unwrap(), "restart")
    };
    loop {
        let Some(event) = next_event(events) else { return false };
        let is_it = event["Action"] == action && event["Actor"]["ID"] == *id;
        if is_it && event["timeNano"].as_u64() >= Some(began) {
            return true;
        }
    }
}

/// Asks for the container after its event. Returns `false` if the engine is down.
fn is_told(scene: &Scene, service: &Service, client: &mut Client, count: u64) -> bool {
    let expected = Some(port(count));
    for path in [
        format!("/containers/{}/json", service.name),
        "/containers/json".to_owned(),
    ] {
        let life = scene.engine_life.load(SeqCst);
        let (status, body) = client.get(&path);
        if status == 503 {
            scene.expect_trouble(life, "it does not answer");
            return false;
        }
        let told = ports(&body).into_iter().find(|(name, _)| *name == service.name);
        assert_eq!(
            (status, told.and_then(|(_, port)| port)),
            (200, expected),
            "{path} {body}"
        );
    }
    true
}

fn is_told_by_now(service: &Service, client: &mut Client, count: u64) -> bool {
    let told = (service.name.clone(), Some(port(count)));
    let mut is_in = |path: &str| ports(&client.get(path).1).contains(&told);
    is_in(&format!("/containers/{}/json", service.name)) && is_in("/containers/json")
}

// Clients that read

/// Sends requests over one connection. No answer may be older than a state seen before, or show a state that never
/// existed.
fn read(scene: &Scene, number: usize, stop: &AtomicBool) {
    let mut noise = Noise::new(number as u64 + 300);
    let mut client = Client::new(scene);
    while !stop.load(SeqCst) {
        thread::sleep(Duration::from_millis(noise.number() % 5));
        let one = &scene.services[noise.number() as usize % CONTAINERS];
        let path = match noise.number() % 3 {
            0 => "/containers/json".to_owned(),
            _ => format!("/containers/{}/json", one.name),
        };
        let is_list = path == "/containers/json";
        let life = scene.engine_life.load(SeqCst);
        let before: Vec<_> = scene.services.iter().map(|it| it.seen.load(SeqCst)).collect();
        let (status, body) = client.get(&path);
        scene.tally.answers.fetch_add(1, SeqCst);
        if status == 503 {
            scene.expect_trouble(life, "it does not answer");
            scene.tally.refused.fetch_add(1, SeqCst);
            continue;
        }
        assert!(status == 200 || status == 404 && !is_list, "{path}: {status} {body}");
        let told = ports(&body);
        for (service, seen) in scene.services.iter().zip(before) {
            if !is_list && service.name != one.name {
                continue;
            }
            let told = told.iter().find(|(name, _)| *name == service.name);
            let asked = service.asked.load(SeqCst);
            let is_right = match told.and_then(|(_, port)| *port) {
                Some(told) => (seen..=asked).any(|count| port(count) == told),
                // Between a stop and the next start the container has no host port.
                None => asked > seen,
            };
            assert!(is_right, "{} {seen}..={asked} {path}: {status} {body}", service.name);
        }
    }
}

// Clients that are killed

fn die(scene: &Scene, number: usize, stop: &AtomicBool) {
    let mut noise = Noise::new(number as u64 + 400);
    while !stop.load(SeqCst) {
        let life = scene.engine_life.load(SeqCst);
        match noise.number() % 4 {
            // Die while events arrive.
            0 | 1 => {
                let Some(mut events) = follow(scene, life) else {
                    continue;
                };
                for _ in 0..noise.number() % 200 {
                    if next_event(&mut events).is_none() {
                        scene.expect_trouble(life, "the events have ended");
                        break;
                    }
                }
                kill(events.get_ref());
            }
            // Request events and do not read them.
            2 => {
                let mut stream = scene.serve.connect();
                set_socket_recv_buffer_size(&stream, 4096).unwrap();
                write!(stream, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                let end = Instant::now() + Duration::from_millis(noise.number() % 6000);
                while Instant::now() < end && !stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                kill(&stream);
            }
            // Die in the middle of a request.
            _ => {
                let mut stream = scene.serve.connect();
                let requests =
                    "GET /containers/json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1 + noise.number() as usize % 50);
                let part = requests.len() - noise.number() as usize % 40;
                stream.write_all(&requests.as_bytes()[..part]).unwrap();
                thread::sleep(Duration::from_millis(noise.number() % 50));
                kill(&stream);
            }
        }
        scene.tally.killed.fetch_add(1, SeqCst);
    }
}

/// Resets half of the connections and closes the other half.
fn kill(stream: &TcpStream) {
    match stream.local_addr().unwrap().port() % 2 {
        0 => set_socket_linger(stream, Some(Duration::ZERO)).unwrap(),
        _ => drop(stream.shutdown(Shutdown::Both)),
    }
}

// Shared by all clients

impl Service {
    fn new(name: String) -> Self {
        Self {
            name,
            asked: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }
}

impl Scene {
    /// Returns true if the engine was killed since the caller read `life`.
    fn is_trouble(&self, life: usize) -> bool {
        life % 2 == 1 || self.engine_life.load(SeqCst) != life
    }

    fn expect_trouble(&self, life: usize, what: &str) {
        assert!(
            self.is_trouble(life),
            "{what}, although the engine was not killed\n{}",
            self.serve.log()
        );
    }
}

/// The host port after this number of changes. It repeats only after 40,000 changes.
fn port(count: u64) -> u16 {
    20_000 + (count % 40_000) as u16
}

/// The names of the containers in an answer, and the host ports of their distribution ports.
fn ports(body: &Value) -> Vec<(String, Option<u16>)> {
    let one = |it: &Value| {
        let name = it["Names"][0].as_str().or(it["Name"].as_str())?;
        let bound = &it["NetworkSettings"]["Ports"][format!("{ERLANG_PORT}/tcp")][0]["HostPort"];
        let port = match bound.as_str() {
            Some(port) => port.parse().ok(),
            None => it["Ports"][0]["PublicPort"]
                .as_u64()
                .and_then(|port| port.try_into().ok()),
        };
        Some((name.trim_start_matches('/').to_owned(), port))
    };
    match body {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        container => one(container).into_iter().collect(),
    }
}

/// Subscribes to the events. Returns `None` if the engine is down.
fn follow(scene: &Scene, life: usize) -> Option<BufReader<TcpStream>> {
    let mut stream = scene.serve.connect();
    write!(stream, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    match head(&mut events).unwrap() {
        (200, _) => Some(events),
        (status, _) => {
            assert_eq!(status, 503);
            scene.expect_trouble(life, "there are no events");
            thread::sleep(Duration::from_millis(20));
            None
        }
    }
}

/// A persistent connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(scene: &Scene) -> Self {
        Self(BufReader::new(scene.serve.connect()))
    }

    /// Returns the status and the body. Panics if the connection fails.
    fn get(&mut self, path: &str) -> (u16, Value) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (status, length) = head(&mut self.0).unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// Reads the head of an answer. Returns the status and the length of the body, or 0.
fn head(from: &mut impl BufRead) -> Result<(u16, usize), Error> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = head.to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok((
        status.ok_or(ErrorKind::InvalidData)?,
        length.map_or(0, |length| length.parse().unwrap()),
    ))
}
