//! Follows one engine: subscribes to its events, lists its containers, and asks about each container that changes.
//!
//! The order matters: a container that starts between a list and a later subscription would be missed. An event only
//! says that a container has changed; the follower asks the engine for the new state. The directory, `eid serve` and
//! `eid ps --watch` each implement [`Sink`] to say what they ask and what they do with the answers.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::{pending, Future};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::{yield_now, JoinSet};
use tokio::time::{sleep, sleep_until, Instant};

use crate::api::events::EventStream;
use crate::error::Error;
use crate::node_name::ContainerRef;

mod sink;

pub use sink::{Asking, Lost, NextStep, Retry, Sink, ToAsk};

/// Time between two lists while events arrive: a stream may have died silently.
pub const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// Time from the first list to the second. Docker sends the head of its answer just before it subscribes (`getEvents` in
/// moby's `api/server/router/system`), so an event at that moment is lost.
pub const SECOND_LIST: Duration = Duration::from_secs(1);

/// Shortest time between two lists when the second is needed soon.
const LIST_PAUSE: Duration = Duration::from_millis(200);

/// An event may arrive this much later than a list that shows its change: Podman reads its events from a file, four times
/// a second.
const LATE: Duration = Duration::from_secs(1);

/// Time after which the follower asks again about a container: see [`NextStep::AskAgain`].
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Maximum number of containers that the follower asks about at the same time.
const INSPECTS: usize = 16;

/// After this many events other tasks get a turn.
const FLOOD: usize = 256;

/// Limits of [`Backoff`].
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// A try that lasted this long was not a failed try.
const SUCCESS: Duration = Duration::from_secs(5);

/// Follows one engine for a [`Sink`].
pub struct Follower<S> {
    sink: S,
    asker: mpsc::UnboundedSender<String>,
    asked: mpsc::UnboundedReceiver<String>,
}

/// Why a session ended.
enum End {
    Lost(Lost),
    /// The event stream seems to be dead, but the engine answers.
    Gap,
}

impl<S: Sink> Follower<S> {
    /// A follower that does nothing until it runs.
    pub fn new(sink: S) -> Self {
        let (asker, asked) = mpsc::unbounded_channel();
        Self { sink, asker, asked }
    }

    /// Sends the full IDs of containers to ask about now, without an event.
    pub fn asker(&self) -> mpsc::UnboundedSender<String> {
        self.asker.clone()
    }

    /// Follows the engine until this future is dropped. It ends only after a panic, in the follower or in the sink, with an
    /// error for the user. It must run on a tokio runtime.
    pub async fn run(mut self) -> Error {
        match AssertUnwindSafe(self.sessions()).catch_unwind().await {
            Ok(never) => match never {},
            Err(_) => Error::abandoned(),
        }
    }

    async fn sessions(&mut self) -> Infallible {
        let mut backoff = Backoff::default();
        let mut poll = None;
        loop {
            let began = Instant::now();
            if let End::Lost(lost) = self.session(poll).await {
                let retry = self.sink.lost(&lost);
                poll = match retry {
                    Retry::Poll(interval) => Some(interval),
                    Retry::Soon | Retry::After(_) => None,
                };
                sleep(match retry {
                    Retry::Soon => backoff.after(began.elapsed()),
                    Retry::After(wait) => wait,
                    Retry::Poll(_) => Duration::ZERO,
                })
                .await;
            }
            self.sink.resync();
        }
    }

    /// Follows one event stream, or polls at this interval, until something is wrong.
    async fn session(&mut self, poll: Option<Duration>) -> End {
        let events = match poll {
            Some(_) => None,
            None => match self.sink.engine().subscribe().await {
                Ok(events) => Some(events),
                Err(error) => return End::Lost(Lost::Events(error)),
            },
        };
        let session = Session {
            sink: &mut self.sink,
            events,
            interval: poll.unwrap_or(LIST_INTERVAL),
            next_list: Instant::now(),
            has_list: false,
            queue: Queue::default(),
            again: VecDeque::new(),
            unanswered: None,
            unexplained: HashSet::new(),
            gap_at: Instant::now(),
        };
        match session.run(&mut self.asked).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

/// One subscription.
struct Session<'a, S> {
    sink: &'a mut S,
    /// `None` while the follower polls.
    events: Option<EventStream>,
    interval: Duration,
    next_list: Instant,
    has_list: bool,
    queue: Queue,
    /// Containers to ask about again.
    again: VecDeque<(Instant, String)>,
    /// The containers that [`Sink::ready`] waits for.
    unanswered: Option<HashSet<String>>,
    /// The containers that a list shows changed although no event mentioned them.
    unexplained: HashSet<String>,
    /// The time by which their events must have arrived.
    gap_at: Instant,
}

impl<S: Sink> Session<'_, S> {
    async fn run(mut self, asked: &mut mpsc::UnboundedReceiver<String>) -> Result<Infallible, End> {
        let mut inspects = JoinSet::new();
        let mut lists = JoinSet::new();
        let mut last_list = Instant::now();
        let mut events_in_a_row = 0;
        loop {
            while self.has_list && inspects.len() < INSPECTS {
                let Some(id) = self.queue.pop() else { break };
                inspects.spawn(self.inspect(id));
            }
            if self.unanswered.take_if(|ids| ids.is_empty()).is_some() {
                self.sink.ready();
            }
            let again_at = self.again.front().map_or(last_list, |(at, _)| *at);
            let may_be_gap = self.events.is_some() && !self.unexplained.is_empty() && lists.is_empty();
            tokio::select! {
                events = next(&mut self.events) => {
                    events_in_a_row += self.take_events(events)?;
                    if events_in_a_row >= FLOOD {
                        events_in_a_row = 0;
                        yield_now().await;
                    }
                }
                Some(id) = asked.recv() => self.queue.push(id),
                Some(Ok((mark, id, answer))) = inspects.join_next() => self.take_answer(mark, id, answer)?,
                () = sleep_until(self.next_list), if lists.is_empty() => {
                    let (mark, list) = (self.sink.mark(), self.sink.list());
                    lists.spawn(async move { (mark, or_abandoned(list).await) });
                    last_list = Instant::now();
                    self.next_list = last_list + self.interval;
                }
                Some(Ok((mark, list))) = lists.join_next() => {
                    self.take_list(mark, list.map_err(|error| End::Lost(Lost::List(error)))?)?;
                }
                () = sleep_until(again_at), if !self.again.is_empty() => {
                    self.again.pop_front().into_iter().for_each(|(_, id)| self.queue.push(id));
                }
                () = sleep_until(self.gap_at), if may_be_gap => return Err(End::Gap),
            }
            if self.queue.order.len() > S::MAX_QUEUE {
                self.queue.clear();
                self.sink.resync();
                self.next_list = self.next_list.min(last_list + LIST_PAUSE);
            }
        }
    }

