//! Keeps a directory up to date while callers ask: the directory's [`Sink`] for the follower.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep_until, Instant};

use super::snapshot::Snapshot;
use super::{Notice, Phase, Shared, View, UNUSED};
use crate::api::events::ContainerEvent;
use crate::api::{Engine, ListScope};
use crate::container::Container;
use crate::error::Error;
use crate::follower::{Asking, Follower, Lost, NextStep, Retry, Sink, ToAsk};
use crate::node_name::ContainerRef;

/// A shorter interruption is a gap. The directory does not report it to callers that wait for changes.
const GAP: Duration = Duration::from_secs(1);

/// Time after a refusal until the directory tries again to follow the events.
const REFUSED: Duration = Duration::from_secs(60);

pub(super) struct Updates {
    shared: Arc<Shared>,
    last_live: Option<Instant>,
}

impl Shared {
    /// Starts a task that keeps the directory up to date until no caller has asked for a minute.
    pub(super) fn keep_up_to_date(self: &Arc<Self>, view: &mut View) {
        let shared = Arc::clone(self);
        let last_live = None;
        let follower = Follower::new(Updates { shared, last_live });
        view.asker = Some(follower.asker());
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                // After a panic the next lookup starts anew.
                error = follower.run() => shared.leave(Phase::Closed, Some(error), false),
                () = shared.until_unused() => {}
            }
        });
    }

    /// Waits until the directory has closed because no caller asked.
    async fn until_unused(&self) {
        while !self.close_if_unused() {
            sleep_until(self.unused_at()).await;
        }
    }
}

impl Sink for Updates {
    type Listed = Container;
    type Inspected = Container;
    type Event = ContainerEvent;

    /// A list answers about all containers of the queue. After that many changes the engine may also have skipped events.
    const MAX_QUEUE: usize = 256;

    fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    fn list(&self) -> Asking<Vec<Container>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.engine.list().await })
    }

    fn inspect(&self, id: ContainerRef) -> Asking<Container> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.engine.inspect(&id).await })
    }

    fn mark(&self) -> u64 {
        self.shared.view().snapshot.mark()
    }

    fn event(&mut self, event: ContainerEvent) -> Result<Option<String>, Error> {
        let changed = event.changed(ListScope::Running)?;
        if let Some(id) = &changed {
            self.shared.stats.events.fetch_add(1, Ordering::Relaxed);
            self.shared.write().snapshot.invalidate(id);
            // Answers that are on their way may be older than the change.
            self.shared.engine.forget();
        }
        Ok(changed)
    }

    fn listed(&mut self, mark: u64, list: Vec<Container>) -> ToAsk {
        let to_ask = self.shared.change(|snapshot| snapshot.replace(mark, list));
        if self.shared.status.borrow().phase != Phase::Live {
            self.shared.go_live();
        }
        to_ask
    }

    fn changed(&mut self, mark: u64, id: &str, answer: Result<Option<Container>, Error>) -> NextStep {
        match answer {
            Ok(container) => {
                self.shared.change(|snapshot| snapshot.refresh(id, mark, container));
                NextStep::Follow
            }
            Err(_) => NextStep::List,
        }
    }

    fn lost(&mut self, lost: &Lost) -> Retry {
        let error = lost.error().clone();
        if lost.is_refusal() {
            self.last_live = None;
            self.shared.leave(Phase::Inspecting, Some(error), true);
            return Retry::After(REFUSED);
        }
        if self.shared.status.borrow().phase == Phase::Live {
            self.last_live = Some(Instant::now());
        }
        let is_gap = self.last_live.is_some_and(|at| at.elapsed() < GAP);
        self.shared.leave(Phase::Connecting, Some(error), !is_gap);
        Retry::Soon
    }

    fn resync(&mut self) {
        self.shared.stats.resyncs.fetch_add(1, Ordering::Relaxed);
        // Another engine may answer now.
        self.shared.own_is_elsewhere.store(false, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn asked(&self, now: Instant) {
        let millis = now.duration_since(self.made).as_millis();
        let millis = millis.try_into().unwrap_or(u64::MAX);
        self.last_asked.store(millis, Ordering::Relaxed);
    }

    /// A caller that waits for changes asks continuously.
    pub(super) fn last_asked(&self) -> Instant {
        match self.status.receiver_count() {
            0 => self.made + Duration::from_millis(self.last_asked.load(Ordering::Relaxed)),
            _ => Instant::now(),
        }
    }

    /// The time at which the directory closes if no caller asks until then.
    fn unused_at(&self) -> Instant {
        self.last_asked() + UNUSED
    }

    /// The reason why it is not live, unless that may be over in a moment.
    pub(super) fn lasting_error(&self) -> Option<Error> {
        let status = self.status.borrow();
        status.error.clone().filter(|_| status.lasts)
    }

    /// Changes the snapshot, and wakes the callers that wait for a change.
    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut view = self.write();
        let before = view.snapshot.listed();
        let outcome = change(&mut view.snapshot);
        let has_changed = view.snapshot.listed() != before;
        drop(view);
        if has_changed {
            self.status.send_modify(|_| ());
        }
        outcome
    }

    /// Closes the directory if no caller has asked for long enough.
    fn close_if_unused(&self) -> bool {
        self.status.send_if_modified(|status| {
            let is_unused = self.unused_at() <= Instant::now();
            if is_unused {
                status.phase = Phase::Closed;
                status.error = None;
                *self.write() = View::default();
                // A caller that holds this lock waits, so the directory would not be unused.
                if let Ok(mut polled) = self.polled.try_lock() {
                    *polled = None;
                }
            }
            is_unused
        })
    }

    /// Lookups ask the engine from now on, because of this error. Without `lasts` it is probably over in a moment.
    fn leave(&self, phase: Phase, error: Option<Error>, lasts: bool) {
        let mut view = self.write();
        view.live = false;
        view.snapshot.clear();
        drop(view);
        self.status.send_modify(|status| {
            if phase == Phase::Inspecting && matches!(status.notice, Notice::None) {
                status.notice = error.clone().map_or(Notice::None, Notice::Due);
            }
            (status.phase, status.error, status.lasts) = (phase, error, lasts);
        });
    }

    /// Lookups read the snapshot from now on.
    fn go_live(&self) {
        self.write().live = true;
        self.status.send_modify(|status| {
            (status.phase, status.error, status.lasts) = (Phase::Live, None, false);
        });
    }
}
