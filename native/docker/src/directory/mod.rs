//! The containers of one engine, in memory and up to date.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{timeout_at, Instant};

pub(crate) mod listing;
pub(crate) mod registry;
pub(crate) mod snapshot;
pub(crate) mod stats;
mod updates;

use listing::Polled;
use snapshot::Snapshot;
use stats::{Counted, Latency, Stats};

use crate::api::endpoint::Endpoint;
use crate::api::Engine;
use crate::container::Container;
use crate::error::Error;
use crate::node_name::{is_id, ContainerRef};
use crate::route::{published, route, Bridge, Route};

/// Time that the first lookups wait for the first list, before each asks about its container alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time without a question after which a directory closes.
const UNUSED: Duration = Duration::from_secs(60);

/// The containers of one engine, kept up to date by the engine's events from the first lookup until no caller has asked for
/// 60 s. Clones are cheap and are the same directory.
///
/// [`Directory::known_route`] reads what is certain from memory. For everything else the directory asks the engine: about an
/// unknown container, about one that has just changed, and about every container while it is not [`State::Live`]. Every
/// error comes from the engine.
///
/// A running container takes about 1 kB of memory, at most 4.5 kB if it has many labels. A directory keeps at most 10,000.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

/// The state of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its list, for the first time or after a gap in the events. Lookups ask the engine.
    Connecting,
    /// It has the list and follows the events.
    Live,
    /// The engine, or a proxy before it, refuses the list or the events, or the list is too large. Lookups ask the engine. The
    /// directory tries again once a minute.
    Inspecting,
    /// No caller asks.
    Closed,
}

/// A question about a container.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The address of the container's host, from the node name.
    pub host: IpAddr,
    /// The distribution port in the container.
    pub erlang_port: u16,
    /// When to take a bridge.
    pub bridge: Bridge,
}

