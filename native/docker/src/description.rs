//! What an engine says about a container beyond how it is reached, for people who look at it.
//!
//! A directory keeps a [`Container`] for each one, and none of this.

use serde_json::Value;

use crate::error::excerpt;
use crate::{Container, OWN_LABELS};

/// How Go's zero time begins, for what has never happened.
const NEVER: &str = "0001-01-01";

/// Which containers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Running,
    /// Those too that have ended, or that have never been started.
    All,
}

/// A container, and what a person wants to know of it. What the engine does not tell is empty; texts are printable and have at
/// most 200 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub container: Container,
    /// The engine's word for it: `running`, `paused`, `restarting`, `exited`, `created`, `dead`, …
    pub state: String,
    /// The image, as it was named at the start.
    pub image: Option<String>,
    /// When its process was last started, as the engine writes it, in RFC 3339; `None` if never.
    pub started: Option<String>,
    /// When that process has ended, likewise.
    pub finished: Option<String>,
    /// What it has ended with; 0 while the first one runs.
    pub exit_code: Option<i64>,
    /// What kept it from starting.
    pub error: Option<String>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// The TCP ports of the container that are exposed or published, or will be when it runs.
    pub ports: Vec<u16>,
}

impl Description {
    /// Reads what an inspect says; `container` has been read from the same answer.
    pub(crate) fn read(container: Container, inspect: &Value) -> Self {
        let text = |path: &str| {
            let text = inspect.pointer(path).and_then(Value::as_str).map(excerpt);
            text.filter(|text| !text.is_empty())
        };
        let time = |path: &str| text(path).filter(|time| !time.starts_with(NEVER));
        let keys = |path: &str| {
            let object = inspect.pointer(path).and_then(Value::as_object);
            object.into_iter().flat_map(|object| object.keys())
        };
        let ports = keys("/Config/ExposedPorts")
            .chain(keys("/HostConfig/PortBindings"))
            .chain(keys("/NetworkSettings/Ports"));
        let mut ports: Vec<u16> = ports.filter_map(|port| tcp_port(port)).collect();
        ports.sort_unstable();
        ports.dedup();
        Self {
            container,
            state: text("/State/Status").unwrap_or_default(),
            image: text("/Config/Image"),
            started: time("/State/StartedAt"),
            finished: time("/State/FinishedAt"),
            exit_code: inspect.pointer("/State/ExitCode").and_then(Value::as_i64),
            error: text("/State/Error"),
            out_of_memory: inspect.pointer("/State/OOMKilled") == Some(&Value::Bool(true)),
            ports,
        }
    }

    /// The description of a container that the engine lists but fails to inspect.
    pub fn listed(container: Container) -> Self {
        let tcp = container.bindings.iter().filter(|binding| binding.tcp);
        let mut ports: Vec<u16> = tcp.map(|binding| binding.container_port).collect();
        ports.sort_unstable();
        ports.dedup();
        Self {
            container,
            ports,
            ..Self::default()
        }
    }

    /// Whether this may be an Erlang node: its port is exposed or published, or it uses its host's network, or one of
    /// eid's own labels, `eid.…`, says so.
    pub fn is_node(&self, erlang_port: u16) -> bool {
        let mut labels = self.container.labels.iter();
        self.container.host_network
            || self.ports.contains(&erlang_port)
            || labels.any(|(key, _)| key.starts_with(OWN_LABELS))
    }
}

/// `12345/tcp`; TCP is what a port without a protocol means.
fn tcp_port(key: &str) -> Option<u16> {
    key.strip_suffix("/tcp").unwrap_or(key).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Inspected;
    use serde_json::json;

    fn described(inspect: &Value) -> Description {
        let Inspected(container) = serde_json::from_value(inspect.clone()).unwrap();
        Description::read(container, inspect)
    }

    #[test]
    fn what_an_inspect_says() {
        let found = described(
            &json!({"Id": "a", "Name": "/db", "Image": "sha256:7", "Config": {"Image": "shop:1",
            "ExposedPorts": {"12345/tcp": {}, "53/udp": {}}}, "HostConfig": {"PortBindings": {"80/tcp": [], "x": null}},
            "NetworkSettings": {"Ports": {"12345/tcp": null, "7": null}},
            "State": {"Status": "paused", "Running": true, "StartedAt": "2024-02-29T12:00:00.5Z"}}),
        );
        assert_eq!(found.container.name, "db");
        assert_eq!(
            (found.state.as_str(), found.image.as_deref()),
            ("paused", Some("shop:1"))
        );
        assert_eq!(found.started.as_deref(), Some("2024-02-29T12:00:00.5Z"));
        assert_eq!(found.ports, [7, 80, 12345]);
    }

    #[test]
    fn why_a_container_does_not_run() {
        let found = described(
            &json!({"Id": "a", "Config": {"Env": ["COOKIE=secret"]}, "State": {"Status": "exited", "OOMKilled": true,
            "Error": "no\nspace", "ExitCode": 137, "FinishedAt": "2026-01-02T03:04:05.6Z"}}),
        );
        let expected = Description {
            container: found.container.clone(),
            state: "exited".to_owned(),
            finished: Some("2026-01-02T03:04:05.6Z".to_owned()),
            exit_code: Some(137),
            error: Some("no space".to_owned()),
            out_of_memory: true,
            ..Description::default()
        };
        assert_eq!(found, expected);
        let running = json!({"Id": "a", "State": {"Status": "running", "ExitCode": 0, "FinishedAt": "0001-01-01T00:00:00Z", "Error": ""}});
        let running = described(&running);
        assert_eq!(
            (running.exit_code, running.finished, running.error),
            (Some(0), None, None)
        );
    }

    #[test]
    fn what_may_be_left_out_or_odd() {
        for inspect in [
            json!({"Id": "a"}),
            json!({"Id": "a", "Config": null, "HostConfig": null, "State": {"StartedAt": "0001-01-01T00:00:00Z", "Status": null}}),
            json!({"Id": "a", "Config": {"Image": "", "ExposedPorts": []}, "HostConfig": {"PortBindings": 7}}),
        ] {
            let found = described(&inspect);
            assert_eq!(
                (found.state.as_str(), &found.image, &found.started),
                ("", &None, &None),
                "{inspect}"
            );
            assert!(found.ports.is_empty() && !found.is_node(12345), "{inspect}");
        }
    }

    #[test]
    fn who_may_be_a_node() {
        let is_node = |inspect: Value| described(&inspect).is_node(12345);
        // exposed by the image, or published and stopped, or running
        assert!(is_node(
            json!({"Id": "a", "Config": {"ExposedPorts": {"12345/tcp": {}}}})
        ));
        assert!(is_node(
            json!({"Id": "a", "HostConfig": {"PortBindings": {"12345/tcp": []}}})
        ));
        assert!(is_node(
            json!({"Id": "a", "NetworkSettings": {"Ports": {"12345/tcp": null}}})
        ));
        assert!(is_node(json!({"Id": "a", "HostConfig": {"NetworkMode": "host"}})));
        assert!(is_node(json!({"Id": "a", "Config": {"Labels": {"eid.cluster": ""}}})));
        assert!(!is_node(
            json!({"Id": "a", "Config": {"Labels": {"eidolon": "1", "my.eid.x": "1"}}})
        ));
        assert!(!is_node(
            json!({"Id": "a", "Config": {"ExposedPorts": {"12345/udp": {}, "1234/tcp": {}}}})
        ));
    }
}
