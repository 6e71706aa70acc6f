//! The public containers, for every request to read, and the events about their changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use eid_docker::MAX_CONTAINERS;
use tokio::sync::broadcast;

use super::container::PublicContainer;
use super::event::PublicEvent;

/// A client that lags this number of events behind is disconnected, and has to list again.
pub const BACKLOG: usize = 4096;

/// The containers of the engine. Requests read them, and `upstream` writes them.
pub struct Store(RwLock<Phase>);

enum Phase {
    Live(Live),
    /// The reason, for clients.
    Down(Arc<str>),
}

struct Live {
    containers: BTreeMap<String, Entry>,
    names: HashMap<String, String>,
    events: broadcast::Sender<Arc<PublicEvent>>,
    api_version: (u16, u16),
}

#[derive(Clone)]
enum Entry {
    Current(Arc<PublicContainer>),
    /// The engine does not answer about this container. This is the last known view.
    Stale(Arc<PublicContainer>),
}

/// Why no container was found.
#[derive(Debug, PartialEq)]
pub enum FindError {
    /// There is no such container, or it is hidden.
    NotFound,
    /// More than one ID has this prefix.
    Ambiguous,
    /// The engine does not answer about this container.
    Stale,
    /// The engine is down, for this reason.
    Down(Arc<str>),
}

/// The engine's answer about a container.
pub enum Update {
    /// The container is public.
    Public(Box<PublicContainer>),
    /// The container is gone or hidden.
    Gone,
    /// The engine failed to answer.
    Failed,
}

impl Store {
    /// Makes a store for an engine that has not been reached yet.
    pub fn new() -> Self {
        Self(RwLock::new(Phase::Down("the engine has not been reached yet".into())))
    }

    /// Finds a container by full ID, by name, or by a prefix of the ID, in this order, as engines do.
    pub fn find(&self, text: &str) -> Result<Arc<PublicContainer>, FindError> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let live = phase.live().map_err(FindError::Down)?;
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
                    (Some(_), Some(_)) => return Err(FindError::Ambiguous),
                    (None, _) => return Err(FindError::NotFound),
                }
            }
        };
        match entry {
            Entry::Current(container) => Ok(Arc::clone(container)),
            Entry::Stale(_) => Err(FindError::Stale),
        }
    }

    /// Returns all containers. A container that the engine does not answer about is included as it was.
    pub fn all(&self) -> Result<Vec<Arc<PublicContainer>>, Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entries = phase.live()?.containers.values();
        Ok(entries.map(|entry| Arc::clone(entry.container())).collect())
    }

    /// Subscribes to the events. A change that a later [`Store::all`] does not show will come as an event. The events end when
    /// the engine is lost.
    pub fn subscribe(&self) -> Result<broadcast::Receiver<Arc<PublicEvent>>, Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(phase.live()?.events.subscribe())
    }

    /// Returns the API version that is negotiated with the engine.
    pub fn api_version(&self) -> Result<(u16, u16), Arc<str>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(phase.live()?.api_version)
    }

    /// Returns the number of public containers, or `None` while the engine is lost.
    pub fn len(&self) -> Option<usize> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        phase.live().ok().map(|live| live.containers.len())
    }

    /// Returns the number of clients that follow the events.
    pub fn subscribers(&self) -> usize {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        phase.live().map_or(0, |live| live.events.receiver_count())
    }

    /// Starts with these containers. Returns whether all of them fit.
    pub fn go_live(&self, api_version: (u16, u16), containers: Vec<(String, Update)>) -> bool {
        let mut live = Live {
            containers: BTreeMap::new(),
            names: HashMap::new(),
            events: broadcast::channel(BACKLOG).0,
            api_version,
        };
        let has_room = containers
            .into_iter()
            .fold(true, |has_room, (id, update)| live.apply(&id, update).1 && has_room);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Phase::Live(live);
        has_room
    }

    /// Drops all containers and ends all event streams. `why` is for clients.
    pub fn go_down(&self, why: &str) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Phase::Down(why.into());
    }

    /// Applies an update. Returns the change, and whether the container fits.
    pub fn apply(&self, id: &str, update: Update) -> (ContainerChange, bool) {
        let mut phase = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *phase {
            Phase::Live(live) => live.apply(id, update),
            Phase::Down(_) => (ContainerChange::default(), true),
        }
    }

    /// Returns the container with this full ID.
    pub fn get(&self, id: &str) -> Option<Arc<PublicContainer>> {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = phase.live().ok()?.containers.get(id)?;
        Some(Arc::clone(entry.container()))
    }

    /// Sends an event to all subscribers.
    pub fn send(&self, event: PublicEvent) {
        let phase = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Ok(live) = phase.live() {
            // This fails if there are no subscribers.
            let _ = live.events.send(Arc::new(event));
        }
    }
}

/// The change of a container.
#[derive(Default)]
pub struct ContainerChange {
    /// The view before, if the container was public.
    pub before: Option<Arc<PublicContainer>>,
    /// The view now, if the container is public.
    pub after: Option<Arc<PublicContainer>>,
}

impl ContainerChange {
    /// Returns the view that an event about this change uses.
    pub fn latest(&self) -> Option<&Arc<PublicContainer>> {
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
    fn apply(&mut self, id: &str, update: Update) -> (ContainerChange, bool) {
        let mut has_room = true;
        let before = self.remove(id);
        let after = match update {
            Update::Public(container) if self.containers.len() < MAX_CONTAINERS => {
                Some(Entry::Current(Arc::from(container)))
            }
            Update::Public(_) => {
                has_room = false;
                None
            }
            Update::Gone => None,
            Update::Failed => before.clone().map(Entry::Stale),
        };
        let change = ContainerChange {
            before,
            after: after.as_ref().map(|entry| Arc::clone(entry.container())),
        };
        if let Some(entry) = after {
            self.insert(id, entry);
        }
        (change, has_room)
    }

    fn insert(&mut self, id: &str, entry: Entry) {
        let name = &entry.container().name;
        if !name.is_empty() {
            self.names.insert(name.clone(), id.to_owned());
        }
        self.containers.insert(id.to_owned(), entry);
    }

    fn remove(&mut self, id: &str) -> Option<Arc<PublicContainer>> {
        let entry = self.containers.remove(id)?;
        let container = Arc::clone(entry.container());
        // Another container may have taken the name meanwhile.
        if self.names.get(&container.name).is_some_and(|named| named == id) {
            self.names.remove(&container.name);
        }
        Some(container)
    }
}

impl Entry {
    fn container(&self) -> &Arc<PublicContainer> {
        match self {
            Self::Current(container) | Self::Stale(container) => container,
        }
    }
}
