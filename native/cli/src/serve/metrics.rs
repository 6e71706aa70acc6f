//! Figures for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which resource a request is about, with its name in the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Ping,
    Version,
    List,
    Inspect,
    Events,
    Host,
    Metrics,
    Other,
}

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

/// The statuses that there are; what else there may be counts as the last one.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 405, 429, 503, 500];

#[derive(Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; RESOURCES.len()],
    pub connections: AtomicU64,
    pub open: AtomicU64,
    pub turned_away: AtomicU64,
    pub failed_handshakes: AtomicU64,
    pub cut_off: AtomicU64,
}

impl Metrics {
    pub fn count(&self, resource: Resource, status: u16) {
        let status = STATUSES.iter().position(|&known| known == status);
        self.requests[resource as usize][status.unwrap_or(STATUSES.len() - 1)].fetch_add(1, Relaxed);
    }

    /// In Prometheus' text format, with what is asked of others.
    pub fn text(&self, containers: Option<usize>, subscribers: usize, upstream_requests: u64) -> String {
        let mut text = String::new();
        let mut figure = |name: &str, r#type: &str, help: &str, value: u64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type}\n{name} {value}");
        };
        let up = u64::from(containers.is_some());
        figure(
            "eid_serve_upstream_up",
            "gauge",
            "Whether the engine is being followed.",
            up,
        );
        figure(
            "eid_serve_upstream_requests_total",
            "counter",
            "Requests that the engine was sent.",
            upstream_requests,
        );
        figure(
            "eid_serve_containers",
            "gauge",
            "Containers that are shown.",
            containers.unwrap_or_default() as u64,
        );
        figure(
            "eid_serve_event_subscribers",
            "gauge",
            "Clients that follow the events.",
            subscribers as u64,
        );
        let counters = [
            ("connections_total", "Connections that were taken.", &self.connections),
            ("turned_away_total", "Connections beyond the limit.", &self.turned_away),
            (
                "failed_handshakes_total",
                "TLS handshakes that failed.",
                &self.failed_handshakes,
            ),
            (
                "cut_off_total",
                "Clients that were too slow for the events.",
                &self.cut_off,
            ),
        ];
        for (name, help, counter) in counters {
            figure(&format!("eid_serve_{name}"), "counter", help, counter.load(Relaxed));
        }
        figure(
            "eid_serve_open_connections",
            "gauge",
            "Connections now.",
            self.open.load(Relaxed),
        );
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
