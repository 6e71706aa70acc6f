//! What is known of an engine's running containers at a moment, and what of it may be out of date.
//!
//! Answers arrive later than they were true. So each question to the engine is marked with the moment at which it was
//! asked, and an answer about a container that has changed since is not taken.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::node_name::{is_full_id, is_id, is_reference};
use crate::{Container, Filter, Labels};

/// More containers than a host runs; those beyond are not kept, and each lookup of one asks the engine.
pub const MAX_CONTAINERS: usize = 10_000;

/// The most that is kept of one container, in bytes, beside its places in the indexes (about 400). One that publishes a
/// hundred ports has more; of it only ID, name and labels are kept, and each lookup of it asks the engine.
pub const MAX_CONTAINER_SIZE: usize = 4096;

/// After a list, so many containers are asked about one by one at most.
const MAX_UNCLEAR: usize = 64;

/// A moment: how many changes there had been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

#[derive(Default)]
pub(crate) struct Snapshot {
    containers: BTreeMap<Box<str>, Entry>,
    /// The IDs of the containers that were last seen with a name: one, or more while a name goes from one to another and
    /// the engine has not been asked about both yet.
    names: HashMap<Box<str>, Vec<Box<str>>>,
    now: Mark,
    /// How often what [`Snapshot::matching`] gives may have become something else.
    listed: u64,
}

struct Entry {
    state: State,
    /// The last known name, by which this may be found in the index of names.
    name: Box<str>,
    /// When it was last seen to change.
    changed: Mark,
}

enum State {
    Known(Arc<Container>),
    /// The engine has to be asked. This is what it last said, or which container it is if more would be too much to keep.
    Unknown(Option<Arc<Container>>),
    /// It does not run. This stays until the next list, so that a list that is under way does not bring it back.
    Gone,
}

/// What an answer about one container was good for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    Taken,
    /// It has changed while the answer was under way.
    OutOfDate,
}

/// What a list has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// The IDs of containers of which it told something that no event had told: one is still on its way, or lost.
    pub(crate) surprises: Vec<String>,
    /// The IDs of containers that it does not tell enough about.
    pub(crate) unclear: Vec<String>,
}

