//! Tests every misbehaviour at every place where it is possible. Each question must end with the expected outcome,
//! within its limits for requests and memory. When the engine behaves again, the directory must find all of its
//! containers.

mod engine_double;
mod support;
mod thread_memory;

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use eid_docker::{route, Directory, Engine, Error, Limits, State};
use engine_double::{EngineDouble, Misbehaviour, Times, Where};
use support::{
    a_moment, after_the_second_list, agrees, container, find, known, listed, open, run_others, skip, until,
    until_agreed, until_quiet, wanted, StoppedClock, FAR_TOO_LONG,
};
use thread_memory::ThreadMemory;

#[global_allocator]
static MEMORY: ThreadMemory = ThreadMemory;

/// Long time limits, because the machine may be busy. If an engine hangs, the test sets the clock forward. The body
/// limit leaves room for JSON that would overflow the stack of a parser without a depth limit.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(20),
    response: Duration::from_secs(20),
    body: 256 * 1024,
};

/// A question needs a request for the version and a request for the answer, and may repeat each once. The limits apply
/// to each request.
const MOST_REQUESTS: u64 = 4;

/// The resolution of tokio's timers.
const A_TICK: Duration = Duration::from_millis(1);

/// The longest wait before the next try.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// A list may have 16 times the bytes of other answers, and may be in memory twice, in pieces and as a whole. The rest
/// is for the buffers of connections.
const MOST_BYTES: usize = 2 * 16 * LIMITS.body + 4 * 1024 * 1024;

/// Number of cases that run at the same time, because some of them wait.
const THREADS: usize = 4;

/// The end of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The container's right port.
    Right,
    /// A wrong port.
    Wrong,
    /// A list without the container.
    NotListed,
    NoSuchContainer,
    NotRunning,
    NotPublished,
    Unreachable,
    Refused(u16),
    TooLarge,
    BadResponse,
    Timeout,
}

/// The fate of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Events {
    /// The directory is live and receives changes.
    Come,
    /// The stream fails and the directory reconnects, again and again. Lookups still give the right answer.
    Fail,
    /// The engine refuses events, so lookups inspect for a minute.
    Refused,
    /// The stream is open but reports no changes. The list that follows within a minute shows them.
    Missing,
}

/// The expected outcome of one misbehaviour.
struct Expected {
    /// The end of an inspect if pings misbehave.
    ping: End,
    /// The end of a list that misbehaves.
    list: End,
    /// The end of an inspect that misbehaves.
    inspect: End,
    /// The fate of events if requests for events misbehave.
    events: Events,
    /// Places where the misbehaviour leaves wrong data in the cache. Lookups then inspect until the next list.
    lasts: &'static [Where],
}

