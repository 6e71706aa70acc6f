//! A long poll on a directory: it returns when the containers that match a filter have changed.
//!
//! The caller passes a digest of the last listing that it got. The directory keeps nothing about its callers, and a caller misses
//! no change between two calls.

use std::future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, sleep_until, Instant};

use super::snapshot::{MAX_CONTAINERS, MAX_CONTAINER_SIZE};
use super::{Directory, Phase, Shared};
use crate::container::Container;
use crate::error::Error;
use crate::node_name::is_full_id;

/// Time between two lists if the engine refuses its events.
const POLL: Duration = Duration::from_secs(5);

/// While changes keep coming, a listing is computed at most for one part of the time in ten.
const PAUSE_FACTOR: u32 = 9;

/// A shorter pause is not worth its timer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// A condition on containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The container has this label. A directory does not keep all labels of a container with very long ones: see
    /// [`Container::labels`].
    Label {
        /// The key of the label.
        key: String,
        /// The value; `None` matches every value.
        value: Option<String>,
    },
    /// The container's name matches this pattern, in which `*` means any text.
    Name(String),
}

impl Filter {
    /// Returns `true` if the container meets the condition.
    pub fn matches(&self, container: &Container) -> bool {
        match self {
            Self::Label { key, value } => {
                let found = container.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Name(glob) => is_like(&container.name, glob),
        }
    }
}

/// The parts between the stars must follow each other. Each is matched at its first place, so the number of stars does not matter for the time.
fn is_like(text: &str, glob: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else {
        return text == glob;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = text.strip_prefix(start).and_then(|text| text.strip_suffix(end));
    let Some(mut inner) = inner else {
        return false;
    };
    for part in middle.split('*') {
        match inner.find(part) {
            Some(at) => inner = &inner[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The answer to a long poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// These containers run and match the filter.
    Changed {
        /// Equal for equal containers with equal names and nodes; never 0.
        digest: u64,
        /// Ordered by their IDs.
        containers: Vec<Arc<Container>>,
    },
    /// The engine can't be asked at the moment. The last listing may still be true.
    Failed {
        /// Equal for equal errors; never 0.
        digest: u64,
        /// The reason.
        error: Error,
    },
}

impl Listing {
    fn new(containers: Vec<Arc<Container>>) -> Self {
        let mut hasher = DefaultHasher::new();
        for container in &containers {
            (&container.id, &container.name, container.node()).hash(&mut hasher);
        }
        let digest = hasher.finish().max(1);
        Self::Changed { digest, containers }
    }

    fn failed(error: Error) -> Self {
        let mut hasher = DefaultHasher::new();
        (error.name(), error.detail()).hash(&mut hasher);
        // A proxy may send another page each time, so the message does not count.
        if let Error::Refused { status, .. } = error {
            status.hash(&mut hasher);
        }
        let digest = hasher.finish().max(1);
        Self::Failed { digest, error }
    }

    /// The number to pass to the next call of [`Directory::listing`].
    pub fn digest(&self) -> u64 {
        match self {
            Self::Changed { digest, .. } | Self::Failed { digest, .. } => *digest,
        }
    }
}

/// The last list from an engine that refuses its events, for all callers.
pub(super) struct Polled {
    at: Instant,
    containers: Result<Vec<Arc<Container>>, Error>,
}

impl Directory {
    /// Waits until the containers that match the filter differ from what the caller knows: `known` is the
    /// [`Listing::digest`] of the caller's last listing, or 0. This must run on a tokio runtime.
    ///
    /// It may wait for ever. It keeps the directory open meanwhile. The caller may cancel it at any time.
    ///
    /// A container is in the listing from the engine's first answer about it until the engine says that it does not run. While
    /// the engine is being asked again, its last state counts. A short gap in the events is not reported. If the engine
    /// refuses its events, or if its list is too large, this lists every five seconds.
    pub async fn listing(&self, filter: &Filter, known: u64) -> Listing {
        let shared = &self.shared;
        let _waiting = Waiting(shared);
        let mut status = shared.status.subscribe();
        self.open();
        // A caller that knows a listing and finds another one at once comes back in a burst of changes: pause then.
        let mut may_pause = known != 0;
        loop {
            let began = Instant::now();
            let phase = status.borrow_and_update().phase;
            let listing = match phase {
                Phase::Live => shared.matching(filter).map(Listing::new),
                Phase::Starting(_) | Phase::Connecting => shared.lasting_error().map(Listing::failed),
                Phase::Inspecting => {
                    tokio::select! {
                        listing = shared.poll(filter, known) => Some(listing),
                        _ = status.changed() => continue,
                    }
                }
                // Only a panic of the follower closes the directory under a waiting caller.
                Phase::Closed => {
                    let failed = Listing::failed(Error::abandoned());
                    if failed.digest() == known {
                        sleep(POLL).await;
                        self.open();
                        continue;
                    }
                    Some(failed)
                }
            };
            let pause = began.elapsed() * PAUSE_FACTOR;
            let must_pause = phase == Phase::Live && pause >= SHORTEST_PAUSE;
            match listing.filter(|listing| listing.digest() != known) {
                Some(_) if may_pause && must_pause => sleep(pause).await,
                Some(listing) => return listing,
                None => {
                    if must_pause {
                        sleep(pause).await;
                    }
                    if status.changed().await.is_err() {
                        // Not possible: the sender is part of this directory.
                        future::pending::<()>().await;
                    }
                }
            }
            may_pause = false;
        }
    }
}

impl Shared {
    /// `None` if the directory has just ceased to be live.
    fn matching(&self, filter: &Filter) -> Option<Vec<Arc<Container>>> {
        let view = self.view();
        view.live.then(|| view.snapshot.matching(filter))
    }

    /// Lists until the listing differs from `known`. One of the waiting callers lists for all.
    async fn poll(&self, filter: &Filter, known: u64) -> Listing {
        loop {
            let mut polled = self.polled.lock().await;
            let due = polled.as_ref().map(|polled| polled.at + POLL);
            if due.is_none_or(|due| due <= Instant::now()) {
                let containers = self.engine.list().await.map(running);
                let at = Instant::now();
                *polled = Some(Polled { at, containers });
            }
            let Some(Polled { at, containers }) = &*polled else {
                continue;
            };
            let listing = match containers {
                Ok(containers) => {
                    let matching = containers.iter().filter(|container| filter.matches(container));
                    Listing::new(matching.cloned().collect())
                }
                Err(error) => Listing::failed(error.clone()),
            };
            if listing.digest() != known {
                return listing;
            }
            let due = *at + POLL;
            drop(polled);
            sleep_until(due).await;
        }
    }
}

/// A caller waits for a change until this is dropped.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.asked(Instant::now());
    }
}

/// The running containers of a list, ordered by their IDs, without the fields that only lookups need.
pub(crate) fn running(list: Vec<Container>) -> Vec<Arc<Container>> {
    let is_kept = |container: &Container| container.running && is_full_id(&container.id);
    let mut running: Vec<Container> = list
        .into_iter()
        .filter(is_kept)
        .map(Container::without_addresses)
        .collect();
    running.iter_mut().for_each(Container::shrink_to_fit);
    running.retain(|container| container.size() <= MAX_CONTAINER_SIZE);
    running.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    running.dedup_by(|one, other| one.id == other.id);
    running.truncate(MAX_CONTAINERS);
    running.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
#[path = "../../tests/unit/filter.rs"]
mod tests;
