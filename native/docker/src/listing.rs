//! Telling those who wait for it that an engine's containers have become others: a long poll on a directory.
//!
//! Who asks says what it was told last, as a digest of it, and is answered when something else is true. So nothing has to be
//! kept of who is listening, and a listener misses nothing between two questions.

use std::future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, sleep_until, Instant};

use crate::directory::{Phase, Shared};
use crate::node_name::is_full_id;
use crate::{Container, Directory, Error, Filter, MAX_CONTAINERS, MAX_CONTAINER_SIZE};

/// So often the containers are listed where events can't be followed.
const POLL: Duration = Duration::from_secs(5);

/// Of the time in which changes come quickly one part is for telling of them, and so many are not.
const RESTS: u32 = 9;

/// A rest that is shorter is not taken.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// What is true of an engine's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// These are the running ones that were asked for.
    Changed {
        /// The same for the same containers with the same names and nodes; never 0.
        digest: u64,
        /// In the order of their IDs.
        containers: Vec<Arc<Container>>,
    },
    /// The engine can't be asked at the moment. Whatever was true before may still be.
    Failed {
        /// The same for the same error; never 0.
        digest: u64,
        error: Error,
    },
}

impl Listing {
    fn of(containers: Vec<Arc<Container>>) -> Self {
        let mut hasher = DefaultHasher::new();
        for container in &containers {
            (&container.id, &container.name, container.node()).hash(&mut hasher);
        }
        let digest = digest(&hasher);
        Self::Changed { digest, containers }
    }

    fn failed(error: Error) -> Self {
        let mut hasher = DefaultHasher::new();
        error.name().hash(&mut hasher);
        match &error {
            Error::Unreachable(detail) => detail.hash(&mut hasher),
            // A proxy's page may be another one each time.
            Error::Refused { status, .. } => status.hash(&mut hasher),
            _ => {}
        }
        let digest = digest(&hasher);
        Self::Failed { digest, error }
    }

    /// What to say to be told of anything else.
    pub fn digest(&self) -> u64 {
        match self {
            Self::Changed { digest, .. } | Self::Failed { digest, .. } => *digest,
        }
    }
}

fn digest(hasher: &DefaultHasher) -> u64 {
    hasher.finish().max(1)
}

/// The last list where events can't be followed, for all who wait.
pub(crate) struct Polled {
    at: Instant,
    containers: Result<Vec<Arc<Container>>, Error>,
}

impl Directory {
    /// Waits until something else is true of the containers that meet this condition than the caller knows: `known` is the
    /// [`Listing::digest`] of what it was told last, or 0. Has to run on a tokio runtime.
    ///
    /// It waits for ever if need be, keeps the directory open meanwhile, and may be cancelled at any time.
    ///
    /// A container is there once the engine has been asked about it, and as long as the engine says that it runs; while it is being asked
    /// about again, what it was before counts. A short gap in the events is not told of. Where the engine refuses its events,
    /// or its list is too large to be kept, it is listed every five seconds.
    pub async fn listing(&self, filter: &Filter, known: u64) -> Listing {
        let shared = &self.shared;
        let _waiting = shared.wait();
        self.open();
        let mut news = shared.news.subscribe();
        // Who knows something and is told at once comes back for more: there are changes all the time.
        let mut may_rest = known != 0;
        loop {
            news.borrow_and_update();
            let began = Instant::now();
            let phase = *shared.phase.borrow();
            let listing = match phase {
                Phase::Live => shared.matching(filter).map(Listing::of),
                Phase::Starting(_) | Phase::Connecting => shared.failure().map(Listing::failed),
                Phase::Inspecting => {
                    let changed = news.changed();
                    tokio::select! {
                        listing = shared.poll(filter, known) => Some(listing),
                        _ = changed => continue,
                    }
                }
                // Nothing else closes it while somebody waits.
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
            let rest = Some(began.elapsed() * RESTS).filter(|&rest| phase == Phase::Live && rest >= SHORTEST_REST);
            match (listing.filter(|listing| listing.digest() != known), rest) {
                (Some(_), Some(rest)) if may_rest => sleep(rest).await,
                (Some(listing), _) => return listing,
                (None, rest) => {
                    if let Some(rest) = rest {
                        sleep(rest).await;
                    }
                    if news.changed().await.is_err() {
                        // It can't be: the sender is part of this directory.
                        future::pending::<()>().await;
                    }
                }
            }
            may_rest = false;
        }
    }
}

impl Shared {
    /// `None` if the directory has just ceased to be live.
    fn matching(&self, filter: &Filter) -> Option<Vec<Arc<Container>>> {
        let view = self.view();
        view.live.then(|| view.snapshot.matching(filter))
    }

    /// Lists until there is something that is not known. Of many who wait one does it for all.
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
                    Listing::of(matching.cloned().collect())
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

    /// Somebody waits until this is dropped.
    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.asked(Instant::now());
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept of a list: the running containers in the order of their IDs, without what only lookups need.
pub(crate) fn running(list: Vec<Container>) -> Vec<Arc<Container>> {
    let mut running: Vec<Container> = list
        .into_iter()
        .filter(|container| container.running && is_full_id(&container.id))
        .map(|container| {
            let mut container = container.without_addresses();
            container.shrink_to_fit();
            container
        })
        .filter(|container| container.size() <= MAX_CONTAINER_SIZE)
        .collect();
    running.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    running.dedup_by(|one, other| one.id == other.id);
    running.truncate(MAX_CONTAINERS);
    running.into_iter().map(Arc::new).collect()
}
