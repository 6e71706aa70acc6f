//! What an engine has seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::watch;
use tokio::time::timeout;

/// Long after everything should have happened.
const FAR_TOO_LONG: Duration = Duration::from_secs(300);

/// The endpoint that a request asks for, whatever its API version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    List,
    Inspect,
    Events,
    Other,
}

/// What an engine has seen since its start, or since the notes were reset.
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
    /// How many requests it had at the same time, at most. A request counts until its answer begins, and one for events
    /// does not count.
    pub most_in_flight: usize,
    /// The paths of all requests, in the order of their arrival.
    pub paths: Vec<String>,
    /// Event streams that are open now.
    pub subscribers: usize,
    /// Connections that are open now.
    pub open: usize,
    /// Requests, but for events, whose answers have not been sent as a whole by now.
    pub unanswered: usize,
    /// Those of them whose answers hang, drip or have no end.
    pub hanging: usize,
    /// Answers that have been made and are held back now.
    pub held: usize,
    /// Requests that are in flight now.
    in_flight: usize,
}

impl Notes {
    /// All requests.
    pub fn requests(&self) -> usize {
        self.paths.len()
    }

    /// Everything but the paths, for the program.
    pub fn summary(&self) -> Value {
        json!({
            "connections": self.connections, "requests": self.requests(), "pings": self.pings, "events": self.events,
            "lists": self.lists, "inspects": self.inspects, "others": self.others,
            "most_in_flight": self.most_in_flight, "subscribers": self.subscribers, "open": self.open,
        })
    }
}

/// Where the notes are taken. Whoever waits for something is told of each change.
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

    /// What is open or in flight stays so.
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

    /// Waits until the notes are so.
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
            "waited in vain: {:?}",
            self.read().summary().to_string()
        );
    }

    /// Notes an open connection, which is closed when the guard is dropped.
    pub fn connection(&self) -> Guard {
        self.change(|notes| notes.connections += 1);
        self.guard(|notes| &mut notes.open)
    }

    /// Notes a subscriber, who is one until the guard is dropped.
    pub fn subscriber(&self) -> Guard {
        self.guard(|notes| &mut notes.subscribers)
    }

    /// Notes a request that is not answered until the guard is dropped.
    pub fn unanswered(&self) -> Guard {
        self.guard(|notes| &mut notes.unanswered)
    }

    /// Notes a request that hangs until the guard is dropped.
    pub fn hanging(&self) -> Guard {
        self.guard(|notes| &mut notes.hanging)
    }

    /// Notes an answer that is held back until the guard is dropped.
    pub fn held(&self) -> Guard {
        self.guard(|notes| &mut notes.held)
    }

    /// Notes a request, which is in flight until the guard is dropped.
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

/// Counts as long as it lives, so that a task that is aborted is counted out too.
pub struct Guard {
    notebook: Notebook,
    counter: fn(&mut Notes) -> &mut usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.notebook.change(|notes| *(self.counter)(notes) -= 1);
    }
}