/// The match has no catch-all arm, so that a new misbehaviour needs a decision here.
fn expected(misbehaviour: Misbehaviour) -> Expected {
    use Misbehaviour as M;
    let nowhere: &[Where] = &[];
    let answers = |end, events| Expected {
        ping: end,
        list: end,
        inspect: end,
        events,
        lasts: nowhere,
    };
    // The body of a ping's answer does not matter if the answer is valid HTTP.
    let bodies = |end, events| Expected {
        ping: End::Right,
        ..answers(end, events)
    };
    let containers = |list, inspect, lasts| Expected {
        ping: End::Right,
        list,
        inspect,
        events: Events::Come,
        lasts,
    };
    let streams = |events| Expected {
        events,
        ..containers(End::Right, End::Right, nowhere)
    };
    match misbehaviour {
        M::Refuse | M::Reset | M::Close | M::Restart => answers(End::Unreachable, Events::Fail),
        M::HangBeforeHeaders | M::HangInHeaders | M::DripHeaders => answers(End::Timeout, Events::Fail),
        // As an answer to `/events`, this looks like an open stream.
        M::HangAfterHeaders | M::HangInBody => answers(End::Timeout, Events::Missing),
        // The answer to a ping is so short that it ends in time.
        M::Drip => bodies(End::Timeout, Events::Missing),
        M::Redirect => bodies(End::Refused(301), Events::Refused),
        M::Unauthorized => bodies(End::Refused(401), Events::Refused),
        M::Forbidden => bodies(End::Refused(403), Events::Refused),
        M::NotFound => Expected {
            inspect: End::NoSuchContainer,
            lasts: &[Where::Inspect],
            ..bodies(End::Refused(404), Events::Refused)
        },
        M::PageNotFound | M::WebServer => bodies(End::Refused(404), Events::Refused),
        M::Conflict => bodies(End::Refused(409), Events::Refused),
        M::VersionTooOld => bodies(End::Refused(400), Events::Refused),
        M::TooManyRequests => bodies(End::Refused(429), Events::Fail),
        M::InternalError => bodies(End::Refused(500), Events::Fail),
        M::Unavailable => bodies(End::Refused(503), Events::Fail),
        M::EndlessBody | M::HugeLength => answers(End::TooLarge, Events::Fail),
        M::NoContent => bodies(End::Refused(204), Events::Fail),
        // The right answer in an odd shape. As an answer to `/events`, it is a stream that ends soon.
        M::Late | M::Http10 | M::FalselyGzipped | M::Continue | M::AnswerTwice | M::LengthAndChunked => {
            answers(End::Right, Events::Fail)
        }
        M::CutChunk
        | M::NoLastChunk
        | M::BadChunkSize
        | M::HugeChunkSize
        | M::LengthTooLong
        | M::LengthNegative
        | M::EndlessHeaders
        | M::EndlessHeader
        | M::HugeHeader
        | M::NotHttp
        | M::Noise => answers(End::BadResponse, Events::Fail),
        M::LengthTooShort | M::EmptyBody | M::BadJson | M::HalfJson | M::DeepJson | M::WrongType | M::NullJson => {
            bodies(End::BadResponse, Events::Fail)
        }
        M::DeepField | M::OddPorts => containers(End::Right, End::Right, nowhere),
        M::NullPorts => containers(
            End::NotPublished,
            End::NotPublished,
            &[Where::List, Where::Inspect, Where::Any],
        ),
        // For an inspect by name, the answer does not show that it is about this container.
        M::MissingFields => containers(End::NotPublished, End::NoSuchContainer, &[Where::Inspect, Where::Any]),
        M::MissingId => containers(End::BadResponse, End::BadResponse, nowhere),
        // For an inspect by name, the ID is not needed.
        M::InvalidId => containers(End::NotListed, End::Right, &[Where::List, Where::Inspect, Where::Any]),
        M::AmbiguousPrefix => containers(End::Right, End::Right, &[Where::List, Where::Any]),
        M::DuplicateIds | M::SameName => containers(End::Right, End::Right, &[Where::List, Where::Any]),
        M::EmptyList => containers(End::NotListed, End::Right, &[Where::List, Where::Any]),
        M::OtherContainer => containers(End::Right, End::NoSuchContainer, &[Where::Inspect, Where::Any]),
        M::InvalidUtf8 => containers(End::BadResponse, End::BadResponse, nowhere),
        M::Repeats
        | M::OutOfOrder
        | M::BlankLines
        | M::Burst
        | M::ByteByByte
        | M::OneLine
        | M::Crlf
        | M::SplitCharacters
        | M::UnknownEvents => streams(Events::Come),
        M::EndsAtOnce
        | M::EndsAfterEvents
        | M::CutInLine
        | M::GarbageLines
        | M::HugeLine
        | M::EndlessLine
        | M::NullFields
        | M::OddFields
        | M::WithoutActor => streams(Events::Fail),
        M::Lags | M::Silent => streams(Events::Missing),
    }
}

#[test]
fn there_are_at_least_thirty() {
    assert!(Misbehaviour::ALL.len() >= 30);
}

#[test]
fn each_of_them_at_each_place() {
    let cases: Vec<(Misbehaviour, Where)> = Misbehaviour::ALL
        .iter()
        .flat_map(|misbehaviour| Where::ALL.iter().map(|place| (*misbehaviour, *place)))
        .filter(|(misbehaviour, place)| misbehaviour.suits(*place))
        .collect();
    let count = cases.len();
    let (left, failed, most) = (Mutex::new(cases), Mutex::new(vec![]), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| loop {
                let next = left.lock().unwrap().pop();
                let Some((misbehaviour, place)) = next else { break };
                let name = format!("{} at {}", misbehaviour.name(), place.name());
                let thread = std::thread::Builder::new().name(name.clone());
                match thread.spawn(move || run(misbehaviour, place)).unwrap().join() {
                    Ok(bytes) => most.lock().unwrap().push((bytes, name)),
                    Err(_) => failed.lock().unwrap().push(name),
                }
            });
        }
    });
    let mut most = most.into_inner().unwrap();
    most.sort();
    println!(
        "{} misbehaviours, {count} cases; the most bytes: {:?}",
        Misbehaviour::ALL.len(),
        most.last()
    );
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

