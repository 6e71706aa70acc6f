//! Soak test of `eid forward`: a fault harms only the connections that it is meant to kill.

use std::collections::HashMap;
use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::engine_double::{EngineDouble, ERLANG_PORT};
use crate::forwarding::{expect_noise, send_noise, until, Footprint, Forward, Noise, PIECE};
use crate::{soak_time, warm_up, SPARE_MEMORY};

const CLIENTS: usize = 12;

/// A service that is killed at random and restarts on another port.
#[derive(Default)]
struct Target {
    port: AtomicU16,
    /// Odd from the moment the service is killed until a lookup can find it again.
    life: AtomicUsize,
    /// The same for the engine.
    engine_life: AtomicUsize,
    /// Open connections, to be reset at a kill. `None` while the service is down.
    connections: Mutex<Option<HashMap<usize, TcpStream>>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// Pipes that each of the two threads may keep, plus connections to the engine.
const SPARE_DESCRIPTORS: usize = 2 * 16 * 2 + 4;

/// Growth in kB that is allowed for the two large buffers of each of the two threads. Their pages are used bit by bit.
const SPARE_PIECES: usize = 2 * 2 * 1024;

/// Outcomes that the clients count.
#[derive(Default)]
struct Tally {
    whole: AtomicUsize,
    killed: AtomicUsize,
    /// Connections that `eid forward` reset at the start because the engine was down.
    refused: AtomicUsize,
}

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let engine = EngineDouble::start();
    let target = Arc::new(Target::default());
    begin(&target);
    engine.add("service", target.port.load(Ordering::SeqCst));
    let url = format!("tcp://{}", engine.address());
    let to = format!("docker://service@127.0.0.1:{ERLANG_PORT}");
    let forward = Arc::new(Forward::to(&to, &["--engine", &url, "--threads", "2"]));

    // Compare resources after a warm-up with those at the end of the test.
    let stop = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Tally::default());
    run(&forward, &target, &tally, &stop, || {
        trouble(&engine, &target, warm_up(), &mut Noise::new(7))
    });
    let before = settled(&forward);
    run(&forward, &target, &tally, &stop, || {
        trouble(&engine, &target, soak_time(), &mut Noise::new(8))
    });
    let after = settled(&forward);

    let (whole, killed) = (tally.whole.load(Ordering::SeqCst), tally.killed.load(Ordering::SeqCst));
    let refused = tally.refused.load(Ordering::SeqCst);
    println!("{whole} connections whole, {killed} killed, {refused} refused; {before:?}, then {after:?}");
    assert!(whole > 100 && killed > 0, "{whole} whole, {killed} killed");
    let ((before, tasks_before), (after, tasks)) = (before, after);
    // `eid forward` keeps idle connections to the engine for some seconds.
    assert!(tasks <= tasks_before + 8, "{tasks_before} tasks, then {tasks}");
    assert!(
        after.descriptors <= before.descriptors + SPARE_DESCRIPTORS,
        "{before:?}, then {after:?}"
    );
    assert_eq!(after.threads, before.threads);
    assert!(
        after.memory <= before.memory + SPARE_MEMORY + SPARE_PIECES,
        "{before:?}, then {after:?}"
    );
}

/// Runs the clients until `meanwhile` returns.
fn run(
    forward: &Arc<Forward>,
    target: &Arc<Target>,
    tally: &Arc<Tally>,
    stop: &Arc<AtomicBool>,
    meanwhile: impl FnOnce(),
) {
    stop.store(false, Ordering::SeqCst);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (forward, target) = (Arc::clone(forward), Arc::clone(target));
            let (tally, stop) = (Arc::clone(tally), Arc::clone(stop));
            thread::spawn(move || {
                let mut noise = Noise::new(client as u64 + 100);
                while !stop.load(Ordering::SeqCst) {
                    one_connection(&forward, &target, &tally, &mut noise);
                }
            })
        })
        .collect();
    meanwhile();
    stop.store(true, Ordering::SeqCst);
    // Join all threads before the assertion, because a running thread would keep the process alive.
    let failed = clients.into_iter().filter_map(|client| client.join().err()).count();
    assert_eq!(failed, 0, "clients have failed");
}

/// Resources when all connections have ended.
fn settled(forward: &Forward) -> (Footprint, usize) {
    until("all connections have ended", || forward.figure("connections") == 0);
    thread::sleep(Duration::from_millis(1500));
    (forward.footprint(), forward.figure("tasks"))
}

