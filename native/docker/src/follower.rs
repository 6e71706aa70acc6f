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

    /// Follows one event stream until something is wrong.
    async fn session(&mut self, poll: Option<Duration>) -> End {
        let mut events = None;
        if poll.is_none() {
            events = match self.sink.engine().subscribe().await {
                Ok(stream) => Some(stream),
                Err(error) => return End::Lost(Lost::Events(error)),
            };
        }
        let mut queue = Queue::default();
        let mut inspects = JoinSet::new();
        let mut lists = JoinSet::new();
        let mut last_list = Instant::now();
        let mut next_list = last_list;
        let mut has_list = false;
        // The containers that `ready` waits for, those that a list told about without an event, and those to ask again.
        let mut unanswered: Option<HashSet<String>> = None;
        let mut unexplained = HashSet::new();
        let mut gap_at = last_list;
        let mut again: VecDeque<(Instant, String)> = VecDeque::new();
        loop {
            while has_list && inspects.len() < INSPECTS {
                let Some(id) = queue.pop() else { break };
                inspects.spawn(self.inspect(id));
            }
            if unanswered.as_ref().is_some_and(HashSet::is_empty) {
                unanswered = None;
                self.sink.ready();
            }
            let again_at = again.front().map_or(last_list, |(at, _)| *at);
            tokio::select! {
                batch = next(&mut events) => {
                    if let Err(error) = self.take(batch, &mut queue, &mut unexplained) {
                        return End::Lost(Lost::Events(error));
                    }
                    // Other tasks get a turn between two batches of a flood.
                    yield_now().await;
                }
                Some(id) = self.asked.recv() => queue.push(id),
                Some(Ok((mark, id, answer))) = inspects.join_next() => {
                    queue.asked.remove(&id);
                    if let Some(unanswered) = &mut unanswered {
                        unanswered.remove(&id);
                    }
                    match self.sink.changed(mark, &id, answer) {
                        NextStep::Follow => {}
                        NextStep::List => next_list = next_list.min(Instant::now() + SECOND_LIST),
                        NextStep::AskAgain => again.push_back((Instant::now() + ASK_AGAIN, id)),
                        NextStep::Reconnect(error) => return End::Lost(Lost::Container(error)),
                    }
                }
                () = sleep_until(next_list), if lists.is_empty() => {
                    lists.spawn(self.list());
                    last_list = Instant::now();
                    next_list = last_list + poll.unwrap_or(LIST_INTERVAL);
                }
                Some(Ok((mark, list))) = lists.join_next() => {
                    let list = match list {
                        Ok(list) => list,
                        Err(error) => return End::Lost(Lost::List(error)),
                    };
                    // Events that have arrived by now come before the list.
                    while let Some(batch) = next(&mut events).now_or_never() {
                        if let Err(error) = self.take(batch, &mut queue, &mut unexplained) {
                            return End::Lost(Lost::Events(error));
                        }
                    }
                    let to_ask = self.sink.listed(mark, list);
                    if has_list {
                        gap_at = Instant::now() + LATE;
                        unexplained.extend(to_ask.unexplained);
                    } else {
                        has_list = true;
                        unanswered = Some(to_ask.ids.iter().cloned().collect());
                        next_list = next_list.min(Instant::now() + SECOND_LIST);
                    }
                    to_ask.ids.into_iter().for_each(|id| queue.push(id));
                }
                () = sleep_until(again_at), if !again.is_empty() => {
                    again.pop_front().into_iter().for_each(|(_, id)| queue.push(id));
                }
                () = sleep_until(gap_at), if events.is_some() && !unexplained.is_empty() && lists.is_empty() => return End::Gap,
            }
            if queue.order.len() > S::MAX_QUEUE {
                queue.clear();
                self.sink.resync();
                next_list = next_list.min(last_list + LIST_PAUSE);
            }
        }
    }

    fn take(
        &mut self,
        batch: Result<Vec<S::Event>, Error>,
        queue: &mut Queue,
        unexplained: &mut HashSet<String>,
    ) -> Result<(), Error> {
        for event in batch? {
            if let Some(id) = self.sink.event(event)? {
                unexplained.remove(&id);
                queue.push(id);
            }
        }
        Ok(())
    }

    fn inspect(
        &self,
        id: String,
    ) -> impl Future<Output = (u64, String, Result<Option<S::Inspected>, Error>)> + Send + 'static {
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

    fn list(&self) -> impl Future<Output = (u64, Result<Vec<S::Listed>, Error>)> + Send + 'static {
        let (mark, list) = (self.sink.mark(), self.sink.list());
        async move { (mark, or_abandoned(list).await) }
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
