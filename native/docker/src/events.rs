//! An engine's event stream: which containers may have changed.
//!
//! An event is only ever a reason to ask again. What it says about the change itself differs from engine to engine and
//! is left alone.

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::Value;

use crate::node_name::is_full_id;
use crate::{Error, Which};

/// What the engine is asked to send: `type` is `container` or `network`. Percent-encoded
/// `{"type":["container","network"]}`.
pub(crate) const QUERY: &str = "filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";

/// The events of an engine, as whatever reads of them what it needs, from a response's body that has no end.
pub struct EventStream {
    body: Incoming,
    lines: Lines,
}

impl EventStream {
    pub(crate) fn new(body: Incoming, bound: usize) -> Self {
        Self {
            body,
            lines: Lines::new(bound),
        }
    }

    /// Waits for events, for ever if need be; cancelling loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] at the end of the stream, [`Error::BadResponse`] for what is no event. What comes later on
    /// this stream can't be relied on then.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Error> {
        loop {
            let mut events = Vec::new();
            let data = data(&mut self.body).await?;
            self.lines.cut(&data, |line| {
                parse(line, |event| {
                    events.push(event);
                    Ok(())
                })
            })?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// Which containers have changed, from such a body: see [`Engine::events`](crate::Engine::events).
pub struct Events {
    body: Incoming,
    lines: Lines,
    which: Which,
    /// What has been read and not yet been given out, last first.
    changed: Vec<String>,
}

impl Events {
    /// No line may have more than `bound` bytes. A line holds all labels of its container.
    pub(crate) fn new(body: Incoming, bound: usize, which: Which) -> Self {
        Self {
            body,
            lines: Lines::new(bound),
            which,
            changed: Vec::new(),
        }
    }

    /// Waits for the next container that has changed, and returns its full ID. It waits for ever if need be; cancelling
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] at the end of the stream, [`Error::BadResponse`] for what is no event. What comes later on
    /// this stream can't be relied on then.
    pub async fn next(&mut self) -> Result<String, Error> {
        loop {
            if let Some(id) = self.changed.pop() {
                return Ok(id);
            }
            self.changed = self.lines.push(&data(&mut self.body).await?, self.which)?;
            self.changed.reverse();
        }
    }
}

async fn data(body: &mut Incoming) -> Result<Bytes, Error> {
    match body.frame().await {
        Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
        Some(Err(_)) | None => Err(Error::Unreachable("the engine ended its events".to_owned())),
    }
}

/// Cuts what arrives into lines. Docker and Podman end each event with a newline; a line with several of them is read
/// too.
pub(crate) struct Lines {
    rest: Vec<u8>,
    bound: usize,
}

impl Lines {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            rest: Vec::new(),
            bound,
        }
    }

    /// The containers that whole lines tell of.
    pub(crate) fn push(&mut self, data: &Bytes, which: Which) -> Result<Vec<String>, Error> {
        let mut changed = Vec::new();
        self.cut(data, |line| changed_in(line, which, &mut changed))?;
        Ok(changed)
    }

    fn cut(&mut self, data: &Bytes, mut read: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut parts = data.split(|&byte| byte == b'\n');
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.extend(part)?;
            read(&self.rest)?;
            self.rest.clear();
        }
        self.extend(last)?;
        // A long line was an exception: its memory is not kept.
        self.rest.shrink_to(self.rest.len().max(4096));
        Ok(())
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), Error> {
        if self.rest.len() + part.len() > self.bound {
            return Err(Error::BadResponse(format!(
                "an event has more than {} bytes",
                self.bound
            )));
        }
        self.rest.extend_from_slice(part);
        Ok(())
    }
}

/// Reads the events of one line, and adds the IDs of the containers that they tell of.
fn changed_in(line: &[u8], which: Which, changed: &mut Vec<String>) -> Result<(), Error> {
    parse(line, |event: ContainerEvent| {
        changed.extend(event.changed(which)?);
        Ok(())
    })
}

