//! Tests `eid serve` with well-behaved and hostile clients, and with engine doubles that misbehave on request.

mod access;
#[path = "../../../docker/tests/engine_double/mod.rs"]
mod engine_double;
mod events;
mod limits;
#[path = "../serving/mod.rs"]
mod serving;
mod shown;
#[path = "../../../docker/tests/support/mod.rs"]
mod support;
#[path = "../../../docker/tests/tls_double/mod.rs"]
mod tls_double;

use std::collections::BTreeSet;
use std::io::BufRead;

use engine_double::{EngineDouble, NewContainer};
use serde_json::Value;
use serving::{eventually, next_event, Answer};

/// Reads events up to this action. Returns `action` for containers and `type action` for other types.
pub fn actions_until(events: &mut impl BufRead, last: &str) -> Vec<String> {
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != last) {
        let event = next_event(events).expect("the events end");
        let action = event["Action"].as_str().unwrap();
        actions.push(match event["Type"].as_str().unwrap() {
            "container" => action.to_owned(),
            other => format!("{other} {action}"),
        });
    }
    actions
}

/// The paths of all values in a JSON document. `*` replaces keys that are data.
pub fn paths(value: &Value) -> BTreeSet<String> {
    fn collect(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                let is_data = ["Labels", "Networks", "Ports", "Attributes"]
                    .iter()
                    .any(|name| at.ends_with(name));
                let key = if is_data { "*" } else { key };
                collect(value, &format!("{at}.{key}"), paths);
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{at}[]"), paths)),
            _ => drop(paths.insert(at.to_owned())),
        }
    }
    let mut paths = BTreeSet::new();
    collect(value, "", &mut paths);
    paths
}

pub fn names(list: &Answer) -> Vec<String> {
    let list = list.json();
    let name = |it: &Value| it["Names"][0].as_str().unwrap()[1..].to_owned();
    let mut names: Vec<_> = list.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// Waits until `eid serve` has its second list, which follows a second after the first. Before that, a list may show
/// the server a change whose event has not arrived yet. The server then reports the change early.
pub fn after_the_second_list(engine: &EngineDouble) {
    eventually("it lists again", || {
        let notes = engine.notes();
        notes.lists >= 2 && notes.unanswered == 0
    });
}

/// An engine with one container for each reason to be visible, and some containers that must stay hidden.
pub fn shop() -> EngineDouble {
    let engine = EngineDouble::start();
    engine.add("published", 49_153);
    engine.run(NewContainer::new("exposed").expose(12345, "tcp"));
    engine.run(NewContainer::new("on-host").host_network());
    engine.run(
        NewContainer::new("labelled")
            .label("eid.cluster", "shop")
            .label("secret", "s3cret"),
    );
    engine.create(NewContainer::new("stopped").publish(49_154));
    engine.run(NewContainer::new("bare"));
    engine.run(NewContainer::new("web").port(80, "tcp", "0.0.0.0", 8080));
    engine.run(NewContainer::new("udp").expose(12345, "udp"));
    engine.run(NewContainer::new("alien").label("eidolon", "x").label("x.eid.y", "z"));
    engine
}