/// Runs one case alone on its thread. Returns its peak memory.
fn run(misbehaviour: Misbehaviour, place: Where) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let case = Case {
            misbehaviour,
            place,
            expected: expected(misbehaviour),
            engine: EngineDouble::start(),
        };
        case.engine.add("db", 49153);
        case.engine.add("web", 49154);
        case.engine.add("cache", 49155);
        MEMORY.reset();
        case.plain_questions().await;
        case.directory().await;
        let most = MEMORY.most();
        assert!(most < MOST_BYTES, "{most} bytes");
        most
    })
}

struct Case {
    misbehaviour: Misbehaviour,
    place: Where,
    expected: Expected,
    engine: EngineDouble,
}

impl Case {
    fn misbehave(&self) {
        self.engine.misbehave(self.misbehaviour, self.place, Times::Always);
    }

    /// Returns true if answers never end in time.
    fn hangs(&self) -> bool {
        self.expected.inspect == End::Timeout
    }

    /// Questions to an engine without a directory.
    async fn plain_questions(&self) {
        if self.place != Where::OpenStreams {
            self.misbehave();
        }
        // The first question uses a new client, the second one uses it again.
        let (inspecting, listing) = (self.engine.engine(LIMITS), self.engine.engine(LIMITS));
        let requests = || inspecting.requests() + listing.requests();
        for _ in 0..2 {
            let found = self.in_limits(self.inspect(&inspecting), requests).await;
            self.check("inspect", found, self.expected.inspect, Where::Inspect);
            let found = self.in_limits(self.list(&listing), requests).await;
            self.check("list", found, self.expected.list, Where::List);
        }
        assert!(requests() <= 4 * MOST_REQUESTS, "{} requests", requests());
        assert_eq!(self.engine.redirects_followed(), 0);
        self.engine.behave();
        // The misbehaviour leaves nothing wrong in the client.
        assert_eq!(self.in_limits(self.inspect(&inspecting), requests).await, End::Right);
        assert_eq!(self.in_limits(self.list(&listing), requests).await, End::Right);
    }

    /// Asserts that a question ends as expected. `own` is the expected end if the endpoint that answers the question
    /// misbehaves.
    fn check(&self, what: &str, found: End, own: End, endpoint: Where) {
        let right = match self.place {
            Where::Any if self.expected.ping != End::Right => self.expected.ping,
            Where::Ping => self.expected.ping,
            Where::Any => own,
            place if place == endpoint => own,
            Where::List | Where::Inspect | Where::Events | Where::OpenStreams => End::Right,
        };
        assert_eq!(found, right, "{what}");
    }

    async fn inspect(&self, engine: &Engine) -> End {
        let found = engine.inspect(&container("db")).await;
        let wanted = wanted();
        let port = found.and_then(|found| route(&found, None, wanted.erlang_port, wanted.host, wanted.bridge));
        self.end(port.map(|route| route.to.port()))
    }

    async fn list(&self, engine: &Engine) -> End {
        let (id, ..) = self.db();
        let list = match engine.list().await {
            Ok(list) => list,
            Err(error) => return self.end(Err(error)),
        };
        let wanted = wanted();
        match list.iter().find(|container| container.id == id) {
            Some(found) => {
                let port = route(found, None, wanted.erlang_port, wanted.host, wanted.bridge);
                self.end(port.map(|route| route.to.port()))
            }
            None => End::NotListed,
        }
    }

    fn db(&self) -> (String, String, u16) {
        let mut list = listed(&self.engine).into_iter();
        list.find(|(_, name, _)| name == "db").expect("it runs")
    }

