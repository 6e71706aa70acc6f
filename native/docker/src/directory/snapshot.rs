//! The containers of one engine as last seen, and which of them may be out of date.
//!
//! Answers arrive later than they were true. Each question to the engine therefore carries a mark, the number of changes by
//! then. The snapshot ignores an answer about a container that has changed since.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::listing::Filter;
use crate::container::{Container, Labels};
use crate::follower::ToAsk;
use crate::node_name::{is_full_id, is_id, is_reference};

/// Maximum number of containers that a directory keeps, more than a host runs. Each lookup of a further one asks the engine.
pub const MAX_CONTAINERS: usize = 10_000;

/// Maximum size of one container, in bytes, beside its index entries (about 400). A container with a hundred published ports
/// is larger: the directory keeps only its ID, name and labels, and each lookup of it asks the engine.
pub const MAX_CONTAINER_SIZE: usize = 4096;

/// Maximum number of containers to ask about after a list.
const MAX_TO_ASK: usize = 64;

/// A number of changes.
pub(crate) type Mark = u64;

#[derive(Default)]
pub(crate) struct Snapshot {
    containers: BTreeMap<Box<str>, Entry>,
    /// The IDs by name. A name has several IDs while it moves from one container to another and the engine has not answered
    /// about both yet.
    names: HashMap<Box<str>, Vec<Box<str>>>,
    now: Mark,
    /// The number of possible changes of what [`Snapshot::matching`] returns.
    listed: u64,
}

struct Entry {
    state: State,
    /// The last known name, the key in the index of names.
    name: Box<str>,
    /// The last change.
    changed: Mark,
}

enum State {
    Known(Arc<Container>),
    /// Only the engine knows. This is the last answer, or the container without its addresses if it is too large.
    Unknown(Option<Arc<Container>>),
    /// It does not run. The entry stays until the next list, so that a list in progress does not bring it back.
    Gone,
}

impl Snapshot {
    /// The container that `text` means, if that is certain: by full ID, then by name, then by the beginning of exactly one
    /// ID. Engines use the same order.
    pub(crate) fn find(&self, text: &str) -> Option<&Arc<Container>> {
        if is_full_id(text) {
            return self.get(text);
        }
        if let Some(ids) = self.names.get(text) {
            // Only the engine knows which of several has the name now.
            return if let [id] = &ids[..] { self.get(id) } else { None };
        }
        if !is_id(text) {
            return None;
        }
        let mut found = self
            .containers
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .take_while(|(id, _)| id.starts_with(text));
        match (found.next(), found.next()) {
            (Some((_, entry)), None) => entry.state.known(),
            _ => None,
        }
    }

    /// Returns `true` if only the engine knows the state of the container with this ID.
    pub(crate) fn is_unclear(&self, id: &str) -> bool {
        let entry = self.containers.get(id);
        entry.is_some_and(|entry| matches!(entry.state, State::Unknown(_)))
    }