/// One connection that sends both ways at once. Most transfers are small, some are large.
fn one_connection(forward: &Forward, target: &Target, tally: &Tally, noise: &mut Noise) {
    let lives = || {
        (
            target.life.load(Ordering::SeqCst),
            target.engine_life.load(Ordering::SeqCst),
        )
    };
    let (life, engine_life) = lives();
    let seed = noise.number();
    let length = match noise.number() % 20 {
        0 => 1024,
        1..4 => 64,
        _ => 1,
    } * PIECE;
    // One client in ten resets its own connection on the way.
    let dies = noise.number().is_multiple_of(10);
    let mut has_begun = false;
    let outcome = exchange(forward.connect(), &mut has_begun, seed, length, dies);
    let (life_now, engine_life_now) = lives();
    let target_was_killed = life_now != life || life % 2 == 1;
    let engine_was_killed = engine_life_now != engine_life || engine_life % 2 == 1;
    let count = match outcome {
        Ok(()) if dies => &tally.killed,
        Ok(()) => &tally.whole,
        Err(_) if target_was_killed => &tally.killed,
        // A new connection needs the engine to find the service. An established connection does not.
        Err(_) if engine_was_killed && !has_begun => &tally.refused,
        Err(error) => panic!(
            "a connection failed although no fault hit it (begun: {has_begun}): {error}; {:?}",
            forward.said("reached").pop()
        ),
    };
    if count.fetch_add(1, Ordering::SeqCst) > 0 && !has_begun {
        // After a refusal the client pauses before its next try.
        thread::sleep(Duration::from_millis(5));
    }
}

fn exchange(mut stream: TcpStream, has_begun: &mut bool, seed: u64, length: usize, dies: bool) -> Result<(), Error> {
    stream.read_exact(&mut [0])?;
    *has_begun = true;
    stream.write_all(&[seed.to_le_bytes(), (length as u64).to_le_bytes()].concat())?;
    let mut writer = stream.try_clone()?;
    let sender = thread::spawn(move || {
        let part = if dies { length / 2 / PIECE * PIECE } else { length };
        send_noise(&mut writer, seed, part)?;
        match dies {
            true => set_socket_linger(&writer, Some(Duration::ZERO)).map_err(Error::from),
            false => writer.shutdown(Shutdown::Write),
        }
    });
    if dies {
        return sender.join().unwrap();
    }
    let received = expect_noise(&mut stream, seed + 1, length).and_then(|()| at_the_end(&mut stream));
    // The sender must not wait for a client that has stopped reading.
    if received.is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    sender.join().unwrap().and(received)
}

fn at_the_end(stream: &mut TcpStream) -> Result<(), Error> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => panic!("more bytes arrived than were sent"),
    }
}

/// Starts the service on a new port.
fn begin(target: &Arc<Target>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    target
        .port
        .store(listener.local_addr().unwrap().port(), Ordering::SeqCst);
    *target.connections.lock().unwrap() = Some(HashMap::new());
    let accepting = {
        let target = Arc::clone(target);
        thread::spawn(move || {
            for (key, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let mut connections = target.connections.lock().unwrap();
                let Some(connections) = connections.as_mut() else {
                    return;
                };
                connections.insert(key, stream.try_clone().unwrap());
                let target = Arc::clone(&target);
                thread::spawn(move || {
                    let _ = serve(stream);
                    if let Some(connections) = target.connections.lock().unwrap().as_mut() {
                        connections.remove(&key);
                    }
                });
            }
        })
    };
    *target.accepting.lock().unwrap() = Some(accepting);
}

fn serve(mut stream: TcpStream) -> Result<(), Error> {
    stream.write_all(b"!")?;
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let number = |part: &[u8]| u64::from_le_bytes(part.try_into().unwrap());
    let (seed, length) = (number(&head[..8]), number(&head[8..]) as usize);
    let mut writer = stream.try_clone()?;
    let sender = thread::spawn(move || {
        send_noise(&mut writer, seed + 1, length)?;
        writer.shutdown(Shutdown::Write)
    });
    let received = expect_noise(&mut stream, seed, length).and_then(|()| at_the_end(&mut stream));
    if received.is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    sender.join().unwrap().and(received)
}

/// Injects faults: kills the service, whose container then restarts on another port, or the engine.
fn trouble(engine: &EngineDouble, target: &Arc<Target>, time: Duration, noise: &mut Noise) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(200 + noise.number() % 800));
        match noise.number() % 4 {
            0 => {
                target.engine_life.fetch_add(1, Ordering::SeqCst);
                engine.stop_engine();
                thread::sleep(Duration::from_millis(noise.number() % 300));
                engine.start_engine();
                target.engine_life.fetch_add(1, Ordering::SeqCst);
            }
            1 => engine.cut_streams(),
            _ => replace(engine, target),
        }
    }
    // Give clients time to finish after the last fault, as after the others.
    thread::sleep(Duration::from_millis(500));
}

fn replace(engine: &EngineDouble, target: &Arc<Target>) {
    target.life.fetch_add(1, Ordering::SeqCst);
    engine.die("service");
    let killed = target.connections.lock().unwrap().take();
    for stream in killed.unwrap_or_default().into_values() {
        let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        let _ = stream.shutdown(Shutdown::Both);
    }
    // The accepting thread sees the change only at the next connection.
    drop(TcpStream::connect(("127.0.0.1", target.port.load(Ordering::SeqCst))));
    let accepting = target.accepting.lock().unwrap().take();
    accepting.into_iter().for_each(|thread| thread.join().unwrap());
    begin(target);
    engine.start_at("service", target.port.load(Ordering::SeqCst));
    target.life.fetch_add(1, Ordering::SeqCst);
}