    fn end(&self, found: Result<u16, Error>) -> End {
        let (_, _, port) = self.db();
        match found {
            Ok(found) if found == port => End::Right,
            Ok(_) => End::Wrong,
            Err(Error::NoSuchContainer) => End::NoSuchContainer,
            Err(Error::NotRunning) => End::NotRunning,
            Err(Error::NotPublished) => End::NotPublished,
            Err(Error::Unreachable(..) | Error::Config(..) | Error::Defect(_)) => End::Unreachable,
            Err(Error::Refused { status, .. }) => End::Refused(status),
            Err(Error::BadResponse(_)) => End::BadResponse,
            Err(Error::TooLarge(_)) => End::TooLarge,
            Err(Error::Timeout) => End::Timeout,
            Err(error @ (Error::BadNodeName | Error::PublishedOnLoopback | Error::PublishedElsewhere)) => {
                panic!("{error:?} cannot come from an engine")
            }
        }
    }

    async fn find(&self, directory: &Directory) -> End {
        let requests = || directory.info().requests;
        self.end(self.in_limits(find(directory, "db"), requests).await)
    }

    /// Runs a question. If the engine hangs and nothing else is in flight, sets the clock forward past the limit.
    /// `requests` returns the number of all requests so far.
    async fn in_limits<T>(&self, question: impl Future<Output = T>, requests: impl Fn() -> u64) -> T {
        let mut question = pin!(question);
        let began = Instant::now();
        // Number of requests that have timed out.
        let mut given_up = 0;
        loop {
            tokio::select! {
                biased;
                answer = question.as_mut() => return answer,
                () = a_moment() => {}
            }
            assert!(began.elapsed() < FAR_TOO_LONG, "it hangs");
            let notes = self.engine.notes();
            if notes.requests() as u64 != requests() {
                continue;
            }
            // The answer to a ping ends in time even if it drips.
            let is_pong =
                self.misbehaviour == Misbehaviour::Drip && notes.paths.last().is_some_and(|it| it == "/_ping");
            let hangs = self.hangs() && notes.hanging > 0 && notes.hanging == notes.unanswered && !is_pong;
            if hangs && given_up < requests() {
                given_up = requests();
                skip(LIMITS.response + A_TICK).await;
            } else if notes.unanswered == 0 {
                // Even a timer without delay fires only at the next tick.
                skip(A_TICK).await;
            }
        }
    }

    /// Questions to a directory, while the engine misbehaves and afterwards.
    async fn directory(&self) {
        let directory = Directory::new(self.engine.engine(LIMITS), None);
        until("nothing hangs any more", || self.engine.notes().unanswered == 0).await;
        self.engine.reset_notes();
        if self.place == Where::OpenStreams {
            self.settle(&directory).await;
            self.misbehave();
        } else {
            self.misbehave();
            self.first_lookups(&directory).await;
        }
        match self.events() {
            _ if !self.lookups_work() => {}
            Events::Come => self.changes_come(&directory).await,
            Events::Fail => self.changes_are_found(&directory).await,
            Events::Refused => {
                until("it inspects", || directory.info().state == State::Inspecting).await;
                let notice = directory.take_notice();
                assert!(
                    matches!(notice, Some(Error::Refused { .. } | Error::TooLarge(_))),
                    "{notice:?}"
                );
                self.changes_are_found(&directory).await;
            }
            Events::Missing => self.changes_are_missed(&directory).await,
        }
        self.engine.behave();
        self.recover(&directory).await;
    }

    /// The first lookups wait for the first list, in this test without a time limit. If the list fails, the directory
    /// does not retry it.
    async fn first_lookups(&self, directory: &Directory) {
        let _stopped = StoppedClock::stop();
        for _ in 0..3 {
            let found = self.find(directory).await;
            let allowed = match self.place {
                Where::Ping => vec![self.expected.ping],
                Where::Any if self.expected.ping != End::Right => vec![self.expected.ping],
                // The directory lists or inspects, depending on its state.
                Where::Any => vec![self.expected.list, self.expected.inspect],
                Where::List | Where::Inspect | Where::Events | Where::OpenStreams => vec![End::Right],
            };
            assert!(
                allowed.contains(&found),
                "a first lookup: {found:?} and not {allowed:?}"
            );
        }
    }

