//! Tests that a directory loses no container while engines restart, event streams break and containers change. The test
//! makes a hundred such cuts, times `EID_SOAK` if this variable is set. After each cut the directory must agree with
//! the engine's own list, and so must the listings that a waiting caller got.

mod engine_double;
mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eid_docker::{Directory, Filter, Listing};
use engine_double::{EngineDouble, HostPorts, Misbehaviour, Times, Where};
use fastrand::Rng;
use support::{known, listed, open, run_others, skip, until, until_agreed, until_live, PATIENT};

const ENGINES: usize = 25;
const CUTS: usize = 4;

/// A session of this length does not count as a failed try, so the next one begins after 100 ms.
const LASTING: Duration = Duration::from_secs(5);

/// Short misbehaviours from which a directory recovers before its next list, which it makes once a minute.
const FOR_A_MOMENT: &[(Misbehaviour, Where)] = &[
    (Misbehaviour::Reset, Where::Any),
    (Misbehaviour::Close, Where::Any),
    (Misbehaviour::Reset, Where::List),
    (Misbehaviour::Close, Where::Events),
    (Misbehaviour::Restart, Where::Any),
    (Misbehaviour::Restart, Where::List),
    (Misbehaviour::Restart, Where::Inspect),
    (Misbehaviour::Restart, Where::Events),
    (Misbehaviour::Late, Where::Any),
    (Misbehaviour::InternalError, Where::Any),
    (Misbehaviour::InternalError, Where::Inspect),
    (Misbehaviour::Unavailable, Where::List),
    (Misbehaviour::TooManyRequests, Where::Events),
    (Misbehaviour::NotHttp, Where::Any),
    (Misbehaviour::EmptyBody, Where::Any),
    (Misbehaviour::HalfJson, Where::List),
    (Misbehaviour::BadJson, Where::Inspect),
    (Misbehaviour::CutChunk, Where::Events),
    (Misbehaviour::NoLastChunk, Where::List),
    (Misbehaviour::LengthTooShort, Where::List),
    (Misbehaviour::LengthTooLong, Where::Inspect),
    (Misbehaviour::AnswerTwice, Where::Any),
    (Misbehaviour::EndsAtOnce, Where::Events),
    (Misbehaviour::EndsAfterEvents, Where::Events),
    (Misbehaviour::CutInLine, Where::Events),
    (Misbehaviour::GarbageLines, Where::Events),
    (Misbehaviour::WithoutActor, Where::Events),
    (Misbehaviour::Repeats, Where::Events),
    (Misbehaviour::OutOfOrder, Where::Events),
    (Misbehaviour::OneLine, Where::Events),
    (Misbehaviour::Burst, Where::Events),
];

#[test]
fn restarts_and_cuts_lose_no_container() {
    let soak = std::env::var("EID_SOAK").map_or(1, |times| times.parse().unwrap());
    let threads: Vec<_> = (0..ENGINES)
        .map(|seed| {
            // Each engine has its own thread, because a test can set forward only its own thread's clock. A panic shows
            // the seed.
            let thread = std::thread::Builder::new().name(format!("engine {seed}"));
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(one_engine(seed as u64, CUTS * soak))
            };
            thread.spawn(run).unwrap()
        })
        .collect();
    let waits: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(waits.len(), ENGINES * CUTS * soak);
    println!("longest: {:?}", waits.iter().max().unwrap());
}

/// Runs one engine. Returns the recovery time after each cut.
async fn one_engine(seed: u64, cuts: usize) -> Vec<Duration> {
    let mut host = Host::new(seed);
    // Long limits, so that no request times out when the test sets the clock forward.
    let directory = Directory::new(host.engine.engine(PATIENT), None);
    open(&directory).await;
    until_live(&directory).await;
    let told = Told::follow(&directory);
    let mut waits = vec![];
    for cut in 0..cuts {
        skip(LASTING).await;
        let before = host.engine.notes().events;
        host.change_some();
        let how = host.cut();
        host.change_some();
        let began = Instant::now();
        host.engine.until(|notes| notes.events > before).await;
        host.change_some();
        until_agreed(&directory, &host.engine).await;
        waits.push(began.elapsed());
        println!("engine {seed}, cut {cut}: {how}");
        told.until_agreed(&host.engine).await;
        host.assert_nothing_else(&directory);
        host.engine.behave();
    }
    // Late answers must not make the directory wrong again.
    until("all is answered", || host.engine.notes().unanswered == 0).await;
    run_others().await;
    until_agreed(&directory, &host.engine).await;
    told.until_agreed(&host.engine).await;
    told.assert_no_repetition();
    waits
}

