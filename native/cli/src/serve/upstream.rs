//! Follows the engine: one subscription, whatever the number of clients.
//!
//! Subscribe, then list and inspect, then follow, as eid-docker's directory does. An event is told to clients when what it is
//! about has been asked for and is in the [`Store`]: who hears of a change and asks, gets what is true after it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eid_docker::{Backoff, ContainerRef, Engine, Error, ListScope, MAX_CONTAINERS};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{yield_now, JoinSet};
use tokio::time::{sleep, sleep_until, Instant};
use tracing::{info, warn};

use super::container::{self, Hidden, Policy, Shown};
use super::event::{self, Changes, Event, CHANGED};
use super::store::{Answer, Change, Store};

/// Everything is listed so often even if nothing seems wrong: a stream may have died without a word.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// The second list comes soon after the first: Docker sends the head of its answer just before it subscribes.
const SECOND_LIST: Duration = Duration::from_secs(1);

/// When the engine is asked again about a container that it did not answer about.
const RETRY: Duration = Duration::from_secs(1);

/// So many containers are asked about at a time.
const INSPECTS: usize = 16;

/// When more events than this wait, everything is asked for anew.
const BACKLOG: usize = 8192;

/// So many events are taken together.
const BATCH: usize = 256;

/// API versions for clients of an engine that tells none.
const OLDEST: (u16, u16) = (1, 24);

pub struct Upstream {
    engine: Engine,
    policy: Policy,
    store: Arc<Store>,
    /// Those that are not shown, which is for as long as they live.
    hidden: HashSet<String>,
    /// What the list before said of each, so that a change without an event is noticed.
    listed: HashMap<String, u64>,
    /// It does not answer about them.
    unanswered: HashSet<String>,
    /// Not all found room, and it has been said.
    is_full: bool,
    /// Those that are gone, of which there may be a last event to tell.
    gone: HashMap<String, Arc<Shown>>,
}

/// An element of the engine's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    ports: Value,
    #[serde(default)]
    network_settings: Value,
}

impl Upstream {
    pub fn new(engine: Engine, policy: Policy, store: Arc<Store>) -> Self {
        Self {
            engine,
            policy,
            store,
            hidden: HashSet::new(),
            listed: HashMap::new(),
            unanswered: HashSet::new(),
            is_full: false,
            gone: HashMap::new(),
        }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut last = String::new();
        loop {
            let began = Instant::now();
            let error = match self.session().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.store.go_down(reason(&error));
            let error = error.to_string();
            // While it stays as it is, once is enough.
            if error != last || began.elapsed() > LIST_INTERVAL {
                warn!("{}: {error}; trying again", self.engine.endpoint());
            }
            last = error;
            sleep(backoff.after(began.elapsed())).await;
        }
    }

    async fn session(&mut self) -> Result<std::convert::Infallible, Error> {
        self.hidden.clear();
        self.listed.clear();
        self.unanswered.clear();
        self.gone.clear();
        let mut events = self.follow_events().await?;
        let ids = self.list().await?;
        let answers = self.ask(ids).await?;
        let version = self.engine.api_version().unwrap_or(OLDEST);
        let has_room = self.store.go_live(version, answers);
        self.tell_of_room(has_room);
        let shown = self.store.len().unwrap_or_default();
        info!("{}: following, {shown} containers are shown", self.engine.endpoint());
        let mut next_list = Instant::now() + SECOND_LIST;
        let mut retry = Instant::now() + RETRY;
        loop {
            tokio::select! {
                event = events.recv() => {
                    let first = event.unwrap_or_else(|| Err(lost()))?;
                    let mut batch = vec![first];
                    while batch.len() < BATCH {
                        let Ok(event) = events.try_recv() else { break };
                        batch.push(event?);
                    }
                    self.take(batch).await?;
                    // When many events come at once, those that they are told to have a turn too: fewer fall so far behind that they are cut off.
                    yield_now().await;
                }
                () = sleep_until(next_list) => {
                    let surprises = self.list().await?;
                    self.explain(surprises).await?;
                    self.gone.clear();
                    next_list = Instant::now() + LIST_INTERVAL;
                }
                () = sleep_until(retry), if !self.unanswered.is_empty() => {
                    let ids = self.unanswered.iter().cloned().collect();
                    self.explain(ids).await?;
                    retry = Instant::now() + RETRY;
                }
            }
        }
    }

