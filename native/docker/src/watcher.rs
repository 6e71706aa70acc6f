//! The task that keeps a directory up to date: subscribe to the engine's events, then list, then follow.
//!
//! In the other order a container that starts in between would be missed. An event only says that a container has
//! changed; what it is now, the engine is asked. After any gap in the events everything starts over.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::{sleep, sleep_until, timeout, Instant};

use crate::backoff::Backoff;
use crate::directory::{Phase, Shared};
use crate::events::Events;
use crate::snapshot::{Mark, Replaced};
use crate::{Container, ContainerRef, Error, Which};

/// Everything is listed so often even if nothing seems wrong: a stream may have died without a word.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// The second list comes soon after the first. Docker sends the head of its answer just before it subscribes
/// (`getEvents` in moby's `api/server/router/system`), so an event at that moment is lost.
const SECOND_LIST: Duration = Duration::from_secs(1);

/// A list that is needed comes at least so long after the one before.
const LIST_PAUSE: Duration = Duration::from_millis(200);

/// How long an event may be under way after a list has told of what it is about. Podman reads its events from a file, four
/// times a second.
const LATE: Duration = Duration::from_secs(1);

/// So many containers are asked about at a time.
const INSPECTS: usize = 8;

/// When more than so many wait to be asked about, a list is cheaper, and the engine may have skipped us.
const LAG: usize = 256;

/// What lasts no longer is a gap, of which nobody is told who waits for changes.
const GAP: Duration = Duration::from_secs(1);

/// How long after a refusal the engine is asked again for its events.
const REFUSED: Duration = Duration::from_secs(60);

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    doubted: mpsc::UnboundedReceiver<String>,
}

/// Why the events are not followed any more.
enum End {
    /// Nobody has asked for long enough: the directory is closed.
    Unused,
    /// It will be tried again soon.
    Failed(Error),
    /// The answer will not be another one soon, whether it comes from the engine or from a proxy before it.
    Refused(Error),
}

impl Watcher {
    /// `doubted` are the IDs of containers that somebody wants to be asked about.
    pub(crate) fn new(shared: Arc<Shared>, doubted: mpsc::UnboundedReceiver<String>) -> Self {
        Self { shared, doubted }
    }