impl Snapshot {
    /// The container that `text` means, if that is certain: by full ID, by name, or by the beginning of just one ID, in
    /// this order, which is the engine's own.
    pub(crate) fn find(&self, text: &str) -> Option<&Arc<Container>> {
        if is_full_id(text) {
            return self.get(text);
        }
        if let Some(ids) = self.names.get(text) {
            // Whose it is now, the engine has to say.
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

    /// Whether the engine has to be asked about the container of this ID.
    pub(crate) fn is_unclear(&self, id: &str) -> bool {
        matches!(
            self.containers.get(id),
            Some(Entry {
                state: State::Unknown(_),
                ..
            })
        )
    }

    /// The container of this ID, if it is known and not out of date.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Container>> {
        self.containers.get(id)?.state.known()
    }

    /// How many containers there are, those included that the engine has to be asked about.
    pub(crate) fn len(&self) -> usize {
        self.present().count()
    }

    /// All containers, or `None` if the engine has to be asked about one.
    pub(crate) fn all(&self) -> Option<Vec<Arc<Container>>> {
        self.present().map(|entry| entry.state.known().cloned()).collect()
    }

    /// The containers that meet this condition, in the order of their IDs. One that the engine is being asked about counts as
    /// what it was before.
    pub(crate) fn matching(&self, filter: &Filter) -> Vec<Arc<Container>> {
        let last_seen = self.containers.values().filter_map(|entry| entry.state.last_seen());
        last_seen
            .filter(|container| filter.matches(container))
            .cloned()
            .collect()
    }

    /// While this number is the same, so is [`Snapshot::matching`].
    pub(crate) fn listed(&self) -> u64 {
        self.listed
    }

    fn present(&self) -> impl Iterator<Item = &Entry> {
        self.containers
            .values()
            .filter(|entry| !matches!(entry.state, State::Gone))
    }

    /// The mark of a question that is asked now.
    pub(crate) fn mark(&self) -> Mark {
        self.now
    }

    /// This container has changed, in a way that only the engine knows.
    pub(crate) fn invalidate(&mut self, id: &str) {
        self.now.0 += 1;
        let changed = self.now;
        if let Some(entry) = self.containers.get_mut(id) {
            entry.state = State::Unknown(entry.state.last_seen().cloned());
            entry.changed = changed;
        } else if self.containers.len() < MAX_CONTAINERS {
            self.containers
                .insert(id.into(), Entry::new(State::Unknown(None), changed));
        }
    }

    /// Takes what the engine answered, when it was asked at `mark`, about the container of this ID: `None` if it has none.
    pub(crate) fn refresh(&mut self, id: &str, mark: Mark, container: Option<Container>) -> Refreshed {
        let (changed, before) = match self.containers.get(id) {
            Some(entry) if entry.changed > mark => return Refreshed::OutOfDate,
            Some(entry) => (entry.changed, entry.state.last_seen().cloned()),
            // There was no room for it.
            None => return Refreshed::Taken,
        };
        self.forget(id);
        match container.filter(|container| container.running && container.id == id) {
            Some(container) => self.keep(container, changed),
            None => {
                self.containers.insert(id.into(), Entry::new(State::Gone, changed));
            }
        }
        let after = self.containers.get(id).and_then(|entry| entry.state.last_seen());
        if before.as_deref().map(looks) != after.map(|container| looks(container)) {
            self.listed += 1;
        }
        Refreshed::Taken
    }

    /// Takes a list of all running containers, asked for at `mark`.
    pub(crate) fn replace(&mut self, mark: Mark, listed: Vec<Container>) -> Replaced {
        let mut surprises = Vec::new();
        let mut unclear = Vec::new();
        let mut old = std::mem::take(&mut self.containers);
        self.names.clear();
        self.listed += 1;
        for container in listed {
            // Not running: what is up with it, the engine will say when it is asked.
            if !container.running || !is_full_id(&container.id) {
                continue;
            }
            match old.remove(container.id.as_str()) {
                Some(entry) if entry.changed > mark => self.put(container.id.into(), entry),
                Some(entry) if entry.state.known().is_some_and(|known| says_as_much(&container, known)) => {
                    self.put(container.id.into(), entry);
                }
                // The engine has told of it twice, and who knows which is right.
                None if self.containers.contains_key(container.id.as_str()) => {
                    self.forget(&container.id);
                    self.containers
                        .insert(container.id.into(), Entry::new(State::Unknown(None), mark));
                }
                None if self.containers.len() + old.len() >= MAX_CONTAINERS => {}
                entry => {
                    if entry.is_none_or(|entry| entry.state.known().is_some()) {
                        surprises.push(container.id.clone());
                    }
                    if !container.is_reachable() && unclear.len() < MAX_UNCLEAR {
                        unclear.push(container.id.clone());
                    }
                    self.keep(container, mark);
                }
            }
        }
        for (id, entry) in old {
            if entry.changed > mark {
                self.put(id, entry);
            } else if entry.state.known().is_some() {
                surprises.push(id.into());
            }
        }
        Replaced { surprises, unclear }
    }

    /// Nothing is known any more.
    pub(crate) fn clear(&mut self) {
        self.now.0 += 1;
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
            self.containers
                .insert(id, Entry::new(State::Unknown(sketch.map(Arc::new)), changed));
        } else {
            let name = container.name.as_str().into();
            let state = State::Known(Arc::new(container));
            self.put(id, Entry { state, name, changed });
        }
    }

