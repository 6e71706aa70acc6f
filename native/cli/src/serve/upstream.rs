//! Follows the engine with one subscription, independent of the number of clients.
//!
//! Clients get an event only after its container was inspected and is in the [`Store`]. A client that asks after an event sees the
//! state after the change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eid_docker::{
    Asking, ContainerRef, Engine, Error, ListScope, Lost, NextStep, Retry, Sink, ToAsk, LIST_INTERVAL, MAX_CONTAINERS,
};
use serde::Deserialize;
use serde_json::Value;
use tracing::{info, warn};

use super::container::{NotPublic, Policy, PublicContainer};
use super::engine_container::EngineContainer;
use super::event::{Effect, EngineEvent, Event, UPDATE};
use super::service::OLDEST;
use super::store::{ContainerChange, Store, Update};

/// If more events than this wait for inspects, the follower reconnects.
const BACKLOG: usize = 8192;

/// Shortest time between two replacements of an event stream that seems dead.
const REPLACE_INTERVAL: Duration = LIST_INTERVAL;

/// Puts the engine's containers and events into the store.
pub struct Upstream {
    engine: Engine,
    policy: Policy,
    store: Arc<Store>,
    /// The first answers of a session, while the store is down.
    first: Option<Vec<(String, Update)>>,
    /// The number of events received.
    received: u64,
    /// Events that wait for an inspect of their container, with their number.
    waiting: HashMap<String, VecDeque<(u64, Event)>>,
    /// The number of all waiting events.
    backlog: usize,
    /// The number of the last event of each container that the last list may not include.
    recent: HashMap<String, u64>,
    /// IDs that the policy excludes. This can't change during a container's life.
    hidden: HashSet<String>,
    /// The fingerprint of each container in the last list, to notice a change without an event.
    fingerprints: HashMap<String, u64>,
    /// IDs that the engine failed to inspect.
    failed: HashSet<String>,
    /// Containers that are gone, for their last events.
    gone: HashMap<String, Arc<PublicContainer>>,
    /// True after a line about too many containers was logged.
    is_full: bool,
    last_error: String,
    session_start: Instant,
}

