//! What an engine says about a container beyond how it is reached, for people who look at it.
//!
//! A directory keeps a [`Container`] for each one, and none of this.

use serde_json::Value;

use crate::Container;

/// What Go's zero time looks like: a container that has never been started.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Labels that begin so are eid's own.
const OWN_LABEL: &str = "eid.";

/// Which containers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Running,
    /// Those too that have ended, or that have never been started.
    All,
}

/// A container, and what a person wants to know of it. Texts are as the engine sends them: show them as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub container: Container,
    /// `running`, `exited`, `restarting` and so on: the engine's word. Empty if it says none.
    pub state: String,
    /// The image, as it was named at the start; `None` where the engine, or who stands before it, does not tell.
    pub image: Option<String>,
    /// When its process was last started, as the engine writes it, in RFC 3339; `None` if never.
    pub started: Option<String>,
    /// The TCP ports of the container that are exposed or published, or will be when it runs.
    pub ports: Vec<u16>,
}

impl Description {
    /// Reads what an inspect says; `container` has been read from the same answer.
    pub(crate) fn read(container: Container, inspect: &Value) -> Self {
        let text = |path: &str| {
            let text = inspect.pointer(path).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
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
            started: text("/State/StartedAt").filter(|time| time != NEVER),
            ports,
        }
    }

    /// Whether this may be an Erlang node: its port is exposed or published, or it uses its host's network, or one of
    /// eid's own labels, `eid.…`, says so.
    pub fn is_node(&self, erlang_port: u16) -> bool {
        let mut labels = self.container.labels.iter();
        self.container.host_network
            || self.ports.contains(&erlang_port)
            || labels.any(|(key, _)| key.starts_with(OWN_LABEL))
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
    fn what_may_be_left_out_or_odd() {
        for inspect in [
            json!({"Id": "a"}),
            json!({"Id": "a", "Config": null, "HostConfig": null, "State": {"StartedAt": NEVER, "Status": null}}),
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
