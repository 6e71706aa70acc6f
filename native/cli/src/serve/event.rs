//! Events: reads those of the engine, and builds those for clients.
//!
//! Like a container, an event is built property by property. Its action is one of the lists below: the action of an exec would show a
//! whole command line.

use std::sync::Arc;

use eid_docker::{is_full_id, is_noise};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::container::PublicContainer;

/// Actions that leave the public view unchanged, besides [`is_noise`].
const HARMLESS: &str = "create init cleanup";

/// Actions that change the public view, including Podman's.
const CHANGING: &str = "start die died stop restart pause unpause rename update destroy remove checkpoint";

/// The action that replaces an unknown action after which something has changed.
pub const UPDATE: &str = "update";

/// The engine's event, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineEvent {
    r#type: String,
    action: String,
    actor: Option<EngineActor>,
    #[serde(default, rename = "time")]
    time: i64,
    #[serde(default, rename = "timeNano")]
    time_nano: i64,
}

#[derive(Deserialize)]
struct EngineActor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<EngineActorAttributes>,
}

#[derive(Deserialize)]
struct EngineActorAttributes {
    container: Option<String>,
    r#type: Option<String>,
}

/// An event about one container.
#[derive(Clone, Debug)]
pub struct Event {
    kind: Kind,
    action: String,
    /// The full ID of the container.
    pub container: String,
    /// The effect on the public view.
    pub effect: Effect,
    time: i64,
    time_nano: i64,
}

#[derive(Clone, Debug)]
enum Kind {
    Container,
    Network { id: String, driver: Option<String> },
}

/// The effect of an event on the public view of its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The view is unchanged.
    Nothing,
    /// The view has changed.
    Change,
    /// The action is unknown. Clients get an event only if the view has changed.
    Unknown,
}

impl EngineEvent {
    /// Returns the event for clients, or `None` if clients do not get it.
    pub fn event(self) -> Option<Event> {
        let actor = self.actor?;
        let actor_id = actor.id.unwrap_or_default();
        let (kind, container, effect) = match self.r#type.as_str() {
            "container" => (Kind::Container, actor_id, effect(&self.action)?),
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
                (Kind::Network { id, driver }, container, Effect::Change)
            }
            _ => return None,
        };
        is_full_id(&container).then_some(Event {
            kind,
            action: self.action,
            container,
            effect,
            time: self.time,
            time_nano: self.time_nano,
        })
    }
}

fn effect(action: &str) -> Option<Effect> {
    // A health check is an exec, and its result is not shown.
    if action.starts_with("exec") || action.starts_with("health_status") {
        return None;
    }
    let is_one_of = |actions: &str| actions.split(' ').any(|known| known == action);
    Some(match action {
        _ if is_noise(action) || is_one_of(HARMLESS) => Effect::Nothing,
        _ if is_one_of(CHANGING) => Effect::Change,
        _ => Effect::Unknown,
    })
}

fn is_driver(text: &str) -> bool {
    ["bridge", "host", "null", "overlay", "macvlan", "ipvlan", "none"].contains(&text)
}

impl Event {
    /// Makes an event that the engine did not send, `time` in seconds since 1970.
    pub fn missed(container: &str, action: &str, time: i64) -> Self {
        Self {
            kind: Kind::Container,
            action: action.to_owned(),
            container: container.to_owned(),
            effect: Effect::Change,
            time,
            time_nano: time.saturating_mul(1_000_000_000),
        }
    }

    /// Replaces the action.
    pub fn renamed(self, action: &str) -> Self {
        Self {
            action: action.to_owned(),
            ..self
        }
    }

    /// Returns whether clients get the event only after an inspect of its container. `create` needs one although it changes
    /// nothing: the container is new.
    pub fn needs_inspect(&self) -> bool {
        let is_creation = matches!(self.kind, Kind::Container) && self.action == "create";
        is_creation || self.effect != Effect::Nothing
    }

    /// Returns whether this is the last event of a container.
    pub fn is_end(&self) -> bool {
        matches!(self.kind, Kind::Container) && ["destroy", "remove"].contains(&self.action.as_str())
    }

    /// Builds the event for clients.
    pub fn public(&self, container: &Arc<PublicContainer>) -> PublicEvent {
        let mut json = json!({"Action": self.action, "scope": "local", "time": self.time, "timeNano": self.time_nano});
        let image = container.image.as_deref();
        let r#type = match &self.kind {
            Kind::Container => {
                let mut attributes = json!(container.labels);
                attributes["name"] = container.name.as_str().into();
                // `status`, `id` and `from` left the API in version 1.52.
                json["status"] = self.action.as_str().into();
                json["id"] = container.id.as_str().into();
                if let Some(image) = image {
                    attributes["image"] = image.into();
                    json["from"] = image.into();
                }
                json["Actor"] = json!({"ID": container.id, "Attributes": attributes});
                "container"
            }
            Kind::Network { id, driver } => {
                let mut attributes = json!({"container": container.id});
                if let Some(driver) = driver {
                    attributes["type"] = driver.as_str().into();
                }
                json["Actor"] = json!({"ID": id, "Attributes": attributes});
                "network"
            }
        };
        json["Type"] = r#type.into();
        PublicEvent {
            line: format!("{json}\n").into(),
            r#type,
            action: self.action.clone(),
            container: Arc::clone(container),
        }
    }
}

/// An event for clients, and the properties that their filters use.
#[derive(Debug)]
pub struct PublicEvent {
    /// The JSON object and a newline.
    pub line: Bytes,
    /// `container` or `network`.
    pub r#type: &'static str,
    /// The action, such as `start`.
    pub action: String,
    /// The container.
    pub container: Arc<PublicContainer>,
}
