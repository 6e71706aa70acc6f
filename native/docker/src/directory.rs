//! What is known of one engine's containers, ready to be read.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{timeout_at, Instant};

use crate::listing::Polled;
use crate::node_name::is_id;
use crate::route::{published, route, Bridge, Route};
use crate::snapshot::Snapshot;
use crate::stats::{Latency, Lookups};
use crate::watcher::Watcher;
use crate::{Container, ContainerRef, Endpoint, Engine, Error};

/// How long the first lookups wait for the first list, before each asks for its container alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// A directory that nobody has asked for so long closes.
const UNUSED: Duration = Duration::from_secs(60);

/// The containers of one engine: kept in memory and up to date by the engine's events from the first lookup on, until
/// nobody has asked for 60 s. Cloning is cheap, and clones are the same directory.
///
/// What is certain is read from memory: see [`Directory::known_route`]. About anything else the engine is asked:
/// a container that is not there, one that has just changed, and every container while the directory is not
/// [`State::Live`]. That something is wrong is only ever said by the engine itself.
///
/// For each running container it takes about 1 kB of memory, 2 kB with many labels, at most 4.5 kB, for 10,000 containers at
/// most.
#[derive(Clone)]
pub struct Directory {
    pub(crate) shared: Arc<Shared>,
}

/// What a directory does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It gets its list, for the first time or again after a gap in the events. Lookups ask the engine meanwhile.
    Connecting,
    /// It has the list and follows the events.
    Live,
    /// The engine, or a proxy before it, refuses the list or the events, or the list is too large: each lookup asks. It tries
    /// again once a minute.
    Inspecting,
    /// Nobody asks.
    Closed,
}

/// What somebody wants to know of a container.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The address of the container's host, as the container's node name has it.
    pub host: IpAddr,
    /// The port that nodes listen on in their containers.
    pub erlang_port: u16,
    /// Whether a bridge will do.
    pub bridge: Bridge,
}

/// Figures of a directory since it was made.
#[derive(Clone, Debug)]
pub struct Info {
    /// The address of the engine.
    pub endpoint: String,
    pub state: State,
    /// How many containers it knows; 0 unless it is live.
    pub containers: usize,
    /// How many events have told of a change.
    pub events: u64,
    /// How often it has listed all containers again after a gap.
    pub resyncs: u64,
    /// How many requests were made to the engine, those included that did not reach it.
    pub requests: u64,
    /// How many lookups ended how: `ok`, or the [`Error::name`].
    pub lookups: Vec<(&'static str, u64)>,
    /// How long they took.
    pub latency: Latency,
    /// Why it is not live, if it would be.
    pub error: Option<Error>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    /// The ID of the container that this process runs in.
    own: Option<ContainerRef>,
    /// This engine has said that it knows no such container.
    own_is_elsewhere: AtomicBool,
    view: RwLock<View>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Something has happened that those who wait for changes should look at.
    pub(crate) news: watch::Sender<()>,
    /// How many wait for changes.
    pub(crate) waiting: AtomicUsize,
    pub(crate) polled: tokio::sync::Mutex<Option<Polled>>,
    trouble: Mutex<Trouble>,
    /// Containers that could not be dialled, for the watcher to ask about.
    doubts: Mutex<Option<mpsc::UnboundedSender<String>>>,
    notice: Mutex<Notice>,
    pub(crate) events: AtomicU64,
    pub(crate) resyncs: AtomicU64,
    lookups: Lookups,
    made: Instant,
    /// When somebody last asked, in milliseconds after it was made.
    last_asked: AtomicU64,
}

/// What lookups read.
#[derive(Default)]
pub(crate) struct View {
    /// Nothing else may be read unless this is set.
    pub(crate) live: bool,
    pub(crate) snapshot: Snapshot,
}

/// Where the watcher is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    /// The first list is on its way since then.
    Starting(Instant),
    Connecting,
    Live,
    Inspecting,
}

/// Why the directory is not live.
#[derive(Default)]
struct Trouble {
    error: Option<Error>,
    /// It has lasted so long that it is no mere gap.
    lasts: bool,
}

/// Something that the user should be told once.
#[derive(Default)]
enum Notice {
    #[default]
    None,
    Due(Error),
    Told,
}

