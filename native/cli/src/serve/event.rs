//! What is told of changes.
//!
//! As with containers, an event is made anew of what the types below have. Its action is one that is written here: that of an
//! exec holds the whole command line.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::container::{is_full_id, Shown};

/// What changes nothing that is shown.
const SIGNS: [&str; 15] = [
    "create",
    "kill",
    "oom",
    "top",
    "attach",
    "detach",
    "resize",
    "copy",
    "export",
    "commit",
    "archive-path",
    "extract-to-dir",
    "init",
    "cleanup",
    "sync",
];

/// What does, Podman's words included.
const CHANGES: [&str; 12] = [
    "start",
    "die",
    "died",
    "stop",
    "restart",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
    "remove",
    "checkpoint",
];

/// Another way to say that something is not as it was, for an action that is not known here.
pub const CHANGED: &str = "update";

/// As the engine tells it, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Told {
    r#type: String,
    action: String,
    actor: Option<ToldActor>,
    #[serde(default, rename = "time")]
    time: i64,
    #[serde(default, rename = "timeNano")]
    time_nano: i64,
}

#[derive(Deserialize)]
struct ToldActor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<ToldAttributes>,
}

#[derive(Deserialize)]
struct ToldAttributes {
    container: Option<String>,
    r#type: Option<String>,
}

/// An event as far as it matters here.
#[derive(Clone, Debug)]
pub struct Event {
    kind: Kind,
    action: String,
    pub container: String,
    pub changes: Changes,
    time: i64,
    time_nano: i64,
}

#[derive(Clone, Debug)]
enum Kind {
    Container,
    Network { id: String, driver: Option<String> },
}

/// What an event means for what is shown of its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    Nothing,
    Something,
    /// Only the engine knows: nobody is told of it but by what has changed.
    Unknown,
}

impl Told {
    /// `None` for what nobody is told of.
    pub fn event(self) -> Option<Event> {
        let actor = self.actor?;
        let actor_id = actor.id.unwrap_or_default();
        let (kind, container, changes) = match self.r#type.as_str() {
            "container" => (Kind::Container, actor_id, meaning(&self.action)?),
            "network" if ["connect", "disconnect"].contains(&self.action.as_str()) => {
                let attributes = actor.attributes;
                let driver = attributes
                    .as_ref()
                    .and_then(|it| it.r#type.clone())
                    .filter(|word| is_driver(word));
                // Podman's actor is the container.
                let container = attributes.and_then(|attributes| attributes.container);
                let container = container.unwrap_or_else(|| actor_id.clone());
                let id = Some(actor_id).filter(|id| is_full_id(id)).unwrap_or_default();
                (Kind::Network { id, driver }, container, Changes::Something)
            }
            _ => return None,
        };
        is_full_id(&container).then_some(Event {
            kind,
            action: self.action,
            container,
            changes,
            time: self.time,
            time_nano: self.time_nano,
        })
    }
}

fn meaning(action: &str) -> Option<Changes> {
    // A health check is an exec, and how it went is not shown.
    if action.starts_with("exec") || action.starts_with("health_status") {
        return None;
    }
    Some(match action {
        _ if SIGNS.contains(&action) => Changes::Nothing,
        _ if CHANGES.contains(&action) => Changes::Something,
        _ => Changes::Unknown,
    })
}

fn is_driver(text: &str) -> bool {
    ["bridge", "host", "null", "overlay", "macvlan", "ipvlan", "none"].contains(&text)
}

impl Event {
    /// One that the engine did not tell, but that has happened.
    pub fn missed(container: &str, action: &str, time: i64) -> Self {
        Self {
            kind: Kind::Container,
            action: action.to_owned(),
            container: container.to_owned(),
            changes: Changes::Something,
            time,
            time_nano: time.saturating_mul(1_000_000_000),
        }
    }

    /// The same under a name that all know.
    pub fn renamed(self, action: &str) -> Self {
        Self {
            action: action.to_owned(),
            ..self
        }
    }

    /// Whether it is the first or the last sign of a container.
    pub fn is_creation(&self) -> bool {
        matches!(self.kind, Kind::Container) && self.action == "create"
    }

    pub fn is_end(&self) -> bool {
        matches!(self.kind, Kind::Container) && ["destroy", "remove"].contains(&self.action.as_str())
    }

    /// What is told of it, where this is shown of its container.
    pub fn told(&self, shown: &Shown) -> TellableEvent {
        let (r#type, id) = match &self.kind {
            Kind::Container => ("container", &shown.id),
            Kind::Network { id, .. } => ("network", id),
        };
        let mut attributes: BTreeMap<&str, &str> = BTreeMap::new();
        match &self.kind {
            Kind::Container => {
                attributes.extend(shown.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                attributes.extend(shown.image.as_deref().map(|image| ("image", image)));
                attributes.insert("name", &shown.name);
            }
            Kind::Network { driver, .. } => {
                attributes.extend(driver.as_deref().map(|driver| ("type", driver)));
                attributes.insert("container", &shown.id);
            }
        }
        let told = Telling {
            status: (r#type == "container").then_some(&self.action),
            id: (r#type == "container").then_some(id),
            from: shown.image.as_deref().filter(|_| r#type == "container"),
            r#type,
            action: &self.action,
            actor: Actor { id, attributes },
            scope: "local",
            time: self.time,
            time_nano: self.time_nano,
        };
        let mut line = serde_json::to_vec(&told).expect("all keys are texts");
        line.push(b'\n');
        TellableEvent {
            line: line.into(),
            r#type,
            action: self.action.clone(),
            container: shown.id.clone(),
            name: shown.name.clone(),
            labels: shown.labels.clone(),
        }
    }
}

/// An event as all clients get it, and what their filters look at.
#[derive(Debug)]
pub struct TellableEvent {
    pub line: Bytes,
    pub r#type: &'static str,
    pub action: String,
    pub container: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Telling<'a> {
    // These three left the API in version 1.52.
    #[serde(rename = "status", skip_serializing_if = "Option::is_none")]
    status: Option<&'a String>,
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a String>,
    #[serde(rename = "from", skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    r#type: &'a str,
    action: &'a str,
    actor: Actor<'a>,
    #[serde(rename = "scope")]
    scope: &'a str,
    #[serde(rename = "time")]
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<&'a str, &'a str>,
}