    /// Runs until nobody has asked for a minute.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut sessions = 0;
        let mut last_live = None;
        while !self.shared.close_if_unused() {
            sessions += 1;
            if sessions > 1 {
                self.shared.resyncs.fetch_add(1, Ordering::Relaxed);
            }
            let began = Instant::now();
            match self.session().await {
                End::Unused => return,
                End::Refused(error) => {
                    // First, because lookups that wait go on with the phase.
                    self.shared.fail(error.clone(), true);
                    self.shared.give_notice(error);
                    self.shared.enter(Phase::Inspecting);
                    last_live = None;
                    sleep(REFUSED).await;
                }
                End::Failed(error) => {
                    if *self.shared.phase.borrow() == Phase::Live {
                        last_live = Some(Instant::now());
                    }
                    let is_gap = last_live.is_some_and(|at: Instant| at.elapsed() < GAP);
                    self.shared.fail(error, !is_gap);
                    self.shared.enter(Phase::Connecting);
                    sleep(backoff.after(began.elapsed())).await;
                }
            }
        }
    }

    /// Gets the list and follows the events until something is wrong.
    async fn session(&mut self) -> End {
        self.shared.look_for_own_again();
        let mut events = match self.shared.engine.events(Which::Running).await {
            Ok(events) => events,
            Err(error) if is_refusal(&error) => return End::Refused(error),
            Err(error) => return End::Failed(error),
        };
        let mark = self.shared.view().snapshot.mark();
        let list = match self.shared.engine.list().await {
            Ok(list) => list,
            // A list of more containers than fit will not be shorter the next time.
            Err(error @ Error::TooLarge(_)) => return End::Refused(error),
            Err(error) if is_refusal(&error) => return End::Refused(error),
            Err(error) => return End::Failed(error),
        };
        let Replaced { mut unclear, .. } = self.shared.change(|snapshot| snapshot.replace(mark, list));
        // What has come meanwhile counts before anybody reads.
        while unclear.len() <= LAG {
            let Ok(event) = timeout(Duration::ZERO, events.next()).await else {
                break;
            };
            match event {
                Ok(id) => {
                    self.shared.events.fetch_add(1, Ordering::Relaxed);
                    self.shared.write().snapshot.invalidate(&id);
                    unclear.push(id);
                }
                Err(error) => return End::Failed(error),
            }
        }
        self.shared.go_live();
        self.follow(events, unclear).await
    }

    async fn follow(&mut self, mut events: Events, unclear: Vec<String>) -> End {
        let shared = &self.shared;
        let mut queue = Queue::default();
        unclear.into_iter().for_each(|id| queue.push(id));
        let mut inspects = JoinSet::new();
        let mut asked = HashMap::new();
        let mut lists = JoinSet::new();
        let mut listed = Instant::now();
        let mut next_list = listed + SECOND_LIST;
        let mut unexplained = HashSet::new();
        loop {
            while inspects.len() < INSPECTS {
                let Some(id) = queue.pop(&asked) else { break };
                let task = inspects.spawn(inspect(Arc::clone(shared), id.clone()));
                asked.insert(task.id(), id);
            }
            tokio::select! {
                event = events.next() => match event {
                    Ok(id) => {
                        shared.events.fetch_add(1, Ordering::Relaxed);
                        shared.write().snapshot.invalidate(&id);
                        // Answers that are on their way may be from before the change.
                        shared.engine.forget();
                        unexplained.remove(&id);
                        queue.push(id);
                    }
                    Err(error) => return End::Failed(error),
                },
                Some(id) = self.doubted.recv() => queue.push(id),
                Some(answered) = inspects.join_next_with_id() => {
                    let task = answered.as_ref().map_or_else(|error| error.id(), |(task, _)| *task);
                    asked.remove(&task);
                    match answered {
                        Ok((_, (id, mark, Ok(container)))) => {
                            shared.change(|snapshot| snapshot.refresh(&id, mark, container));
                        }
                        // It stays unknown; a list may still tell.
                        Ok((_, (_, _, Err(_)))) | Err(_) => next_list = next_list.min(Instant::now() + SECOND_LIST),
                    }
                }
                () = sleep_until(next_list), if lists.is_empty() => {
                    lists.spawn(list(Arc::clone(shared)));
                    listed = Instant::now();
                    next_list = listed + LIST_INTERVAL;
                }
                Some(answered) = lists.join_next() => match answered {
                    Ok((mark, Ok(containers))) => {
                        let Replaced { surprises, unclear } = shared.change(|snapshot| snapshot.replace(mark, containers));
                        unexplained.extend(surprises);
                        unclear.into_iter().for_each(|id| queue.push(id));
                    }
                    Ok((_, Err(error))) => return End::Failed(error),
                    Err(_) => return End::Failed(Error::abandoned()),
                },
                () = sleep_until(listed + LATE), if !unexplained.is_empty() && lists.is_empty() => {
                    return End::Failed(Error::BadResponse("an event is missing".to_owned()));
                }
                () = sleep_until(shared.unused_at()) => {
                    // Somebody may have asked since the sleep began; then the stream that is there goes on.
                    if shared.close_if_unused() {
                        return End::Unused;
                    }
                }
            }
            if queue.len() > LAG {
                queue = Queue::default();
                shared.resyncs.fetch_add(1, Ordering::Relaxed);
                next_list = next_list.min(listed + LIST_PAUSE);
            }
        }
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 300..=499, .. })
        && !matches!(error, Error::Refused { status: 408 | 429, .. })
}

impl Drop for Watcher {
    /// After a panic nobody reads what is not kept up to date any more, and the next lookup starts anew.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.enter(Phase::Closed);
        }
    }
}

async fn inspect(shared: Arc<Shared>, id: String) -> (String, Mark, Result<Option<Container>, Error>) {
    let mark = shared.view().snapshot.mark();
    let answer = match ContainerRef::from_id(&id) {
        Some(asked) => match shared.engine.inspect(&asked).await {
            Ok(container) => Ok(Some(container)),
            Err(Error::NoSuchContainer) => Ok(None),
            Err(error) => Err(error),
        },
        None => Ok(None),
    };
    (id, mark, answer)
}

async fn list(shared: Arc<Shared>) -> (Mark, Result<Vec<Container>, Error>) {
    let mark = shared.view().snapshot.mark();
    (mark, shared.engine.list().await)
}

/// Containers to ask about, each once, in the order in which they have changed.
#[derive(Default)]
struct Queue {
    order: VecDeque<String>,
    waiting: HashSet<String>,
}

impl Queue {
    fn push(&mut self, id: String) {
        if self.waiting.insert(id.clone()) {
            self.order.push_back(id);
        }
    }

    /// The next one that the engine is not being asked about already: that answer has to come first, since it may be out
    /// of date by now. A restart alone has six events.
    fn pop(&mut self, asked: &HashMap<task::Id, String>) -> Option<String> {
        let is_asked = |id: &String| asked.values().any(|asked| asked == id);
        let next = self.order.iter().position(|id| !is_asked(id))?;
        let id = self.order.remove(next)?;
        self.waiting.remove(&id);
        Some(id)
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}