/// The figures of a directory since it was made.
#[derive(Clone, Debug)]
pub struct Info {
    /// The address of the engine.
    pub endpoint: String,
    /// Its state.
    pub state: State,
    /// The number of containers that it knows; 0 unless it is live.
    pub containers: usize,
    /// The number of events about a change.
    pub events: u64,
    /// The number of times that it started over after a gap in the events.
    pub resyncs: u64,
    /// The number of requests to the engine, including those that did not reach it.
    pub requests: u64,
    /// The number of lookups by their outcome: `ok`, or the [`Error::name`].
    pub lookups: Vec<(&'static str, u64)>,
    /// How long the lookups took.
    pub latency: Latency,
    /// The reason if it should be live and is not.
    pub error: Option<Error>,
}

struct Shared {
    engine: Engine,
    /// The ID of the container that this process runs in.
    own: Option<ContainerRef>,
    /// This engine has no such container.
    own_is_elsewhere: AtomicBool,
    view: RwLock<View>,
    /// Callers that wait for changes wake up at each modification.
    status: watch::Sender<Status>,
    polled: tokio::sync::Mutex<Option<Polled>>,
    stats: Stats,
    made: Instant,
    /// The time of the last question, in milliseconds after `made`.
    last_asked: AtomicU64,
}

/// The memory that lookups read.
#[derive(Default)]
struct View {
    /// Lookups may use the snapshot.
    live: bool,
    snapshot: Snapshot,
    /// Makes the follower ask about a container; `None` if there is no follower.
    asker: Option<mpsc::UnboundedSender<String>>,
}

struct Status {
    phase: Phase,
    /// The reason why it is not live.
    error: Option<Error>,
    /// It has not been live for longer than a gap.
    lasts: bool,
    notice: Notice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    /// The first list has been in progress since then.
    Starting(Instant),
    Connecting,
    Live,
    Inspecting,
}

/// A message to the user, which is due once.
enum Notice {
    None,
    Due(Error),
    Taken,
}

impl Directory {
    /// A directory that is closed until the first question. `own` is the full ID of the container that this process runs in,
    /// if any: it decides between a bridge and a published port.
    pub fn new(engine: Engine, own: Option<&str>) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                own: own.and_then(ContainerRef::from_id),
                own_is_elsewhere: AtomicBool::new(false),
                view: RwLock::default(),
                status: watch::Sender::new(Status {
                    phase: Phase::Closed,
                    error: None,
                    lasts: false,
                    notice: Notice::None,
                }),
                polled: tokio::sync::Mutex::default(),
                stats: Stats::new(),
                made: Instant::now(),
                last_asked: AtomicU64::new(0),
            }),
        }
    }

    /// The route to a container, if memory has it: by its ID, the beginning of its ID, or its name. This takes well under a
    /// microsecond.
    pub fn known_route(&self, container: &str, wanted: &Wanted) -> Option<Route> {
        let began = Instant::now();
        // This function must not wait for a list that is being taken over.
        let view = self.shared.view.try_read().ok()?;
        let found = self.shared.read(&view, container, wanted)?;
        drop(view);
        self.shared.asked(began);
        self.shared.stats.count(&Ok(()), began.elapsed());
        Some(found)
    }

    /// Finds the route to a container, from memory or by asking the engine. This must run on a tokio runtime.
    ///
    /// Like [`Engine::inspect`] it needs a deadline from the caller.
    ///
    /// # Errors
    ///
    /// As for [`Engine::inspect`] and [`route`].
    pub async fn route(&self, asked: &ContainerRef, wanted: &Wanted) -> Result<Route, Error> {
        let counted = Counted::begin(&self.shared.stats);
        let found = self.find(asked, wanted).await;
        counted.end(&found);
        found
    }

    async fn find(&self, asked: &ContainerRef, wanted: &Wanted) -> Result<Route, Error> {
        let shared = &self.shared;
        self.open_and_wait().await;
        let known = shared.read(&shared.view(), asked.as_str(), wanted);
        if let Some(found) = known {
            return Ok(found);
        }
        let target = shared.engine.inspect(asked).await?;
        let own = shared.own_beside(&target).await;
        route(&target, own.as_deref(), wanted.erlang_port, wanted.host, wanted.bridge)
    }

    /// The running containers whose distribution port is published for `host`: each full ID, and the port on the host. This
    /// must run on a tokio runtime.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn names(&self, host: IpAddr, erlang_port: u16) -> Result<Vec<(String, u16)>, Error> {
        self.open_and_wait().await;
        let known = {
            let view = self.shared.view();
            if view.live {
                view.snapshot.all()
            } else {
                None
            }
        };
        let containers = match known {
            Some(containers) => containers,
            None => self.shared.engine.list().await?.into_iter().map(Arc::new).collect(),
        };
        let name = |container: &Arc<Container>| {
            let to = published(&container.bindings, erlang_port, host).ok()?;
            is_id(&container.id).then(|| (container.id.clone(), to.port()))
        };
        Ok(containers.iter().filter_map(name).collect())
    }

    /// Reports that dialling this container failed, so memory is wrong about it. The next lookup asks the engine and does not
    /// share a request that has been sent by now.
    pub fn doubt(&self, asked: &ContainerRef) {
        self.shared.engine.forget();
        let mut view = self.shared.write();
        if let Some(id) = view.snapshot.find(asked.as_str()).map(|container| container.id.clone()) {
            view.snapshot.invalidate(&id);
            if let Some(asker) = &view.asker {
                // It fails if the follower ends, and then no lookup reads the snapshot again.
                let _ = asker.send(id);
            }
        }
    }

    /// Returns once why the directory is [`State::Inspecting`].
    pub fn take_notice(&self) -> Option<Error> {
        let mut taken = None;
        self.shared.status.send_if_modified(|status| {
            if let Notice::Due(error) = &status.notice {
                taken = Some(error.clone());
                status.notice = Notice::Taken;
            }
            false
        });
        taken
    }

    /// Its figures.
    pub fn info(&self) -> Info {
        let shared = &self.shared;
        let (phase, error) = {
            let status = shared.status.borrow();
            (status.phase, status.error.clone())
        };
        Info {
            endpoint: self.endpoint().to_string(),
            state: match phase {
                Phase::Closed => State::Closed,
                Phase::Starting(_) | Phase::Connecting => State::Connecting,
                Phase::Live => State::Live,
                Phase::Inspecting => State::Inspecting,
            },
            containers: shared.view().snapshot.len(),
            events: shared.stats.events.load(Ordering::Relaxed),
            resyncs: shared.stats.resyncs.load(Ordering::Relaxed),
            requests: shared.engine.requests(),
            lookups: shared.stats.outcomes(),
            latency: shared.stats.latency(),
            error,
        }
    }

    /// The engine's address.
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.engine.endpoint()
    }

    /// The time of the last question.
    fn last_asked(&self) -> Instant {
        self.shared.last_asked()
    }

    #[cfg(test)]
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Opens the directory, and waits a moment for its first list.
    async fn open_and_wait(&self) {
        let mut status = self.shared.status.subscribe();
        self.open();
        let phase = status.borrow_and_update().phase;
        if let Phase::Starting(since) = phase {
            let has_started = |status: &Status| !matches!(status.phase, Phase::Starting(_));
            let _ = timeout_at(since + PATIENCE, status.wait_for(has_started)).await;
        }
    }

    /// Has the directory kept up to date from now on.
    fn open(&self) {
        let shared = &self.shared;
        shared.asked(Instant::now());
        // Under the lock of the status, so that only one follower starts, and none while the directory closes.
        shared.status.send_if_modified(|status| {
            let is_closed = status.phase == Phase::Closed;
            if is_closed {
                status.phase = Phase::Starting(Instant::now());
                shared.keep_up_to_date(&mut shared.write());
            }
            is_closed
        });
    }
}

impl Shared {
    /// The route from memory. It leaves each error to the engine, and also the choice of a bridge while the state of the own
    /// container is not certain.
    fn read(&self, view: &View, container: &str, wanted: &Wanted) -> Option<Route> {
        if !view.live {
            return None;
        }
        let target = view.snapshot.find(container)?;
        let own = self.own.as_ref().map(ContainerRef::as_str);
        if own.is_some_and(|own| view.snapshot.is_unclear(own)) {
            return None;
        }
        let own = own.and_then(|own| view.snapshot.get(own)).map(Arc::as_ref);
        route(target, own, wanted.erlang_port, wanted.host, wanted.bridge).ok()
    }

    /// The container that this process runs in, if it is on the same engine as `target` and may share a bridge with it.
    async fn own_beside(&self, target: &Container) -> Option<Arc<Container>> {
        let own = self.own.as_ref()?;
        if target.id == own.as_str() {
            return Some(Arc::new(target.clone()));
        }
        if target.attachments.is_empty() || self.own_is_elsewhere.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(own) = self.view().snapshot.get(own.as_str()) {
            return Some(Arc::clone(own));
        }
        match self.engine.inspect(own).await {
            Ok(own) => Some(Arc::new(own)),
            Err(Error::NoSuchContainer) => {
                self.own_is_elsewhere.store(true, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }

    // No code panics while it holds the lock, so the view of a poisoned one is whole.

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}