impl Directory {
    /// A directory that is closed until somebody asks. `own` is the container that this process runs in, if any: it
    /// makes the difference between a bridge and a published port.
    pub fn new(engine: Engine, own: Option<&str>) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                own: own.and_then(ContainerRef::from_id),
                own_is_elsewhere: AtomicBool::new(false),
                view: RwLock::default(),
                phase: watch::Sender::new(Phase::Closed),
                news: watch::Sender::default(),
                waiting: AtomicUsize::new(0),
                polled: tokio::sync::Mutex::default(),
                trouble: Mutex::default(),
                doubts: Mutex::default(),
                notice: Mutex::default(),
                events: AtomicU64::new(0),
                resyncs: AtomicU64::new(0),
                lookups: Lookups::new(),
                made: Instant::now(),
                last_asked: AtomicU64::new(0),
            }),
        }
    }

    /// The route to a container, if it is in memory under this text: its ID, the beginning of its ID, or its name. Takes
    /// well under a microsecond.
    pub fn known_route(&self, container: &str, wanted: &Wanted) -> Option<Route> {
        let began = Instant::now();
        // Whoever calls this must not wait: while a list is being taken over, it is not known.
        let view = self.shared.view.try_read().ok()?;
        let found = self.shared.read(&view, container, wanted)?;
        drop(view);
        self.shared.asked(began);
        self.shared.lookups.count(&Ok(()), began.elapsed());
        Some(found)
    }

    /// Finds the route to a container, from memory or by asking the engine. Has to run on a tokio runtime.
    ///
    /// Like [`Engine::inspect`] it should have a deadline of the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::inspect`] and [`route`].
    pub async fn route(&self, asked: &ContainerRef, wanted: &Wanted) -> Result<Route, Error> {
        let mut counted = Counted::begin(&self.shared);
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

    /// The running containers whose `erlang_port` is reached on `host`: the ID, and the port on the
    /// host. Has to run on a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::list`].
    pub async fn names(&self, host: IpAddr, erlang_port: u16) -> Result<Vec<(String, u16)>, Error> {
        self.open_and_wait().await;
        let containers = match self.shared.all() {
            Some(containers) => containers,
            None => self.shared.engine.list().await?.into_iter().map(Arc::new).collect(),
        };
        let name = |container: &Arc<Container>| {
            let to = published(&container.bindings, erlang_port, host).ok()?;
            is_id(&container.id).then(|| (container.id.clone(), to.port()))
        };
        Ok(containers.iter().filter_map(name).collect())
    }

    /// What is known of this container is wrong: it could not be dialled. The next lookup asks the engine, and shares no
    /// request that has been sent by now.
    pub fn doubt(&self, asked: &ContainerRef) {
        self.shared.engine.forget();
        let mut view = self.shared.write();
        if let Some(id) = view.snapshot.find(asked.as_str()).map(|container| container.id.clone()) {
            view.snapshot.invalidate(&id);
            if let Some(doubts) = &*lock(&self.shared.doubts) {
                // The watcher is ending; then nothing of this will be read again.
                let _ = doubts.send(id);
            }
        }
    }

    /// Once, if lookups have to ask because it is [`State::Inspecting`]: why.
    pub fn take_notice(&self) -> Option<Error> {
        let mut notice = lock(&self.shared.notice);
        match std::mem::replace(&mut *notice, Notice::Told) {
            Notice::Due(error) => Some(error),
            other => {
                *notice = other;
                None
            }
        }
    }

    /// How it is doing.
    pub fn info(&self) -> Info {
        let shared = &self.shared;
        let phase = *shared.phase.borrow();
        Info {
            endpoint: self.endpoint().to_string(),
            state: match phase {
                Phase::Closed => State::Closed,
                Phase::Starting(_) | Phase::Connecting => State::Connecting,
                Phase::Live => State::Live,
                Phase::Inspecting => State::Inspecting,
            },
            containers: shared.view().snapshot.len(),
            events: shared.events.load(Ordering::Relaxed),
            resyncs: shared.resyncs.load(Ordering::Relaxed),
            requests: shared.engine.requests(),
            lookups: shared.lookups.outcomes(),
            latency: shared.lookups.latency(),
            error: lock(&shared.trouble).error.clone(),
        }
    }

    /// The engine's address.
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.engine.endpoint()
    }

    /// When somebody last asked.
    pub(crate) fn last_asked(&self) -> Instant {
        self.shared.last_asked()
    }

    /// Whether both are the same directory.
    #[cfg(test)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Has the directory kept up to date from now on, and waits for its first list, but not for long.
    async fn open_and_wait(&self) {
        let mut phase = self.shared.phase.subscribe();
        self.open();
        let now = *phase.borrow_and_update();
        if let Phase::Starting(since) = now {
            let is_over = |phase: &Phase| !matches!(phase, Phase::Starting(_));
            let _ = timeout_at(since + PATIENCE, phase.wait_for(is_over)).await;
        }
    }

    /// Has the directory kept up to date from now on.
    pub(crate) fn open(&self) {
        let shared = &self.shared;
        shared.asked(Instant::now());
        // Under the lock of the phase, so that it is started once, and never while one closes.
        shared.phase.send_if_modified(|phase| {
            let is_closed = *phase == Phase::Closed;
            if is_closed {
                *phase = Phase::Starting(Instant::now());
                let (doubts, doubted) = mpsc::unbounded_channel();
                *lock(&shared.doubts) = Some(doubts);
                tokio::spawn(Watcher::new(Arc::clone(shared), doubted).run());
            }
            is_closed
        });
    }
}

