//! Metrics for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The resource of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/_ping`.
    Ping,
    /// `/version`.
    Version,
    /// `/containers/json`.
    List,
    /// `/containers/{id}/json`.
    Inspect,
    /// `/events`.
    Events,
    /// `/eid/host`.
    Host,
    /// `/metrics`.
    Metrics,
    /// A request that is refused before its path counts, or an unknown path.
    Other,
}

/// Each resource with its label.
const RESOURCES: [(Resource, &str); 8] = [
    (Resource::Ping, "ping"),
    (Resource::Version, "version"),
    (Resource::List, "list"),
    (Resource::Inspect, "inspect"),
    (Resource::Events, "events"),
    (Resource::Host, "host"),
    (Resource::Metrics, "metrics"),
    (Resource::Other, "other"),
];

/// The statuses that are counted. Any other status counts as the last one.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 405, 429, 503, 500];

/// The counters of a server.
#[derive(Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; RESOURCES.len()],
    /// Accepted connections.
    pub connections: AtomicU64,
    /// Open connections.
    pub open: AtomicU64,
    /// Connections beyond the limit.
    pub turned_away: AtomicU64,
    /// Failed TLS handshakes.
    pub failed_handshakes: AtomicU64,
    /// Clients that were too slow for the events.
    pub cut_off: AtomicU64,
}

impl Metrics {
    /// Counts an answered request.
    pub fn count(&self, resource: Resource, status: u16) {
        let status = STATUSES.iter().position(|&known| known == status);
        self.requests[resource as usize][status.unwrap_or(STATUSES.len() - 1)].fetch_add(1, Relaxed);
    }

    /// Formats the metrics as Prometheus text. `containers` is `None` while the engine is down.
    pub fn text(&self, containers: Option<usize>, subscribers: usize, upstream_requests: u64) -> String {
        let mut text = String::new();
        let mut figure = |name: &str, r#type: &str, help: &str, value: u64| {
            let name = format!("eid_serve_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type}\n{name} {value}");
        };
        let (up, shown) = (u64::from(containers.is_some()), containers.unwrap_or_default() as u64);
        figure("upstream_up", "gauge", "1 if the engine is connected.", up);
        let help = "Requests sent to the engine.";
        figure("upstream_requests_total", "counter", help, upstream_requests);
        figure("containers", "gauge", "Containers that are shown.", shown);
        let help = "Clients that follow the events.";
        figure("event_subscribers", "gauge", help, subscribers as u64);
        let open = self.open.load(Relaxed);
        figure("open_connections", "gauge", "Connections now.", open);
        let mut counter = |name: &str, help: &str, value: &AtomicU64| {
            figure(name, "counter", help, value.load(Relaxed));
        };
        let help = "Connections that were accepted.";
        counter("connections_total", help, &self.connections);
        let help = "Connections beyond the limit.";
        counter("turned_away_total", help, &self.turned_away);
        let help = "TLS handshakes that failed.";
        counter("failed_handshakes_total", help, &self.failed_handshakes);
        let help = "Clients that were too slow for the events.";
        counter("cut_off_total", help, &self.cut_off);
        let name = "eid_serve_requests_total";
        let _ = writeln!(
            text,
            "# HELP {name} Requests that were answered.\n# TYPE {name} counter"
        );
        for (resource, word) in RESOURCES {
            for (status, counter) in STATUSES.iter().zip(&self.requests[resource as usize]) {
                let count = counter.load(Relaxed);
                if count > 0 {
                    let _ = writeln!(text, "{name}{{resource=\"{word}\",status=\"{status}\"}} {count}");
                }
            }
        }
        text
    }
}
