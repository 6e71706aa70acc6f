//! Describes a container for people: its state, image, times and ports.

use serde_json::Value;

use super::wire::container_port;
use crate::container::{Container, OWN_LABELS};
use crate::error::excerpt;

/// How Go's zero time begins, which means never.
const NEVER: &str = "0001-01-01";

/// A container, and what a person wants to know about it. A field that the engine does not fill is empty. Texts are
/// sanitised and have at most 200 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The container itself.
    pub container: Container,
    /// The engine's word for its state: `running`, `paused`, `restarting`, `exited`, `created`, `dead`, …
    pub state: String,
    /// The image, as it was named at the start.
    pub image: Option<String>,
    /// When its process was last started, in RFC 3339 as the engine writes it; `None` if never.
    pub started: Option<String>,
    /// When that process ended, likewise.
    pub finished: Option<String>,
    /// The exit code of the last process; 0 while the first one runs.
    pub exit_code: Option<i64>,
    /// The engine's message if the container failed to start.
    pub error: Option<String>,
    /// `true` if the kernel killed it because it ran out of memory.
    pub out_of_memory: bool,
    /// Its TCP ports that are exposed or published, or will be when it runs.
    pub ports: Vec<u16>,
}

impl Description {
    /// Reads the answer to an inspect; `container` was read from the same answer.
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
        Self {
            container,
            state: text("/State/Status").unwrap_or_default(),
            image: text("/Config/Image"),
            started: time("/State/StartedAt"),
            finished: time("/State/FinishedAt"),
            exit_code: inspect.pointer("/State/ExitCode").and_then(Value::as_i64),
            error: text("/State/Error"),
            out_of_memory: inspect.pointer("/State/OOMKilled") == Some(&Value::Bool(true)),
            ports: tcp_ports(ports.filter_map(|port| container_port(port))),
        }
    }

    /// The description of a container that the engine lists but fails to inspect.
    pub fn listed(container: Container) -> Self {
        let ports = container
            .bindings
            .iter()
            .map(|binding| (binding.container_port, binding.tcp));
        Self {
            ports: tcp_ports(ports),
            container,
            ..Self::default()
        }
    }

    /// Returns `true` if this may be an Erlang node: it exposes or publishes the distribution port, uses its host's network,
    /// or has one of eid's own labels, `eid.…`.
    pub fn is_node(&self, erlang_port: u16) -> bool {
        let mut labels = self.container.labels.iter();
        self.container.host_network
            || self.ports.contains(&erlang_port)
            || labels.any(|(key, _)| key.starts_with(OWN_LABELS))
    }
}

fn tcp_ports(ports: impl Iterator<Item = (u16, bool)>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.filter_map(|(port, tcp)| tcp.then_some(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
#[path = "../../tests/unit/description.rs"]
mod tests;
