//! What is shown now, to be read by every request, and the events that say what has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use eid_docker::MAX_CONTAINERS;
use tokio::sync::broadcast;

use super::container::Shown;
use super::event::TellableEvent;

/// A client that is so many events behind is cut off, and lists again.
pub const BACKLOG: usize = 4096;

/// Read by all requests, and written by who follows the engine.
pub struct Store(RwLock<Phase>);

enum Phase {
    Live(Live),
    /// The reason, for who asks.
    Down(Arc<str>),
}

struct Live {
    containers: BTreeMap<String, Entry>,
    names: HashMap<String, String>,
    events: broadcast::Sender<Arc<TellableEvent>>,
    api_version: (u16, u16),
}

#[derive(Clone)]
enum Entry {
    Known(Arc<Shown>),
    /// The engine does not answer about it, and what was known may be wrong.
    Unclear(Arc<Shown>),
}

/// Why there is no container to show.
#[derive(Debug, PartialEq)]
pub enum Missing {
    None,
    /// More than one ID begins so.
    Ambiguous,
    /// The engine does not answer about it.
    Unclear,
    Down(Arc<str>),
}

/// What an engine has said about a container.
pub enum Answer {
    Shown(Box<Shown>),
    Gone,
    Nothing,
}

impl Store {
    pub fn new() -> Self {
        Self(RwLock::new(Phase::Down("the engine has not been reached yet".into())))
    }

    /// By full ID, by name, or by the beginning of the ID, in this order, as engines do.
    pub fn find(&self, text: &str) -> Result<Arc<Shown>, Missing> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let live = phase.live().map_err(Missing::Down)?;
        let entry = live.containers.get(text);
        let named = || live.containers.get(live.names.get(text)?);
        let entry = match entry.or_else(named) {
            Some(entry) => entry,
            None => {
                let mut beginning = live
                    .containers
                    .range(text.to_owned()..)
                    .take_while(|(id, _)| id.starts_with(text));
                match (beginning.next(), beginning.next()) {
                    (Some((_, entry)), None) => entry,
                    (Some(_), Some(_)) => return Err(Missing::Ambiguous),
                    (None, _) => return Err(Missing::None),
                }
            }
        };
        match entry {
            Entry::Known(shown) => Ok(Arc::clone(shown)),
            Entry::Unclear(_) => Err(Missing::Unclear),
        }
    }

    /// All of them. One that the engine has not answered about last is there as it was before: it is not gone.
    pub fn all(&self) -> Result<Vec<Arc<Shown>>, Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entries = phase.live()?.containers.values();
        Ok(entries.map(|entry| Arc::clone(entry.shown())).collect())
    }

    /// Whatever is not in an answer that is asked for from now on comes as an event. The events end when the engine is lost.
    pub fn subscribe(&self) -> Result<broadcast::Receiver<Arc<TellableEvent>>, Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(phase.live()?.events.subscribe())
    }

    pub fn api_version(&self) -> Result<(u16, u16), Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(phase.live()?.api_version)
    }

    /// How many containers are shown; `None` while the engine is lost.
    pub fn len(&self) -> Option<usize> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        phase.live().ok().map(|live| live.containers.len())
    }

    pub fn subscribers(&self) -> usize {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        phase.live().map_or(0, |live| live.events.receiver_count())
    }

    // For who follows the engine.

    /// Begins with these containers; the answer is whether all found room.
    pub fn go_live(&self, api_version: (u16, u16), containers: Vec<(String, Answer)>) -> bool {
        let mut live = Live {
            containers: BTreeMap::new(),
            names: HashMap::new(),
            events: broadcast::channel(BACKLOG).0,
            api_version,
        };
        let (_, has_room) = live.apply(containers);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Phase::Live(live);
        has_room
    }

    /// All event streams end.
    pub fn go_down(&self, why: &str) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Phase::Down(why.into());
    }

    /// Takes in what the engine has answered, of each container what was shown before and what is now; and whether all found room.
    pub fn apply(&self, answers: Vec<(String, Answer)>) -> (HashMap<String, Change>, bool) {
        let mut phase = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *phase {
            Phase::Live(live) => live.apply(answers),
            Phase::Down(_) => (HashMap::new(), true),
        }
    }

    pub fn shown(&self, id: &str) -> Option<Arc<Shown>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = phase.live().ok()?.containers.get(id)?;
        Some(Arc::clone(entry.shown()))
    }

    /// Tells all who have subscribed.
    pub fn tell(&self, event: TellableEvent) {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Ok(live) = phase.live() {
            // Nobody may be listening.
            let _ = live.events.send(Arc::new(event));
        }
    }
}

/// What was shown of a container, and what is.
pub struct Change {
    pub before: Option<Arc<Shown>>,
    pub after: Option<Arc<Shown>>,
}

impl Change {
    /// What an event about it can be told with.
    pub fn shown(&self) -> Option<&Arc<Shown>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

impl Phase {
    fn live(&self) -> Result<&Live, Arc<str>> {
        match self {
            Self::Live(live) => Ok(live),
            Self::Down(why) => Err(Arc::clone(why)),
        }
    }
}

impl Live {
    fn apply(&mut self, answers: Vec<(String, Answer)>) -> (HashMap<String, Change>, bool) {
        let mut has_room = true;
        let mut changes = HashMap::new();
        for (id, answer) in answers {
            let before = self.remove(&id);
            let after = match answer {
                Answer::Shown(shown) if self.containers.len() < MAX_CONTAINERS => Some(Entry::Known(Arc::from(shown))),
                Answer::Shown(_) => {
                    has_room = false;
                    None
                }
                Answer::Gone => None,
                Answer::Nothing => before.clone().map(Entry::Unclear),
            };
            let shown = after.as_ref().map(|entry| Arc::clone(entry.shown()));
            if let Some(entry) = after {
                self.insert(&id, entry);
            }
            changes.insert(id, Change { before, after: shown });
        }
        (changes, has_room)
    }

    fn insert(&mut self, id: &str, entry: Entry) {
        let name = &entry.shown().name;
        if !name.is_empty() {
            self.names.insert(name.clone(), id.to_owned());
        }
        self.containers.insert(id.to_owned(), entry);
    }

    fn remove(&mut self, id: &str) -> Option<Arc<Shown>> {
        let entry = self.containers.remove(id)?;
        let shown = Arc::clone(entry.shown());
        // Another one may have got the name meanwhile.
        if self.names.get(&shown.name).is_some_and(|named| named == id) {
            self.names.remove(&shown.name);
        }
        Some(shown)
    }
}

impl Entry {
    fn shown(&self) -> &Arc<Shown> {
        match self {
            Self::Known(shown) | Self::Unclear(shown) => shown,
        }
    }
}