/// The listings that a caller gets while it waits for changes all the time.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Listing>>>);

impl Told {
    fn follow(directory: &Directory) -> Self {
        let told = Self::default();
        let (directory, all) = (directory.clone(), Arc::clone(&told.0));
        tokio::spawn(async move {
            let mut known = 0;
            loop {
                let listing = directory.listing(&Filter::Name("*".to_owned()), known).await;
                known = listing.digest();
                all.lock().unwrap().push(listing);
            }
        });
        told
    }

    async fn until_agreed(&self, engine: &EngineDouble) {
        until("the last listing agrees with the engine", || {
            let mut running: Vec<_> = listed(engine).into_iter().map(|(id, name, _)| (id, name)).collect();
            running.sort();
            match self.0.lock().unwrap().last() {
                Some(Listing::Changed { containers, .. }) => {
                    let told = containers.iter().map(|it| (it.id.clone(), it.name.clone()));
                    told.eq(running)
                }
                _ => false,
            }
        })
        .await;
    }

    fn assert_no_repetition(&self) {
        let told = self.0.lock().unwrap();
        assert!(told.windows(2).all(|two| two[0].digest() != two[1].digest()));
    }
}

/// An engine, and the IDs of all containers that it ever had.
struct Host {
    engine: EngineDouble,
    random: Rng,
    ids: Vec<String>,
    names: usize,
}

impl Host {
    fn new(seed: u64) -> Self {
        let engine = EngineDouble::start();
        let ids = engine.add_many(6, "first");
        Self {
            engine,
            random: Rng::with_seed(seed),
            ids,
            names: 0,
        }
    }

    fn cut(&mut self) -> String {
        match self.random.u8(..5) {
            0 => self.engine.restart_engine(HostPorts::New),
            1 => self.engine.restart_engine(HostPorts::Kept),
            2 => self.engine.cut_streams(),
            _ => {
                let (misbehaviour, place) = FOR_A_MOMENT[self.random.usize(..FOR_A_MOMENT.len())];
                let times = self.random.usize(1..4);
                self.engine.misbehave(misbehaviour, place, Times::Next(times));
                self.engine.cut_streams();
                return format!("{} at {} {times} times", misbehaviour.name(), place.name());
            }
        }
        "cut".to_owned()
    }

    fn change_some(&mut self) {
        for _ in 0..self.random.usize(..4) {
            self.change();
        }
    }

    fn change(&mut self) {
        let present: Vec<String> = self
            .ids
            .iter()
            .filter(|id| self.engine.find(id).is_ok())
            .cloned()
            .collect();
        let (engine, port) = (&self.engine, self.engine.free_host_port());
        let id = self.random.choice(&present);
        self.names += 1;
        let name = format!("c{}", self.names);
        match (self.random.u8(..8), id) {
            (0, Some(id)) => engine.restart_at(id, port),
            (1, Some(id)) => engine.stop(id),
            (2, Some(id)) => engine.start_at(id, port),
            (3, Some(id)) => engine.die(id),
            (4, Some(id)) => engine.rename(id, &name),
            (5, Some(id)) if present.len() > 3 => engine.remove(id),
            // Replace a container by another one with the same name.
            (6, Some(id)) => {
                let inspected = engine.inspected(id);
                let name = inspected["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
                engine.remove(id);
                self.ids.push(engine.add(&name, port));
            }
            _ => self.ids.push(engine.add(&name, port)),
        }
    }

    /// Asserts that the directory knows no container that does not run.
    fn assert_nothing_else(&self, directory: &Directory) {
        let running = listed(&self.engine);
        for id in &self.ids {
            if running.iter().all(|(there, ..)| there != id) {
                assert_eq!(known(directory, id), None, "{id} does not run");
            }
        }
    }
}