    fn inspect(
        &self,
        id: String,
    ) -> impl Future<Output = (u64, String, Result<Option<S::Inspected>, Error>)> + Send + use<S> {
        let mark = self.sink.mark();
        let answer = ContainerRef::from_id(&id).map(|asked| self.sink.inspect(asked));
        async move {
            let answer = match answer {
                Some(answer) => or_abandoned(answer).await,
                None => Err(Error::NoSuchContainer),
            };
            let answer = match answer {
                Err(Error::NoSuchContainer) => Ok(None),
                answer => answer.map(Some),
            };
            (mark, id, answer)
        }
    }

    /// Returns the number of events.
    fn take_events(&mut self, events: Result<Vec<S::Event>, Error>) -> Result<usize, End> {
        let lost = |error| End::Lost(Lost::Events(error));
        let events = events.map_err(lost)?;
        let count = events.len();
        for event in events {
            if let Some(id) = self.sink.event(event).map_err(lost)? {
                self.unexplained.remove(&id);
                self.queue.push(id);
            }
        }
        Ok(count)
    }

    fn take_list(&mut self, mark: u64, list: Vec<S::Listed>) -> Result<(), End> {
        // Events that have arrived by now come before the list.
        while let Some(events) = next(&mut self.events).now_or_never() {
            self.take_events(events)?;
        }
        let to_ask = self.sink.listed(mark, list);
        if self.has_list {
            self.gap_at = Instant::now() + LATE;
            self.unexplained.extend(to_ask.unexplained);
        } else {
            self.has_list = true;
            self.unanswered = Some(to_ask.ids.iter().cloned().collect());
            self.next_list = self.next_list.min(Instant::now() + SECOND_LIST);
        }
        to_ask.ids.into_iter().for_each(|id| self.queue.push(id));
        Ok(())
    }

    fn take_answer(&mut self, mark: u64, id: String, answer: Result<Option<S::Inspected>, Error>) -> Result<(), End> {
        self.queue.asked.remove(&id);
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.remove(&id);
        }
        match self.sink.changed(mark, &id, answer) {
            NextStep::Follow => {}
            NextStep::List => self.next_list = self.next_list.min(Instant::now() + SECOND_LIST),
            NextStep::AskAgain => self.again.push_back((Instant::now() + ASK_AGAIN, id)),
            NextStep::Reconnect(error) => return Err(End::Lost(Lost::Container(error))),
        }
        Ok(())
    }
}

/// Waits for the next events, for ever if there is no stream.
async fn next<E: DeserializeOwned>(events: &mut Option<EventStream>) -> Result<Vec<E>, Error> {
    match events {
        Some(events) => events.next().await,
        None => pending().await,
    }
}

/// A panic of the work becomes its error.
async fn or_abandoned<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(Error::abandoned()))
}

/// Containers to ask about, each once, in the order in which they changed.
#[derive(Default)]
struct Queue {
    order: VecDeque<String>,
    waiting: HashSet<String>,
    /// The engine is being asked about these.
    asked: HashSet<String>,
}

impl Queue {
    fn push(&mut self, id: String) {
        if self.waiting.insert(id.clone()) {
            self.order.push_back(id);
        }
    }

    /// The next container to ask about. One that the engine is already being asked about waits for that answer, which may
    /// be out of date: a restart alone has six events.
    fn pop(&mut self) -> Option<String> {
        let next = self.order.iter().position(|id| !self.asked.contains(id))?;
        let id = self.order.remove(next)?;
        self.waiting.remove(&id);
        self.asked.insert(id.clone());
        Some(id)
    }

    fn clear(&mut self) {
        self.order.clear();
        self.waiting.clear();
    }
}

/// Waits from 100 ms to 3 s between tries: at first up to 200 ms, then up to twice as long each time. Each wait is random,
/// from the upper half of its range, so that nodes that lost the same engine do not come back at the same moment.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a try that lasted this long. A try that lasted 5 s counts as a success.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= SUCCESS {
            self.failures = 0;
        }
        self.failures += 1;
        // 2^5 times the shortest wait is more than the longest.
        let longest = (SHORTEST_WAIT * 2u32.pow(self.failures.min(5))).min(LONGEST_WAIT);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
#[path = "../tests/unit/backoff.rs"]
mod tests;
