//! An engine's events, and the filters that subscribers set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};

/// One event, serialized once for all subscribers.
pub struct Event {
    pub value: Value,
    /// The JSON object without a newline.
    pub line: String,
}

impl Event {
    /// A new event. A container's event has an `image`, and also the old fields that `Type`, `Action` and `Actor`
    /// replaced in API 1.22.
    pub fn new(
        kind: &str,
        action: &str,
        id: &str,
        attributes: &BTreeMap<String, String>,
        image: Option<&str>,
        clock: &mut Clock,
    ) -> Self {
        let nanos = clock.nanos();
        let mut value = json!({
            "Type": kind,
            "Action": action,
            "Actor": {"ID": id, "Attributes": attributes},
            "scope": "local",
            "time": nanos / 1_000_000_000,
            "timeNano": nanos,
        });
        if let Some(image) = image {
            value["status"] = action.into();
            value["id"] = id.into();
            value["from"] = image.into();
        }
        let line = value.to_string();
        Self { value, line }
    }

    pub fn is_of_a_container(&self) -> bool {
        self.value["Type"] == "container"
    }

    /// The time in seconds.
    pub fn time(&self) -> u64 {
        self.value["time"].as_u64().unwrap_or_default()
    }

    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The argument `filters` of `/events`: the accepted values for each key. A missing key accepts everything.
#[derive(Default)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Parses `{"type":["container"]}`, or `{"type":{"container":true}}` as older clients write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parsed: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("invalid filters: {error}"))?;
        let mut filters = BTreeMap::new();
        for (name, values) in parsed {
            if !["type", "event", "container"].contains(&name.as_str()) {
                return Err(format!("invalid filter '{name}'"));
            }
            let values = match values {
                Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                Value::Object(values) => values.into_iter().map(|(value, _)| value).collect(),
                _ => return Err(format!("invalid filter '{name}'")),
            };
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    pub fn pass(&self, event: &Event) -> bool {
        self.0.iter().all(|(name, values)| match name.as_str() {
            "type" => values.contains(event.text("/Type")),
            "event" => values.contains(event.text("/Action")),
            _ => values.contains(event.text("/Actor/ID")) || values.contains(event.text("/Actor/Attributes/name")),
        })
    }
}

/// A clock that returns a later time at each call.
#[derive(Default)]
pub struct Clock {
    last: u64,
}

impl Clock {
    fn nanos(&mut self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        self.last = u64::try_from(now).unwrap_or_default().max(self.last + 1);
        self.last
    }
}
