//! The interface to the user of a follower: its questions, and its reactions to answers, events and failures.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::api::Engine;
use crate::error::Error;
use crate::node_name::ContainerRef;

/// A request to an engine that has not been sent yet: `Box::pin(async move { … })`.
pub type Asking<T> = BoxFuture<'static, Result<T, Error>>;

/// The user of a [`Follower`](crate::Follower): what to ask the engine, and where the answers go.
///
/// The follower calls one method at a time, from one task. No method may block.
pub trait Sink: Send + 'static {
    /// An element of the list.
    type Listed: Send + 'static;
    /// The answer about one container.
    type Inspected: Send + 'static;
    /// An event, for example [`ContainerEvent`](crate::ContainerEvent).
    type Event: DeserializeOwned + Send;

    /// If more containers than this wait to be asked about, the follower lists instead. Only for a sink whose list says
    /// everything that it needs.
    const MAX_QUEUE: usize = usize::MAX;

    /// The engine to follow.
    fn engine(&self) -> &Engine;

    /// Lists the containers, for example with [`Engine::list`].
    fn list(&self) -> Asking<Vec<Self::Listed>>;

    /// Asks about one container, for example with [`Engine::inspect`].
    fn inspect(&self, id: ContainerRef) -> Asking<Self::Inspected>;

    /// A number that the follower takes before it sends a question, and passes on with the answer. A sink that counts
    /// events in it can tell which events an answer already includes.
    fn mark(&self) -> u64 {
        0
    }

    /// An event arrived. Returns the full ID of the container to ask about, if any.
    ///
    /// # Errors
    ///
    /// If the event can't be understood: the follower reconnects, because it may have missed a change.
    fn event(&mut self, event: Self::Event) -> Result<Option<String>, Error>;

    /// A list arrived: the first one of a subscription, or a later one. All events that were readable by then have been
    /// passed to [`Sink::event`].
    fn listed(&mut self, mark: u64, list: Vec<Self::Listed>) -> ToAsk;

    /// The engine answered about the container with this ID; `None` if it has no such container.
    fn changed(&mut self, mark: u64, id: &str, answer: Result<Option<Self::Inspected>, Error>) -> NextStep;

    /// The engine has answered about each container that the first list of a subscription asked about.
    fn ready(&mut self) {}

    /// The follower lost the engine, or did not reach it. The sink says when to try again.
    fn lost(&mut self, lost: &Lost) -> Retry;

    /// The follower starts over with a new subscription or list, because it may have missed events.
    fn resync(&mut self) {}
}

/// Questions after a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToAsk {
    /// Full IDs of the containers to ask about.
    pub ids: Vec<String>,
    /// Full IDs of containers that changed although no event mentioned them. If no event about one of them follows within a
    /// second, the follower replaces the event stream. Ignored after the first list of a subscription.
    pub unexplained: Vec<String>,
}

/// The follower's next step after an answer about one container.
#[derive(Debug)]
pub enum NextStep {
    /// Go on.
    Follow,
    /// List the containers within a second.
    List,
    /// Ask about this container again after a second.
    AskAgain,
    /// Give up this subscription, and report this error as [`Lost::Container`].
    Reconnect(Error),
}

/// When the follower tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After 100 ms to 3 s: see [`Backoff`](crate::Backoff).
    Soon,
    /// After this time.
    After(Duration),
    /// At once, without events: the follower lists at this interval until a list fails.
    Poll(Duration),
}

/// Why the follower does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The engine refused the event stream, or the stream ended.
    Events(Error),
    /// A list failed.
    List(Error),
    /// The sink asked to reconnect after an answer about one container.
    Container(Error),
}

impl Lost {
    /// The error of any kind.
    pub fn error(&self) -> &Error {
        match self {
            Self::Events(error) | Self::List(error) | Self::Container(error) => error,
        }
    }

    /// Returns `true` if the next try would probably fail in the same way: the engine, or a proxy before it, refused the list or
    /// the events, or the list is too large.
    pub fn is_refusal(&self) -> bool {
        match self.error() {
            Error::Refused { status, .. } => matches!(status, 300..=499) && !matches!(status, 408 | 429),
            Error::TooLarge(_) => matches!(self, Self::List(_)),
            _ => false,
        }
    }
}