    /// The fate of events in this case.
    fn events(&self) -> Events {
        let refusal = matches!(self.expected.list, End::Refused(300..=428 | 430..=499) | End::TooLarge);
        match self.place {
            // The directory does not cache these answers to inspects.
            Where::Any if self.expected.events == Events::Come && self.expected.lasts.contains(&Where::Inspect) => {
                Events::Fail
            }
            Where::Events | Where::OpenStreams | Where::Any => self.expected.events,
            Where::List if refusal => Events::Refused,
            Where::List if self.expected.list == End::Right => Events::Come,
            Where::List => Events::Fail,
            Where::Ping if self.expected.ping == End::Right => Events::Come,
            Where::Ping | Where::Inspect => Events::Fail,
        }
    }

    /// Returns true if lookups can give the right answer in this case.
    fn lookups_work(&self) -> bool {
        match self.place {
            Where::Any => self.expected.ping == End::Right && self.expected.inspect == End::Right,
            Where::Ping => self.expected.ping == End::Right,
            Where::Inspect => self.expected.inspect == End::Right,
            Where::List | Where::Events | Where::OpenStreams => true,
        }
    }

    /// Waits until the directory is live and no request is in flight.
    async fn settle(&self, directory: &Directory) {
        open(directory).await;
        until("it is live", || directory.info().state == State::Live).await;
        after_the_second_list(directory, &self.engine).await;
        assert_eq!(directory.info().state, State::Live);
    }

    async fn changes_come(&self, directory: &Directory) {
        until("it is live", || directory.info().state == State::Live).await;
        if self.expected.lasts.contains(&self.place) {
            // The second list can make entries uncertain that an event had confirmed.
            after_the_second_list(directory, &self.engine).await;
        }
        for port in 50_000..50_004 {
            self.engine.restart_at("db", port);
            until("the new port is known", || known(directory, "db") == Some(port)).await;
        }
    }

    async fn changes_are_found(&self, directory: &Directory) {
        for port in 50_000..50_002 {
            self.engine.restart_at("db", port);
            // The cache may hold the old port for a moment.
            let began = Instant::now();
            while self.find(directory).await != End::Right {
                assert!(began.elapsed() < FAR_TOO_LONG, "the new port is not found");
                a_moment().await;
            }
        }
    }

    async fn changes_are_missed(&self, directory: &Directory) {
        if self.place != Where::OpenStreams {
            self.settle(directory).await;
        }
        self.engine.restart_at("db", 50_000);
        a_moment().await;
        assert_eq!(known(directory, "web"), Some(49154));
        assert_ne!(known(directory, "db"), Some(50_000));
        self.a_minute(directory).await;
        until("the new port is known", || known(directory, "db") == Some(50_000)).await;
    }

    /// Lets a minute pass. A lookup in the middle keeps the directory open.
    async fn a_minute(&self, directory: &Directory) {
        until_quiet(directory, &self.engine).await;
        skip(Duration::from_secs(30)).await;
        assert_eq!(find(directory, "web").await, Ok(49154));
        until_quiet(directory, &self.engine).await;
        skip(Duration::from_secs(31)).await;
    }

    /// Checks that everything works after the engine behaves again.
    async fn recover(&self, directory: &Directory) {
        if self.events() == Events::Refused {
            // The directory subscribes again a minute after the refusal. Until then lookups inspect.
            self.a_minute(directory).await;
        }
        if self.expected.lasts.contains(&self.place) {
            // Lookups inspect uncertain entries, and the list that follows within a minute corrects them. A lookup may
            // share an answer that was already on its way.
            for (id, name, port) in listed(&self.engine) {
                for text in [&id, &id[..12], &name] {
                    let began = Instant::now();
                    while find(directory, text).await != Ok(port) {
                        assert!(began.elapsed() < FAR_TOO_LONG, "{text} is not found");
                        a_moment().await;
                    }
                }
            }
            if !agrees(directory, &self.engine) {
                self.a_minute(directory).await;
            }
        }
        // Let requests that still hang time out, and let the wait before the next try pass.
        if self.hangs() {
            skip(LIMITS.response).await;
            run_others().await;
        }
        skip(LONGEST_BACKOFF).await;
        until_agreed(directory, &self.engine).await;
        assert_eq!(directory.info().state, State::Live);
        assert_eq!(self.find(directory).await, End::Right);
    }
}