fn parse<T: DeserializeOwned>(line: &[u8], mut read: impl FnMut(T) -> Result<(), Error>) -> Result<(), Error> {
    for event in serde_json::Deserializer::from_slice(line).into_iter() {
        let event = event.map_err(|_| Error::BadResponse("an event is not what the API describes".to_owned()))?;
        read(event)?;
    }
    Ok(())
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
    /// [`Error::BadResponse`] if the event names no container.
    pub fn changed(self, which: Which) -> Result<Option<String>, Error> {
        let actor = self.actor.unwrap_or_default();
        match self.r#type.as_str() {
            "container" if self.action == "create" && which == Which::Running => Ok(None),
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

/// An event whose container can't be told is as good as a lost one.
fn full_id(value: Value) -> Result<String, Error> {
    match value {
        Value::String(id) if is_full_id(&id) => Ok(id),
        _ => Err(Error::BadResponse("an event names no container".to_owned())),
    }
}

/// Whether a container event with this action changes nothing that eid reads. Unknown actions are not noise.
///
/// A health check alone makes three `exec_…` each time. `kill` is any signal; if it ends the container, `die` follows.
pub fn is_noise(action: &str) -> bool {
    ["exec_", "health_status"]
        .iter()
        .any(|prefix| action.starts_with(prefix))
        || matches!(
            action,
            "kill"
                | "oom"
                | "top"
                | "attach"
                | "detach"
                | "resize"
                | "copy"
                | "archive-path"
                | "extract-to-dir"
                | "export"
                | "commit"
                | "prune"
                | "mount"
                | "unmount"
                | "sync"
                | "exec"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn container(action: &str) -> String {
        format!(
            r#"{{"status":"{action}","id":"{A}","from":"i","Type":"container","Action":"{action}","Actor":{{"ID":"{A}","Attributes":{{"name":"db","x":1}}}},"scope":"local","time":1,"timeNano":1}}"#
        )
    }

    fn network(action: &str, attributes: &str) -> String {
        format!(r#"{{"Type":"network","Action":"{action}","Actor":{{"ID":"{A}","Attributes":{attributes}}}}}"#)
    }

    fn changed(line: &str) -> Result<Vec<String>, Error> {
        let mut changed = vec![];
        changed_in(line.as_bytes(), Which::Running, &mut changed)?;
        Ok(changed)
    }

    #[test]
    fn what_counts() {
        for action in [
            "start",
            "die",
            "died",
            "stop",
            "restart",
            "rename",
            "pause",
            "update",
            "destroy",
            "something new",
        ] {
            assert_eq!(changed(&container(action)), Ok(vec![A.to_owned()]), "{action}");
        }
        for action in [
            "exec_create: sh -c \\\"x\\\"",
            "exec_die",
            "health_status: healthy",
            "kill",
            "create",
            "top",
        ] {
            assert_eq!(changed(&container(action)), Ok(vec![]), "{action}");
        }
        let mut all = vec![];
        changed_in(container("create").as_bytes(), Which::All, &mut all).unwrap();
        assert_eq!(all, [A]);
        for action in ["connect", "disconnect"] {
            let attributes = format!(r#"{{"container":"{B}","name":"bridge","type":"bridge"}}"#);
            assert_eq!(changed(&network(action, &attributes)), Ok(vec![B.to_owned()]));
            assert_eq!(changed(&network(action, "{}")), Ok(vec![A.to_owned()]));
            assert_eq!(changed(&network(action, "null")), Ok(vec![A.to_owned()]));
        }
        for other in [
            network("create", "{}"),
            r#"{"Type":"image","Action":"pull"}"#.to_owned(),
            r#"{"Type":"daemon","Action":"reload","Actor":null}"#.to_owned(),
        ] {
            assert_eq!(changed(&other), Ok(vec![]), "{other}");
        }
    }

    #[test]
    fn what_is_no_event() {
        for line in [
            "garbage",
            "{}",
            "[]",
            "null",
            "7",
            r#"{"Type":null,"Action":"start"}"#,
            r#"{"Type":"container"}"#,
            r#"{"Type":"container","Action":"start"}"#,
            r#"{"Type":"container","Action":"start","Actor":{"ID":null}}"#,
            r#"{"Type":"container","Action":"start","Actor":{"ID":"aaaa"}}"#,
            r#"{"Type":"container","Action":"start","Actor":{"ID":"../../../etc/passwd"}}"#,
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"x"}}}"#,
            &container("start")[1..],
            &(container("start") + "}"),
            &(container("start") + "x"),
        ] {
            assert!(matches!(changed(line), Err(Error::BadResponse(_))), "{line}");
        }
    }

    #[test]
    fn lines() {
        let (start, stop) = (container("start"), container("stop"));
        let stream = format!("{start}\n\r\n \n{stop}\r\n{start}{stop} {start}\n{start}");
        let push = |lines: &mut Lines, part: &str| {
            lines
                .push(&Bytes::copy_from_slice(part.as_bytes()), Which::Running)
                .unwrap()
        };
        // at once, and byte by byte
        let mut lines = Lines::new(1000);
        assert_eq!(push(&mut lines, &stream).len(), 5);
        assert_eq!(push(&mut lines, "").len(), 0);
        assert_eq!(push(&mut lines, "\n").len(), 1);
        let mut lines = Lines::new(1000);
        let found: usize = stream.chars().map(|c| push(&mut lines, &c.to_string()).len()).sum();
        assert_eq!(found, 5);
    }

    #[test]
    fn lines_are_bounded() {
        let mut lines = Lines::new(100);
        assert_eq!(lines.push(&Bytes::from(vec![b' '; 100]), Which::Running), Ok(vec![]));
        assert!(matches!(
            lines.push(&Bytes::from_static(b" "), Which::Running),
            Err(Error::BadResponse(_))
        ));
        let mut lines = Lines::new(100);
        assert!(matches!(
            lines.push(&Bytes::from(vec![b' '; 10_000_000]), Which::Running),
            Err(Error::BadResponse(_))
        ));
        let mut lines = Lines::new(100);
        assert_eq!(lines.push(&Bytes::from(" \n".repeat(1000)), Which::Running), Ok(vec![]));
    }
}
