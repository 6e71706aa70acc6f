//! An engine's event stream, and which container an event is about.
//!
//! An event is only a reason to ask about its container. Engines differ in what else they write into it.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::Value;

use super::ListScope;
use crate::error::Error;
use crate::node_name::is_full_id;

/// Asks for events whose `type` is `container` or `network`. Percent-encoded `{"type":["container","network"]}`.
pub(super) const QUERY: &str = "filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";

/// The events of an engine, from the endless body of a response.
pub struct EventStream {
    body: Incoming,
    lines: Lines,
}

impl EventStream {
    /// No line may have more than `limit` bytes. A line holds all labels of its container.
    pub(super) fn new(body: Incoming, limit: usize) -> Self {
        let lines = Lines::new(limit);
        Self { body, lines }
    }

    /// Waits for the next events and returns them, at least one. It may wait for ever. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] at the end of the stream, [`Error::BadResponse`] for anything that is not an event. Open a new
    /// stream then.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        loop {
            let data = match self.body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) | None => return Err(Error::unreachable("the engine ended its events")),
            };
            let events = self.lines.read(&data)?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// Cuts a stream into lines. Docker and Podman end each event with a newline; several events in one line are fine too.
pub(crate) struct Lines {
    rest: Vec<u8>,
    limit: usize,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        let rest = Vec::new();
        Self { rest, limit }
    }

    /// The events of the lines that are complete now.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, data: &[u8]) -> Result<Vec<T>, Error> {
        let mut events = Vec::new();
        let mut parts = data.split(|&byte| byte == b'\n');
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.extend(part)?;
            for event in serde_json::Deserializer::from_slice(&self.rest).into_iter() {
                events
                    .push(event.map_err(|_| Error::BadResponse("an event is not what the API describes".to_owned()))?);
            }
            self.rest.clear();
        }
        self.extend(last)?;
        // A long line is an exception: release its memory.
        self.rest.shrink_to(self.rest.len().max(4096));
        Ok(events)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), Error> {
        if self.rest.len() + part.len() > self.limit {
            return Err(Error::BadResponse(format!(
                "an event has more than {} bytes",
                self.limit
            )));
        }
        self.rest.extend_from_slice(part);
        Ok(())
    }
}

/// An event, read as far as it takes to find the container that it is about.
///
/// `Type`, `Action` and `Actor` are in every version of the API since 1.22; `status`, `id` and `from` left in 1.52.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerEvent {
    r#type: String,
    action: String,
    actor: Option<Actor>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(default, rename = "ID")]
    id: Value,
    attributes: Option<Attributes>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    container: Value,
}

impl ContainerEvent {
    /// The full ID of the container that may have changed. `None` if the event changes nothing that eid reads.
    ///
    /// # Errors
    ///
    /// [`Error::BadResponse`] if the event names no container: treat it like a lost event.
    pub fn changed(self, scope: ListScope) -> Result<Option<String>, Error> {
        let actor = self.actor.unwrap_or_default();
        match self.r#type.as_str() {
            "container" if self.action == "create" && scope == ListScope::Running => Ok(None),
            "container" if is_noise(&self.action) => Ok(None),
            "container" => full_id(actor.id).map(Some),
            "network" if matches!(self.action.as_str(), "connect" | "disconnect") => {
                // Docker's actor is the network, and the container an attribute. Podman's actor is the container.
                match actor.attributes.unwrap_or_default().container {
                    Value::Null => full_id(actor.id).map(Some),
                    container => full_id(container).map(Some),
                }
            }
            _ => Ok(None),
        }
    }
}

fn full_id(value: Value) -> Result<String, Error> {
    match value {
        Value::String(id) if is_full_id(&id) => Ok(id),
        _ => Err(Error::BadResponse("an event names no container".to_owned())),
    }
}

/// Returns `true` if a container event with this action changes nothing that eid reads. Unknown actions are not noise.
///
/// A health check alone makes three `exec_…` each time. `kill` is any signal; if it ends the container, `die` follows.
pub fn is_noise(action: &str) -> bool {
    const NOISE: [&str; 16] = [
        "kill",
        "oom",
        "top",
        "attach",
        "detach",
        "resize",
        "copy",
        "archive-path",
        "extract-to-dir",
        "export",
        "commit",
        "prune",
        "mount",
        "unmount",
        "sync",
        "exec",
    ];
    action.starts_with("exec_") || action.starts_with("health_status") || NOISE.contains(&action)
}

#[cfg(test)]
#[path = "../../tests/unit/events.rs"]
mod tests;