impl Shared {
    /// What memory says. An error is left to the engine to say, and so is whether there is a bridge while nothing is
    /// certain of the container that this process runs in.
    fn read(&self, view: &View, container: &str, wanted: &Wanted) -> Option<Route> {
        if !view.live {
            return None;
        }
        let target = view.snapshot.find(container)?;
        let own = self.own.as_ref().map(ContainerRef::as_str);
        if own.is_some_and(|own| view.snapshot.is_unclear(own)) {
            return None;
        }
        let own = own.and_then(|own| view.snapshot.get(own));
        route(
            target,
            own.map(Arc::as_ref),
            wanted.erlang_port,
            wanted.host,
            wanted.bridge,
        )
        .ok()
    }

    fn all(&self) -> Option<Vec<Arc<Container>>> {
        let view = self.view();
        if view.live {
            view.snapshot.all()
        } else {
            None
        }
    }

    /// The container that this process runs in, if it is on the same engine as `target` and a bridge may be between.
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

    /// Somebody asks.
    pub(crate) fn asked(&self, now: Instant) {
        let millis = now.duration_since(self.made).as_millis();
        self.last_asked
            .store(millis.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Who waits for changes asks all the time.
    fn last_asked(&self) -> Instant {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return Instant::now();
        }
        self.made + Duration::from_millis(self.last_asked.load(Ordering::Relaxed))
    }

    /// When nobody will have asked for long enough, if nobody asks until then.
    pub(crate) fn unused_at(&self) -> Instant {
        self.last_asked() + UNUSED
    }

    /// Closes the directory if nobody has asked for long enough.
    pub(crate) fn close_if_unused(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let is_unused = self.unused_at() <= Instant::now();
            if is_unused {
                *phase = Phase::Closed;
                *self.write() = View::default();
                *lock(&self.doubts) = None;
                *lock(&self.trouble) = Trouble::default();
                // Nobody holds it who does not wait.
                if let Ok(mut polled) = self.polled.try_lock() {
                    *polled = None;
                }
            }
            is_unused
        })
    }

    /// Another engine may answer now.
    pub(crate) fn look_for_own_again(&self) {
        self.own_is_elsewhere.store(false, Ordering::Relaxed);
    }

    /// Lookups ask the engine from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut view = self.write();
        view.live = false;
        view.snapshot.clear();
        drop(view);
        self.phase.send_replace(phase);
        self.news.send_replace(());
    }

    /// Lookups read the snapshot from now on.
    pub(crate) fn go_live(&self) {
        self.write().live = true;
        *lock(&self.trouble) = Trouble::default();
        self.phase.send_replace(Phase::Live);
        self.news.send_replace(());
    }

    /// Why it will not be live, for a moment or, if it `lasts`, for longer. Before it enters another phase.
    pub(crate) fn fail(&self, error: Error, lasts: bool) {
        *lock(&self.trouble) = Trouble {
            error: Some(error),
            lasts,
        };
    }

    /// What keeps it from being live, unless that may be over in a moment.
    pub(crate) fn failure(&self) -> Option<Error> {
        let trouble = lock(&self.trouble);
        trouble.error.clone().filter(|_| trouble.lasts)
    }

    /// Changes what lookups read, and has those look at it who wait for a change.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut view = self.write();
        let before = view.snapshot.listed();
        let outcome = change(&mut view.snapshot);
        let is_other = view.snapshot.listed() != before;
        drop(view);
        if is_other {
            self.news.send_replace(());
        }
        outcome
    }

    /// Something to tell the user, if it has not been told before.
    pub(crate) fn give_notice(&self, error: Error) {
        let mut notice = lock(&self.notice);
        if matches!(*notice, Notice::None) {
            *notice = Notice::Due(error);
        }
    }

    // No code panics while it holds one of these locks, so what a poisoned one protects is whole.

    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lookup under way, which is counted as a timeout if nobody waits for its end.
struct Counted<'a> {
    shared: &'a Shared,
    began: Instant,
    ended: bool,
}

impl<'a> Counted<'a> {
    fn begin(shared: &'a Shared) -> Self {
        Self {
            shared,
            began: Instant::now(),
            ended: false,
        }
    }

    fn end<T>(&mut self, outcome: &Result<T, Error>) {
        self.ended = true;
        self.shared.lookups.count(outcome, self.began.elapsed());
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end::<()>(&Err(Error::Timeout));
        }
    }
}
