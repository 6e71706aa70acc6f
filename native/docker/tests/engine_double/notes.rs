//! Counts the connections and requests that an engine double receives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::watch;
use tokio::time::timeout;

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

/// The endpoint of a request, whatever its API version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    List,
    Inspect,
    Events,
    Other,
}

/// Counters since the engine's start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Connections accepted.
    pub connections: usize,
    /// Requests for `/_ping`.
    pub pings: usize,
    /// Requests for `/events`.
    pub events: usize,
    /// Requests for `/containers/json`.
    pub lists: usize,
    /// Requests for `/containers/{id}/json`.
    pub inspects: usize,
    /// Any other request.
    pub others: usize,
    /// Highest number of concurrent requests. A request counts until its answer begins. Requests for events do not
    /// count.
    pub most_in_flight: usize,
    /// The paths of all requests, in the order of their arrival.
    pub paths: Vec<String>,
    /// Event streams that are open now.
    pub subscribers: usize,
    /// Connections that are open now.
    pub open: usize,
    /// Requests whose answers are not completely sent yet, except requests for events.
    pub unanswered: usize,
    /// The part of `unanswered` whose answers hang, drip or never end.
    pub hanging: usize,
    /// Answers that are made and held back now.
    pub held: usize,
    /// Requests that are in flight now.
    in_flight: usize,
}

impl Notes {
    /// All requests.
    pub fn requests(&self) -> usize {
        self.paths.len()
    }

    /// All counters without the paths, for the program.
    pub fn summary(&self) -> Value {
        json!({
            "connections": self.connections, "requests": self.requests(), "pings": self.pings, "events": self.events,
            "lists": self.lists, "inspects": self.inspects, "others": self.others,
            "most_in_flight": self.most_in_flight, "subscribers": self.subscribers, "open": self.open,
        })
    }
}

/// Keeps the notes, and notifies waiting tasks of each change.
#[derive(Clone)]
pub struct Notebook {
    notes: Arc<Mutex<Notes>>,
    changes: watch::Sender<()>,
}

impl Notebook {
    pub fn new() -> Self {
        Self {
            notes: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }

    pub fn read(&self) -> Notes {
        self.lock().clone()
    }

    /// Resets the counters, except those of open connections and requests.
    pub fn reset(&self) {
        self.change(|notes| {
            *notes = Notes {
                subscribers: notes.subscribers,
                open: notes.open,
                unanswered: notes.unanswered,
                hanging: notes.hanging,
                held: notes.held,
                in_flight: notes.in_flight,
                most_in_flight: notes.in_flight,
                ..Notes::default()
            }
        });
    }

    /// Waits until the notes meet this condition.
    pub async fn until(&self, so: impl Fn(&Notes) -> bool) {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while !so(&self.lock()) {
                changes.changed().await.unwrap();
            }
        };
        let timely = timeout(FAR_TOO_LONG, waiting).await;
        assert!(
            timely.is_ok(),
            "timed out with the notes {:?}",
            self.read().summary().to_string()
        );
    }

    /// Counts an open connection until the guard is dropped.
    pub fn connection(&self) -> Guard {
        self.change(|notes| notes.connections += 1);
        self.guard(|notes| &mut notes.open)
    }

    /// Counts a subscriber until the guard is dropped.
    pub fn subscriber(&self) -> Guard {
        self.guard(|notes| &mut notes.subscribers)
    }

    /// Counts an unanswered request until the guard is dropped.
    pub fn unanswered(&self) -> Guard {
        self.guard(|notes| &mut notes.unanswered)
    }

    /// Counts a hanging request until the guard is dropped.
    pub fn hanging(&self) -> Guard {
        self.guard(|notes| &mut notes.hanging)
    }

    /// Counts a held answer until the guard is dropped.
    pub fn held(&self) -> Guard {
        self.guard(|notes| &mut notes.held)
    }

    /// Counts a request, and counts it as in flight until the guard is dropped.
    pub fn request(&self, kind: Kind, path: &str) -> Option<Guard> {
        self.change(|notes| {
            notes.paths.push(path.to_owned());
            *match kind {
                Kind::Ping => &mut notes.pings,
                Kind::List => &mut notes.lists,
                Kind::Inspect => &mut notes.inspects,
                Kind::Events => &mut notes.events,
                Kind::Other => &mut notes.others,
            } += 1;
            if kind != Kind::Events {
                notes.most_in_flight = notes.most_in_flight.max(notes.in_flight + 1);
            }
        });
        (kind != Kind::Events).then(|| self.guard(|notes| &mut notes.in_flight))
    }

    fn guard(&self, counter: fn(&mut Notes) -> &mut usize) -> Guard {
        self.change(|notes| *counter(notes) += 1);
        Guard {
            notebook: self.clone(),
            counter,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decrements its counter when it is dropped, even if its task is aborted.
pub struct Guard {
    notebook: Notebook,
    counter: fn(&mut Notes) -> &mut usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.notebook.change(|notes| *(self.counter)(notes) -= 1);
    }
}