    fn put(&mut self, id: Box<str>, entry: Entry) {
        // Other names nobody can ask for.
        if is_reference(&entry.name) {
            let ids = self.names.entry(entry.name.clone()).or_default();
            if ids.is_empty() {
                ids.reserve_exact(1);
            }
            ids.push(id.clone());
        }
        self.containers.insert(id, entry);
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

/// Whether the list tells nothing else than is known. It may show nothing to dial and still be right, because Podman's
/// has no network mode.
fn says_as_much(listed: &Container, known: &Container) -> bool {
    let nothing = !listed.is_reachable() && (known.host_network || !known.is_reachable());
    listed.is_reached_like(known) || (nothing && listed.name == known.name)
}

/// What conditions are about.
fn looks(container: &Container) -> (&str, &Labels) {
    (&container.name, &container.labels)
}

impl Entry {
    fn new(state: State, changed: Mark) -> Self {
        Self {
            state,
            name: Box::default(),
            changed,
        }
    }
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
mod tests {
    use super::*;
    use crate::Binding;

    fn binding(host_port: u16) -> Binding {
        Binding {
            host_ip: None,
            host_port,
            container_port: 12345,
            tcp: true,
        }
    }

    fn id(start: &str) -> String {
        start.to_owned() + &"0".repeat(64 - start.len())
    }

    fn container(start: &str, name: &str) -> Container {
        Container {
            id: id(start),
            name: name.to_owned(),
            running: true,
            bindings: vec![binding(1)],
            ..Container::default()
        }
    }

    fn find(snapshot: &Snapshot, text: &str) -> Option<String> {
        snapshot.find(text).map(|container| container.id.clone())
    }

    fn listed(containers: Vec<Container>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.replace(Mark::default(), containers);
        snapshot
    }

    #[test]
    fn by_id_by_name_and_by_prefix() {
        let snapshot = listed(vec![
            container("aaaaaaaaaaaa1", "db"),
            container("aaaaaaaaaaaa2", "web"),
            container("bbbbbbbbbbbb", "aaaaaaaaaaaa1"),
        ]);
        let a1 = id("aaaaaaaaaaaa1");
        assert_eq!(find(&snapshot, &a1), Some(a1.clone()));
        assert_eq!(find(&snapshot, "db"), Some(a1.clone()));
        assert_eq!(find(&snapshot, &a1[..20]), Some(a1));
        // a name comes before a prefix
        assert_eq!(find(&snapshot, "aaaaaaaaaaaa1"), Some(id("bbbbbbbbbbbb")));
        assert_eq!(find(&snapshot, "bbbbbbbbbbbb"), Some(id("bbbbbbbbbbbb")));
        for unclear in ["aaaaaaaaaaaa", "bbbbbbbbbbb", "cccccccccccc", "d", "DB"] {
            assert_eq!(find(&snapshot, unclear), None, "{unclear}");
        }
    }

    #[test]
    fn an_event_invalidates_until_an_answer_that_was_asked_for_later() {
        let mut snapshot = listed(vec![container("aaaaaaaaaaaa", "db")]);
        let a = id("aaaaaaaaaaaa");
        let before = snapshot.mark();
        snapshot.invalidate(&a);
        assert_eq!((find(&snapshot, &a), find(&snapshot, "db")), (None, None));
        assert_eq!((snapshot.len(), snapshot.all()), (1, None));
        let answer = || Some(container("aaaaaaaaaaaa", "store"));
        assert_eq!(snapshot.refresh(&a, before, answer()), Refreshed::OutOfDate);
        assert!(snapshot
            .replace(before, vec![container("aaaaaaaaaaaa", "db")])
            .surprises
            .is_empty());
        assert_eq!(find(&snapshot, "db"), None);
        assert_eq!(snapshot.refresh(&a, snapshot.mark(), answer()), Refreshed::Taken);
        assert_eq!((find(&snapshot, "store"), find(&snapshot, "db")), (Some(a), None));
        assert_eq!(snapshot.names.len(), 1);
    }

    #[test]
    fn while_the_engine_is_asked_what_was_before_matches() {
        let all = Filter::Name("*".to_owned());
        let names =
            |snapshot: &Snapshot| -> Vec<String> { snapshot.matching(&all).iter().map(|it| it.name.clone()).collect() };
        let a = id("aaaaaaaaaaaa");
        let mut snapshot = listed(vec![container("aaaaaaaaaaaa", "db")]);
        let mark = snapshot.mark();
        let before = snapshot.listed();
        // one that changes, one that is new, and an answer from before
        snapshot.invalidate(&a);
        snapshot.invalidate(&a);
        snapshot.invalidate(&id("bbbbbbbbbbbb"));
        snapshot.refresh(&a, mark, None);
        assert_eq!(names(&snapshot), ["db"]);
        // the same, reached in another way
        let moved = Container {
            bindings: vec![binding(2)],
            ..container("aaaaaaaaaaaa", "db")
        };
        snapshot.refresh(&a, snapshot.mark(), Some(moved));
        assert_eq!((names(&snapshot), snapshot.listed()), (vec!["db".to_owned()], before));
        snapshot.refresh(
            &id("bbbbbbbbbbbb"),
            snapshot.mark(),
            Some(container("bbbbbbbbbbbb", "web")),
        );
        assert_eq!((names(&snapshot).len(), snapshot.listed()), (2, before + 1));
        // a list from before that knows the new one does not bring back its former name
        snapshot.invalidate(&a);
        snapshot.refresh(&a, snapshot.mark(), Some(container("aaaaaaaaaaaa", "store")));
        snapshot.replace(mark, vec![container("aaaaaaaaaaaa", "db")]);
        assert_eq!(names(&snapshot), ["store", "web"]);
        // gone, and back again
        snapshot.invalidate(&a);
        snapshot.refresh(&a, snapshot.mark(), None);
        assert_eq!(names(&snapshot), ["web"]);
        snapshot.invalidate(&a);
        assert_eq!(names(&snapshot), ["web"]);
        snapshot.clear();
        assert!(names(&snapshot).is_empty());
    }

    #[test]
    fn labels_are_no_surprise() {
        let labelled = Container {
            labels: [("eid.node", "db@h")].into_iter().collect(),
            ..container("aaaaaaaaaaaa", "db")
        };
        let mut snapshot = listed(vec![labelled]);
        let again = snapshot.replace(snapshot.mark(), vec![container("aaaaaaaaaaaa", "db")]);
        assert_eq!(again, Replaced::default());
        assert_eq!(
            snapshot.matching(&Filter::Name("db".to_owned()))[0].node(),
            Some("db@h")
        );
    }

    #[test]
    fn containers_come_and_go() {
        let mut snapshot = Snapshot::default();
        let a = id("aaaaaaaaaaaa");
        // one that starts
        snapshot.invalidate(&a);
        snapshot.refresh(&a, snapshot.mark(), Some(container("aaaaaaaaaaaa", "db")));
        assert_eq!(find(&snapshot, "db"), Some(a.clone()));
        // and ends
        snapshot.invalidate(&a);
        let ended = Container {
            running: false,
            ..container("aaaaaaaaaaaa", "db")
        };
        snapshot.refresh(&a, snapshot.mark(), Some(ended));
        assert_eq!((snapshot.len(), snapshot.names.len()), (0, 0));
        // is gone when it is asked about
        snapshot.invalidate(&a);
        snapshot.refresh(&a, snapshot.mark(), None);
        assert_eq!(snapshot.len(), 0);
        // another one answers
        snapshot.invalidate(&a);
        snapshot.refresh(&a, snapshot.mark(), Some(container("bbbbbbbbbbbb", &a)));
        assert_eq!((snapshot.len(), snapshot.all()), (0, Some(vec![])));
        // what is gone leaves nothing, once there is a list
        assert!(snapshot.replace(snapshot.mark(), vec![]).surprises.is_empty());
        assert!(snapshot.containers.is_empty() && snapshot.names.is_empty());
    }

    #[test]
    fn a_name_that_goes_from_one_container_to_another() {
        let (blue, green) = (container("aaaaaaaaaaaa", "blue"), container("bbbbbbbbbbbb", "green"));
        let named = |container: &Container, name: &str| {
            let name = name.to_owned();
            Some(Container {
                name,
                ..container.clone()
            })
        };
        let after = [named(&blue, "green"), named(&green, "blue")];
        // The engine is asked about both, and answers in any order.
        for order in [[0, 1], [1, 0]] {
            let mut snapshot = listed(vec![blue.clone(), green.clone()]);
            snapshot.invalidate(&blue.id);
            snapshot.invalidate(&green.id);
            for (answered, which) in order.into_iter().enumerate() {
                assert_eq!(
                    (find(&snapshot, "blue"), find(&snapshot, "green")),
                    (None, None),
                    "{answered}"
                );
                let answer = after[which].clone();
                let id = answer.as_ref().map(|container| container.id.clone()).unwrap();
                snapshot.refresh(&id, snapshot.mark(), answer);
            }
            assert_eq!(find(&snapshot, "blue"), Some(green.id.clone()));
            assert_eq!(find(&snapshot, "green"), Some(blue.id.clone()));
            // One is replaced, and the new one is known before the old one is known to be gone.
            let new = container("cccccccccccc", "blue");
            snapshot.invalidate(&green.id);
            snapshot.invalidate(&new.id);
            snapshot.refresh(&new.id, snapshot.mark(), Some(new.clone()));
            assert_eq!(
                (find(&snapshot, "blue"), find(&snapshot, &new.id)),
                (None, Some(new.id.clone()))
            );
            snapshot.refresh(&green.id, snapshot.mark(), None);
            assert_eq!(find(&snapshot, "blue"), Some(new.id));
            assert_eq!(snapshot.names.len(), 2);
        }
    }

    #[test]
    fn a_list_does_not_overrule_what_came_after_it_was_asked_for() {
        let a = container("aaaaaaaaaaaa", "db");
        let mut snapshot = listed(vec![a.clone()]);
        let mark = snapshot.mark();
        snapshot.invalidate(&id("cccccccccccc"));
        snapshot.invalidate(&a.id);
        snapshot.refresh(&a.id, snapshot.mark(), None);
        assert!(snapshot.replace(mark, vec![a.clone()]).surprises.is_empty());
        assert_eq!((snapshot.len(), find(&snapshot, "db")), (1, None));
    }

    #[test]
    fn a_list_that_surprises() {
        let (a, b) = (container("aaaaaaaaaaaa", "db"), container("bbbbbbbbbbbb", "web"));
        let mut snapshot = listed(vec![a.clone(), b.clone()]);
        let replace = |snapshot: &mut Snapshot, list| !snapshot.replace(snapshot.mark(), list).surprises.is_empty();
        assert!(!replace(&mut snapshot, vec![b.clone(), a.clone()]));
        // missing, new, changed
        assert!(replace(&mut snapshot, vec![a.clone()]));
        assert_eq!((find(&snapshot, "web"), snapshot.len()), (None, 1));
        assert!(replace(&mut snapshot, vec![a.clone(), b]));
        assert!(replace(
            &mut snapshot,
            vec![a.clone(), container("bbbbbbbbbbbb", "shop")]
        ));
        // what an event has told is none
        snapshot.invalidate(&id("bbbbbbbbbbbb"));
        assert!(!replace(&mut snapshot, vec![a.clone()]));
    }

    fn replaced(surprises: &[&Container], unclear: &[&Container]) -> Replaced {
        let ids = |containers: &[&Container]| containers.iter().map(|it| it.id.clone()).collect();
        Replaced {
            surprises: ids(surprises),
            unclear: ids(unclear),
        }
    }

    #[test]
    fn a_list_that_does_not_tell_the_network_mode() {
        let a = Container {
            bindings: vec![],
            ..container("aaaaaaaaaaaa", "db")
        };
        let on_host = Container {
            host_network: true,
            ..a.clone()
        };
        let mut snapshot = Snapshot::default();
        let replace = |snapshot: &mut Snapshot, list| snapshot.replace(snapshot.mark(), list);
        assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[&a], &[&a]));
        snapshot.invalidate(&a.id);
        snapshot.refresh(&a.id, snapshot.mark(), Some(on_host));
        assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[], &[]));
        assert!(snapshot.get(&a.id).unwrap().host_network);
        // but one that has lost what it had
        snapshot.invalidate(&a.id);
        snapshot.refresh(&a.id, snapshot.mark(), Some(container("aaaaaaaaaaaa", "db")));
        assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[&a], &[&a]));
    }

    #[test]
    fn what_an_engine_should_not_say() {
        let other_port = Container {
            bindings: vec![binding(2)],
            ..container("aaaaaaaaaaaa", "db")
        };
        let mut snapshot = listed(vec![
            container("aaaaaaaaaaaa", "db"),
            other_port,
            container("bbbbbbbbbbbb", "web"),
            container("cccccccccccc", "web"),
            container("dddddddddddd", "web"),
            container("eeeeeeeeeeee", ""),
            Container {
                id: "../x".to_owned(),
                ..container("f", "odd")
            },
            Container {
                running: false,
                ..container("aabbaabbaabb", "still")
            },
        ]);
        for unclear in [&id("aaaaaaaaaaaa"), "db", "web", "odd", "still"] {
            assert_eq!(find(&snapshot, unclear), None, "{unclear}");
        }
        assert_eq!(find(&snapshot, "cccccccccccc"), Some(id("cccccccccccc")));
        assert_eq!(snapshot.len(), 5);
        snapshot.replace(snapshot.mark(), vec![]);
        assert!(snapshot.containers.is_empty() && snapshot.names.is_empty());
    }

    #[test]
    fn what_is_told_twice_is_no_surprise_the_next_time() {
        let twice = || vec![container("aaaaaaaaaaaa", "db"), container("aaaaaaaaaaaa", "store")];
        let mut snapshot = listed(twice());
        assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
        assert_eq!(snapshot.replace(snapshot.mark(), twice()), Replaced::default());
        assert!(snapshot.names.is_empty());
    }

    #[test]
    fn names_that_no_container_can_have_are_not_found() {
        let snapshot = listed(vec![
            container("aaaaaaaaaaaa", "my.service.name"),
            container("bbbbbbbbbbbb", "a b"),
        ]);
        assert_eq!(find(&snapshot, "my.service.name"), Some(id("aaaaaaaaaaaa")));
        assert_eq!(find(&snapshot, "a b"), None);
        assert_eq!(find(&snapshot, "bbbbbbbbbbbb"), Some(id("bbbbbbbbbbbb")));
    }

    #[test]
    fn the_bounds() {
        let many = |n: usize| {
            (0..n)
                .map(|i| container(&format!("{i:012x}"), &format!("c{i}")))
                .collect()
        };
        let mut snapshot = listed(many(MAX_CONTAINERS + 10));
        assert_eq!(snapshot.len(), MAX_CONTAINERS);
        // Those beyond are no news the next time, in whatever order they come.
        let mut list: Vec<Container> = many(MAX_CONTAINERS + 10);
        list.reverse();
        assert_eq!(snapshot.replace(snapshot.mark(), list), Replaced::default());
        assert_eq!(snapshot.len(), MAX_CONTAINERS);
        snapshot.invalidate(&id("ffffffffffff"));
        assert_eq!(snapshot.len(), MAX_CONTAINERS);
        let large = Container {
            name: "x".repeat(MAX_CONTAINER_SIZE),
            ..container("aaaaaaaaaaaa", "")
        };
        let snapshot = listed(vec![large]);
        assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
        let all = Filter::Name("*".to_owned());
        assert!(snapshot.matching(&all).is_empty());
        // Which container it is fits more often than how it is reached.
        let published = Container {
            bindings: (1..1000).map(binding).collect(),
            ..container("aaaaaaaaaaaa", "db")
        };
        let snapshot = listed(vec![published]);
        assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
        assert!(snapshot.matching(&all)[0].size() < 500);
    }
}