    /// Events are read while containers are asked for: an engine skips who is slow.
    async fn follow_events(&self) -> Result<mpsc::Receiver<Result<Event, Error>>, Error> {
        let mut stream = self.engine.subscribe().await?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(async move {
            loop {
                let events = tokio::select! {
                    events = stream.next::<event::Told>() => events,
                    () = sender.closed() => return,
                };
                let events = match events {
                    Ok(events) => events,
                    Err(error) => {
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                };
                for event in events.into_iter().filter_map(event::Told::event) {
                    if sender.try_send(Ok(event)).is_err() {
                        // It ends, and with it the session.
                        return;
                    }
                }
            }
        });
        Ok(receiver)
    }

    /// The containers that are to be asked about: what is new, gone, or not what it was in the list before.
    async fn list(&mut self) -> Result<Vec<String>, Error> {
        let list: Vec<Listed> = self.engine.list_as(ListScope::All).await?;
        let listed: HashMap<String, u64> = list
            .into_iter()
            .take(2 * MAX_CONTAINERS)
            .map(|listed| (listed.id.clone(), listed.fingerprint()))
            .collect();
        self.hidden.retain(|id| listed.contains_key(id));
        let gone = self.listed.keys().filter(|id| !listed.contains_key(*id));
        let other = listed
            .iter()
            .filter(|(id, print)| !self.hidden.contains(*id) && self.listed.get(*id) != Some(print))
            .map(|(id, _)| id);
        let ids = gone.chain(other).cloned().collect();
        self.listed = listed;
        Ok(ids)
    }

    /// What the engine says of each. Of one alone it may say nothing; an engine that is not there is an error.
    async fn ask(&mut self, ids: Vec<String>) -> Result<Vec<(String, Answer)>, Error> {
        let mut waiting = ids.into_iter();
        let mut asked = JoinSet::new();
        let mut answers = Vec::new();
        loop {
            for id in waiting.by_ref().take(INSPECTS - asked.len()) {
                let engine = self.engine.clone();
                let policy = self.policy.clone();
                asked.spawn(async move {
                    let answer = inspect(&engine, &policy, &id).await;
                    (id, answer)
                });
            }
            let Some(answered) = asked.join_next().await else { break };
            let Ok((id, answer)) = answered else { continue };
            let answer = match answer {
                Ok(Ok(shown)) => Answer::Shown(Box::new(shown)),
                Ok(Err(hidden)) => {
                    if hidden == Hidden::TooLarge {
                        warn!("the container {id} is not shown: it has too many ports or too long labels");
                    }
                    self.hidden.insert(id.clone());
                    Answer::Gone
                }
                Err(Error::NoSuchContainer) => Answer::Gone,
                Err(error @ Error::Unreachable(..)) => return Err(error),
                Err(error) => {
                    // They stay there while they are asked about again, so it is said once.
                    if self.unanswered.is_empty() {
                        warn!("the container {id}: {error}");
                    }
                    self.unanswered.insert(id.clone());
                    Answer::Nothing
                }
            };
            if !matches!(answer, Answer::Nothing) {
                self.unanswered.remove(&id);
            }
            answers.push((id, answer));
        }
        Ok(answers)
    }

    async fn take(&mut self, batch: Vec<Event>) -> Result<(), Error> {
        let mut ids = HashSet::new();
        for event in &batch {
            let may_be_shown = !self.hidden.contains(&event.container);
            if may_be_shown && (event.changes != Changes::Nothing || event.is_creation()) {
                ids.insert(event.container.clone());
            }
        }
        let answers = self.ask(ids.into_iter().collect()).await?;
        let (mut changes, has_room) = self.store.apply(answers);
        self.tell_of_room(has_room);
        for (id, change) in &changes {
            match (&change.before, &change.after) {
                (Some(shown), None) => drop(self.gone.insert(id.clone(), Arc::clone(shown))),
                (_, Some(_)) => drop(self.gone.remove(id)),
                (None, None) => {}
            }
        }
        for event in batch {
            let id = event.container.clone();
            let change = changes.entry(id.clone()).or_insert_with(|| {
                let shown = self.store.shown(&id);
                Change {
                    before: shown.clone(),
                    after: shown,
                }
            });
            let shown = change.shown().cloned().or_else(|| self.gone.get(&id).cloned());
            if event.is_end() {
                self.hidden.remove(&id);
                self.gone.remove(&id);
            }
            let Some(shown) = shown.as_deref() else { continue };
            match event.changes {
                Changes::Nothing | Changes::Something => self.store.tell(event.told(shown)),
                Changes::Unknown if change.before != change.after => {
                    self.store.tell(event.renamed(CHANGED).told(shown))
                }
                Changes::Unknown => {}
            }
        }
        Ok(())
    }

    /// Asks about containers that no event has told of, and tells what has changed.
    async fn explain(&mut self, ids: Vec<String>) -> Result<(), Error> {
        let answers = self.ask(ids).await?;
        let (changes, has_room) = self.store.apply(answers);
        self.tell_of_room(has_room);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or_default();
        for (id, change) in changes {
            let Some(shown) = change.shown() else { continue };
            let runs = |shown: &Option<Arc<Shown>>| shown.as_ref().is_some_and(|shown| shown.state == "running");
            let actions: &[&str] = match (&change.before, &change.after) {
                (before, after) if before == after => &[],
                (Some(_), None) => &["die", "destroy"],
                (before, after) => match (runs(before), runs(after)) {
                    (false, true) => &["start"],
                    (true, false) => &["die"],
                    _ => &[CHANGED],
                },
            };
            for action in actions {
                self.store.tell(Event::missed(&id, action, now).told(shown));
            }
        }
        Ok(())
    }

    fn tell_of_room(&mut self, has_room: bool) {
        if !has_room && !std::mem::replace(&mut self.is_full, true) {
            warn!("there are more than {MAX_CONTAINERS} containers to show; the others are left out");
        }
    }
}

impl Listed {
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for value in [&self.names, &self.state, &self.ports, &self.network_settings] {
            value.to_string().hash(&mut hasher);
        }
        hasher.finish()
    }
}

async fn inspect(engine: &Engine, policy: &Policy, id: &str) -> Result<Result<Shown, Hidden>, Error> {
    let Some(asked) = ContainerRef::from_id(id) else {
        return Err(Error::NoSuchContainer);
    };
    let told: container::Told = engine.inspect_as(&asked).await?;
    match told.id == id {
        true => Ok(policy.show(told)),
        false => Err(Error::NoSuchContainer),
    }
}

/// For clients: what an engine, or a proxy before it, writes of its troubles may name anything.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Unreachable(..) | Error::Config(..) | Error::Defect(_) => "it is unreachable",
        Error::Refused { .. } => "it refuses to answer",
        Error::Timeout => "it did not answer in time",
        _ => "its answer makes no sense",
    }
}

fn lost() -> Error {
    Error::unreachable("its events come faster than they can be followed")
}
