//! The step that dials the node.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use eid_docker::{Route, RouteKind};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::port::DialPlan;
use super::report::{Passed, StepError};

/// Time limit for a bridge if another route follows, as in a node.
const BRIDGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects by the first route that works.
pub async fn dial(plan: &DialPlan, limit: Duration) -> Result<Passed<TcpStream>, StepError> {
    let mut failed = String::new();
    let mut first_error = None;
    for (number, route) in plan.routes.iter().enumerate() {
        let is_last = number + 1 == plan.routes.len();
        let limit = if is_last { limit } else { limit.min(BRIDGE_TIMEOUT) };
        match connect(route.to, limit).await {
            Ok(stream) => {
                return Ok(Passed {
                    value: stream,
                    sentence: format!("{} answers, by route {}{failed}", route.to, route.kind.name()),
                    detail: json!({"route": route.kind.name(), "address": route.to.ip(), "port": route.to.port()}),
                })
            }
            Err(error) => {
                let why = explain(route, &error, plan);
                failed += &format!("; not by route {}: {}", route.kind.name(), why.sentence);
                first_error.get_or_insert(why);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| StepError::unreachable("dial", "there is nothing to dial", "")))
}

async fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(to)).await;
    let stream = stream.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn explain(route: &Route, error: &io::Error, plan: &DialPlan) -> StepError {
    let Route { kind, to } = route;
    let DialPlan {
        erlang_port, target, ..
    } = plan;
    let container = target.short_id().unwrap_or(&target.id);
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            let place = match kind {
                RouteKind::Host => "on that host",
                RouteKind::Loopback => "in this container",
                RouteKind::Bridge | RouteKind::Published => "in the container",
            };
            StepError::unreachable(
                "dial",
                format!("{to} refuses the connection: no process listens on port {erlang_port} {place}"),
                format!(
                    "read docker logs {container} for whether its node is up; it has to run with -proto_dist eid_tcp, and with \
                     -kernel erlang_port as here with --erlang-port (a firewall that rejects looks the same)"
                ),
            )
        }
        ErrorKind::TimedOut => StepError::unreachable(
            "dial",
            format!("{to} does not answer: a firewall drops the packets"),
            match kind {
                RouteKind::Published => {
                    "let this host through to that port in the firewall of the node's host (Docker's ports are filtered in the chain \
                     DOCKER-USER, not in INPUT), and in any between"
                }
                RouteKind::Bridge => "let containers of this network reach each other (the network's option enable_icc)",
                RouteKind::Host | RouteKind::Loopback => "let this host through to that port in the firewall of the node's host",
            },
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => StepError::unreachable(
            "dial",
            format!("there is no route to {to}"),
            "check that the node's host is up, and the routes of this one; a firewall that rejects can look the same",
        ),
        _ => StepError::unreachable("dial", format!("{to} can't be dialled: {error}"), "check the network between the two hosts"),
    }
}