    /// The container with this ID, if it is known and not out of date.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Container>> {
        self.containers.get(id)?.state.known()
    }

    /// The number of running containers, including those whose state only the engine knows.
    pub(crate) fn len(&self) -> usize {
        self.present().count()
    }

    /// All containers, or `None` if only the engine knows the state of one of them.
    pub(crate) fn all(&self) -> Option<Vec<Arc<Container>>> {
        self.present().map(|entry| entry.state.known().cloned()).collect()
    }

    /// The containers that match the filter, ordered by their IDs. While the engine is being asked about a container, its last
    /// state counts.
    pub(crate) fn matching(&self, filter: &Filter) -> Vec<Arc<Container>> {
        let last_seen = self.containers.values().filter_map(|entry| entry.state.last_seen());
        last_seen
            .filter(|container| filter.matches(container))
            .cloned()
            .collect()
    }

    /// While this number stays the same, [`Snapshot::matching`] returns the same.
    pub(crate) fn listed(&self) -> u64 {
        self.listed
    }

    fn present(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.containers.values();
        entries.filter(|entry| !matches!(entry.state, State::Gone))
    }

    /// The mark of a question that is sent now.
    pub(crate) fn mark(&self) -> Mark {
        self.now
    }

    /// This container has changed, and only the engine knows how.
    pub(crate) fn invalidate(&mut self, id: &str) {
        self.now += 1;
        let changed = self.now;
        if let Some(entry) = self.containers.get_mut(id) {
            entry.state = State::Unknown(entry.state.last_seen().cloned());
            entry.changed = changed;
        } else if self.containers.len() < MAX_CONTAINERS {
            self.insert_unnamed(id.into(), State::Unknown(None), changed);
        }
    }

    /// Takes an answer about the container with this ID; `None` if the engine has no such container. Ignores it if the
    /// container has changed since the question.
    pub(crate) fn refresh(&mut self, id: &str, mark: Mark, container: Option<Container>) {
        // Without an entry there was no room for it.
        let Some(entry) = self.containers.get(id).filter(|entry| entry.changed <= mark) else {
            return;
        };
        let (changed, before) = (entry.changed, entry.state.last_seen().cloned());
        self.forget(id);
        match container.filter(|container| container.running && container.id == id) {
            Some(container) => self.keep(container, changed),
            None => self.insert_unnamed(id.into(), State::Gone, changed),
        }
        let after = self.containers.get(id).and_then(|entry| entry.state.last_seen());
        if before.as_deref().map(filtered_fields) != after.map(|container| filtered_fields(container)) {
            self.listed += 1;
        }
    }

    /// Takes a list of all running containers. Returns the IDs of containers that the list says too little about, and of
    /// those that differ from the snapshot although no event mentioned them.
    pub(crate) fn replace(&mut self, mark: Mark, listed: Vec<Container>) -> ToAsk {
        let mut to_ask = ToAsk::default();
        let mut old = std::mem::take(&mut self.containers);
        self.names.clear();
        self.listed += 1;
        for container in listed {
            // If it does not run, an inspect says more than the list.
            if !container.running || !is_full_id(&container.id) {
                continue;
            }
            match old.remove(container.id.as_str()) {
                Some(entry) if entry.changed > mark => self.put(container.id.into(), entry),
                Some(entry) if entry.state.known().is_some_and(|known| agrees_with(&container, known)) => {
                    self.put(container.id.into(), entry);
                }
                // The list has it twice. Only the engine knows which is right.
                None if self.containers.contains_key(container.id.as_str()) => {
                    self.forget(&container.id);
                    self.insert_unnamed(container.id.into(), State::Unknown(None), mark);
                }
                None if self.containers.len() + old.len() >= MAX_CONTAINERS => {}
                entry => {
                    if entry.is_none_or(|entry| entry.state.known().is_some()) {
                        to_ask.unexplained.push(container.id.clone());
                    }
                    if !container.is_reachable() && to_ask.ids.len() < MAX_TO_ASK {
                        to_ask.ids.push(container.id.clone());
                    }
                    self.keep(container, mark);
                }
            }
        }
        for (id, entry) in old {
            if entry.changed > mark {
                self.put(id, entry);
            } else if entry.state.known().is_some() {
                to_ask.unexplained.push(id.into());
            }
        }
        to_ask
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.now += 1;
        self.listed += 1;
        self.containers.clear();
        self.names.clear();
    }

    fn keep(&mut self, mut container: Container, changed: Mark) {
        if !container.running || !is_full_id(&container.id) || self.containers.len() >= MAX_CONTAINERS {
            return;
        }
        let id: Box<str> = container.id.as_str().into();
        container.shrink_to_fit();
        if container.size() > MAX_CONTAINER_SIZE {
            let sketch = Some(container.without_addresses()).filter(|sketch| sketch.size() <= MAX_CONTAINER_SIZE);
            self.insert_unnamed(id, State::Unknown(sketch.map(Arc::new)), changed);
        } else {
            let name = container.name.as_str().into();
            let state = State::Known(Arc::new(container));
            self.put(id, Entry { state, name, changed });
        }
    }

    fn put(&mut self, id: Box<str>, entry: Entry) {
        // No node name can contain any other name.
        if is_reference(&entry.name) {
            let ids = self.names.entry(entry.name.clone()).or_default();
            if ids.is_empty() {
                ids.reserve_exact(1);
            }
            ids.push(id.clone());
        }
        self.containers.insert(id, entry);
    }

    fn insert_unnamed(&mut self, id: Box<str>, state: State, changed: Mark) {
        let name = Box::default();
        self.containers.insert(id, Entry { state, name, changed });
    }

    fn forget(&mut self, id: &str) {
        let Some(entry) = self.containers.remove(id) else {
            return;
        };
        if let Some(ids) = self.names.get_mut(&entry.name) {
            ids.retain(|known| **known != *id);
            if ids.is_empty() {
                self.names.remove(&entry.name);
            }
        }
    }
}

/// Returns `true` if the list contains nothing new. A list may show nothing to dial and still be right, because Podman's lists
/// have no network mode.
fn agrees_with(listed: &Container, known: &Container) -> bool {
    let nothing = !listed.is_reachable() && (known.host_network || !known.is_reachable());
    listed.is_reached_like(known) || (nothing && listed.name == known.name)
}

/// The fields that a [`Filter`] looks at.
fn filtered_fields(container: &Container) -> (&str, &Labels) {
    (&container.name, &container.labels)
}

impl State {
    fn known(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Known(container) => Some(container),
            Self::Unknown(_) | Self::Gone => None,
        }
    }

    fn last_seen(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Known(container) => Some(container),
            Self::Unknown(last_seen) => last_seen.as_ref(),
            Self::Gone => None,
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/snapshot.rs"]
mod tests;