/// An element of the engine's list, as far as it shows changes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedContainer {
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
    /// Makes a sink for the follower of this engine.
    pub fn new(engine: Engine, policy: Policy, store: Arc<Store>) -> Self {
        Self {
            engine,
            policy,
            store,
            first: Some(Vec::new()),
            received: 0,
            waiting: HashMap::new(),
            backlog: 0,
            recent: HashMap::new(),
            hidden: HashSet::new(),
            fingerprints: HashMap::new(),
            failed: HashSet::new(),
            gone: HashMap::new(),
            is_full: false,
            last_error: String::new(),
            session_start: Instant::now(),
        }
    }

    /// Turns the engine's answer into an update of the store.
    fn update(&mut self, id: &str, answer: Result<Option<Result<PublicContainer, NotPublic>>, Error>) -> Update {
        match answer {
            Ok(Some(Ok(container))) => Update::Public(Box::new(container)),
            Ok(None) => Update::Gone,
            Ok(Some(Err(reason))) => {
                if reason == NotPublic::TooLarge {
                    warn!("the container {id} is not shown: it has too many ports or too long labels");
                }
                self.hidden.insert(id.to_owned());
                Update::Gone
            }
            Err(error) => {
                // IDs stay in the set until an inspect succeeds, so this is logged once.
                if self.failed.is_empty() {
                    warn!("the container {id}: {error}");
                }
                self.failed.insert(id.to_owned());
                Update::Failed
            }
        }
    }

    /// Sends the waiting events of a container that an inspect with this mark includes, and those that need no inspect.
    fn send_waiting(&mut self, mark: u64, id: &str, change: &ContainerChange) {
        match (&change.before, &change.after) {
            (Some(container), None) => drop(self.gone.insert(id.to_owned(), Arc::clone(container))),
            (_, Some(_)) => drop(self.gone.remove(id)),
            (None, None) => {}
        }
        let Some(mut queue) = self.waiting.remove(id) else {
            return self.send_missed(id, change);
        };
        let is_included = |(number, event): &&(u64, Event)| *number <= mark || !event.needs_inspect();
        let included = queue.iter().take_while(is_included).count();
        self.backlog -= included;
        for (_, event) in queue.drain(..included) {
            self.send(event, change);
        }
        if !queue.is_empty() {
            self.waiting.insert(id.to_owned(), queue);
        }
    }

    fn send(&mut self, event: Event, change: &ContainerChange) {
        let container = change.latest().or_else(|| self.gone.get(&event.container));
        if let Some(container) = container {
            match event.effect {
                Effect::Nothing | Effect::Change => self.store.send(event.public(container)),
                Effect::Unknown if change.before != change.after => {
                    self.store.send(event.clone().renamed(UPDATE).public(container));
                }
                Effect::Unknown => {}
            }
        }
        if event.is_end() {
            self.hidden.remove(&event.container);
            self.gone.remove(&event.container);
        }
    }

    /// Sends events for a change that the engine sent no event about.
    fn send_missed(&self, id: &str, change: &ContainerChange) {
        let Some(container) = change.latest() else { return };
        let runs = |view: &Option<Arc<PublicContainer>>| view.as_ref().is_some_and(|view| view.state == "running");
        let actions: &[&str] = match (&change.before, &change.after) {
            (before, after) if before == after => &[],
            (Some(_), None) => &["die", "destroy"],
            (before, after) => match (runs(before), runs(after)) {
                (false, true) => &["start"],
                (true, false) => &["die"],
                _ => &[UPDATE],
            },
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or_default();
        for action in actions {
            self.store.send(Event::missed(id, action, now).public(container));
        }
    }

    fn check_room(&mut self, has_room: bool) {
        if !has_room && !mem::replace(&mut self.is_full, true) {
            warn!("there are more than {MAX_CONTAINERS} containers to show; the others are left out");
        }
    }
}

impl Sink for Upstream {
    type Listed = ListedContainer;
    type Inspected = Result<PublicContainer, NotPublic>;
    type Event = EngineEvent;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn list(&self) -> Asking<Vec<ListedContainer>> {
        let engine = self.engine.clone();
        Box::pin(async move { engine.list_as(ListScope::All).await })
    }

    fn inspect(&self, id: ContainerRef) -> Asking<Self::Inspected> {
        let (engine, policy) = (self.engine.clone(), self.policy.clone());
        Box::pin(async move {
            let container: EngineContainer = engine.inspect_as(&id).await?;
            // The engine may have found another container, whose name is this ID.
            if container.id != id.as_str() {
                return Err(Error::NoSuchContainer);
            }
            Ok(policy.apply(&container))
        })
    }

    fn mark(&self) -> u64 {
        self.received
    }

    fn event(&mut self, event: EngineEvent) -> Result<Option<String>, Error> {
        let Some(event) = event.event() else { return Ok(None) };
        let id = event.container.clone();
        self.received += 1;
        self.recent.insert(id.clone(), self.received);
        if self.hidden.contains(&id) {
            if event.is_end() {
                self.hidden.remove(&id);
            }
            return Ok(None);
        }
        let needs_inspect = event.needs_inspect();
        if !needs_inspect && !self.waiting.contains_key(&id) {
            let container = self.store.get(&id);
            let unchanged = ContainerChange {
                before: container.clone(),
                after: container,
            };
            self.send(event, &unchanged);
            return Ok(None);
        }
        if self.backlog >= BACKLOG {
            return Err(Error::unreachable("its events come faster than they can be followed"));
        }
        self.backlog += 1;
        let queue = self.waiting.entry(id.clone()).or_default();
        queue.push_back((self.received, event));
        Ok(needs_inspect.then_some(id))
    }

    fn listed(&mut self, mark: u64, list: Vec<ListedContainer>) -> ToAsk {
        let listed = list.into_iter().take(2 * MAX_CONTAINERS);
        let listed: HashMap<String, u64> = listed.map(|one| (one.id.clone(), one.fingerprint())).collect();
        self.hidden.retain(|id| listed.contains_key(id));
        self.gone.clear();
        let shown = self.store.all().unwrap_or_default();
        let gone = shown.iter().map(|container| &container.id);
        let gone = gone.filter(|id| !listed.contains_key(*id));
        let changed = listed.iter().filter(|(id, print)| {
            let is_known = self.hidden.contains(*id) || self.fingerprints.get(*id) == Some(print);
            !is_known
        });
        let ids: Vec<String> = gone.chain(changed.map(|(id, _)| id)).cloned().collect();
        // At most one replacement per interval, in case a container keeps changing without events.
        let may_replace = self.first.is_none() && self.session_start.elapsed() >= REPLACE_INTERVAL;
        let is_unexplained = |id: &&String| may_replace && !self.recent.contains_key(*id);
        let unexplained = ids.iter().filter(is_unexplained).cloned().collect();
        self.recent.retain(|_, number| *number > mark);
        self.fingerprints = listed;
        ToAsk { ids, unexplained }
    }

    fn changed(&mut self, mark: u64, id: &str, answer: Result<Option<Self::Inspected>, Error>) -> NextStep {
        let answer = match answer {
            Err(error) if error.detail().is_some() => return NextStep::Reconnect(error),
            answer => answer,
        };
        let update = self.update(id, answer);
        let is_failure = matches!(update, Update::Failed);
        if !is_failure {
            self.failed.remove(id);
        }
        let (change, has_room) = match &mut self.first {
            Some(first) => {
                first.push((id.to_owned(), update));
                (ContainerChange::default(), true)
            }
            None => self.store.apply(id, update),
        };
        self.check_room(has_room);
        self.send_waiting(mark, id, &change);
        if is_failure {
            NextStep::AskAgain
        } else {
            NextStep::Follow
        }
    }

    fn ready(&mut self) {
        let Some(first) = self.first.take() else { return };
        let version = self.engine.api_version().unwrap_or(OLDEST);
        let has_room = self.store.go_live(version, first);
        self.check_room(has_room);
        let shown = self.store.len().unwrap_or_default();
        info!("{}: following, {shown} containers are shown", self.engine.endpoint());
    }

    fn lost(&mut self, lost: &Lost) -> Retry {
        let error = lost.error();
        self.store.go_down(reason(error));
        self.first = Some(Vec::new());
        let message = error.to_string();
        // A repeated error is logged once.
        if message != self.last_error || self.session_start.elapsed() > LIST_INTERVAL {
            warn!("{}: {message}; trying again", self.engine.endpoint());
        }
        self.last_error = message;
        Retry::Soon
    }

    fn resync(&mut self) {
        self.waiting.clear();
        self.backlog = 0;
        self.recent.clear();
        self.hidden.clear();
        self.fingerprints.clear();
        self.failed.clear();
        self.gone.clear();
        self.session_start = Instant::now();
    }
}

impl ListedContainer {
    /// Hashes the properties. The order in lists does not count: an engine may change it.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for value in [&self.names, &self.state, &self.ports, &self.network_settings] {
            let mut texts: Vec<String> = match value {
                Value::Array(values) => values.iter().map(Value::to_string).collect(),
                value => vec![value.to_string()],
            };
            texts.sort_unstable();
            texts.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Returns the reason for clients. The error message itself might reveal details of the host.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Refused { .. } => "it refuses to answer",
        Error::Timeout => "it did not answer in time",
        error if error.detail().is_some() => "it is unreachable",
        _ => "its answer makes no sense",
    }
}
