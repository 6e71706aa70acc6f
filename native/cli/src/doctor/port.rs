//! The step that finds the routes to the distribution port of a container.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{
    own_container, published, route, Binding, Bridge, Container, ContainerRef, Description, Engine, Error, Route,
    RouteKind,
};
use serde_json::{json, Value};
use tokio::time::timeout;

use super::report::{Passed, StepError};

/// How to dial the node.
pub struct DialPlan {
    /// The routes to try, best first. There is at least one.
    pub routes: Vec<Route>,
    /// The distribution port in the container.
    pub erlang_port: u16,
    /// The container of the node.
    pub target: Container,
}

/// Finds the routes. Only the same engine knows whether this process runs beside the container.
pub async fn plan(
    engine: &Engine,
    described: &Description,
    erlang_port: u16,
    host: IpAddr,
    limit: Duration,
) -> Result<Passed<DialPlan>, StepError> {
    let target = &described.container;
    let own = match own_container().and_then(ContainerRef::from_id) {
        Some(own) => timeout(limit, engine.inspect(&own)).await.ok().and_then(Result::ok),
        None => None,
    };
    let first = route(target, own.as_ref(), erlang_port, host, Bridge::Preferred)
        .map_err(|error| explain(&error, described, erlang_port, host))?;
    let mut routes = vec![first];
    // If a bridge does not answer, a node dials the published port.
    if first.kind == RouteKind::Bridge {
        if let Ok(to) = published(&target.bindings, erlang_port, host) {
            let kind = RouteKind::Published;
            routes.push(Route { kind, to });
        }
    }
    let bindings: Vec<&Binding> = of_port(&target.bindings, erlang_port).collect();
    let to = first.to;
    let sentence = match first.kind {
        RouteKind::Loopback => format!("it is this container, so at {to}"),
        RouteKind::Host => format!("it uses its host's network, where nothing needs to be published: at {to}"),
        RouteKind::Bridge if bindings.is_empty() => {
            format!("not published, but it shares a Docker network with this container: at {to}")
        }
        RouteKind::Bridge => format!(
            "it shares a Docker network with this container: at {to}; published on {}",
            addresses(&bindings)
        ),
        RouteKind::Published => format!("{erlang_port} is published on {}", addresses(&bindings)),
    };
    let listed = |binding: &&Binding| json!({"address": binding.host_ip, "port": binding.host_port});
    let bindings: Vec<Value> = bindings.iter().map(listed).collect();
    Ok(Passed {
        sentence,
        detail: json!({"erlang_port": erlang_port, "route": first.kind.name(), "published": bindings}),
        value: DialPlan {
            routes,
            erlang_port,
            target: target.clone(),
        },
    })
}

fn explain(error: &Error, described: &Description, erlang_port: u16, host: IpAddr) -> StepError {
    let all = &described.container.bindings;
    let ours: Vec<&Binding> = of_port(all, erlang_port).collect();
    let host = host.to_canonical();
    let publish = match host {
        IpAddr::V4(host) => format!("docker run -p {host}::{erlang_port}"),
        IpAddr::V6(host) => format!("docker run -p '[{host}]::{erlang_port}'"),
    };
    let failed = StepError::docker(error);
    match error {
        Error::NotPublished => {
            let is_udp = all.iter().any(|b| !b.tcp && b.container_port == erlang_port);
            let exposed = if is_udp {
                " for TCP, only for UDP"
            } else if described.ports.contains(&erlang_port) {
                ", only exposed, which lets nobody in"
            } else {
                ""
            };
            let others: BTreeSet<u16> = all.iter().filter(|b| b.tcp).map(|b| b.container_port).collect();
            let others: Vec<String> = others.iter().map(u16::to_string).collect();
            let (others, or) = match others.join(", ") {
                none if none.is_empty() => (String::new(), String::new()),
                some => (
                    format!("; published are {some}"),
                    ", or say with --erlang-port on which other one its node listens".to_owned(),
                ),
            };
            failed
                .message(format!(
                    "port {erlang_port} of the container is not published{exposed}{others}"
                ))
                .advice(format!("start it anew with {publish}{or}"))
        }
        Error::PublishedOnLoopback => failed
            .message(format!(
                "port {erlang_port} is published on {} only, where no other host gets",
                addresses(&ours)
            ))
            .advice(format!("start it anew with {publish}")),
        Error::PublishedElsewhere => failed
            .message(format!(
                "port {erlang_port} is published on {}, but not on {host}",
                addresses(&ours)
            ))
            .advice(format!(
                "start it anew with {publish}, or name the node after an address that it is published on"
            )),
        _ => failed,
    }
}

fn of_port(bindings: &[Binding], erlang_port: u16) -> impl Iterator<Item = &Binding> {
    bindings
        .iter()
        .filter(move |b| b.tcp && b.container_port == erlang_port)
}

/// Formats bindings as `192.0.2.1:32768 and [::]:32768`, with `*` for all addresses.
fn addresses(bindings: &[&Binding]) -> String {
    let address = |binding: &&Binding| match binding.host_ip {
        Some(IpAddr::V4(ip)) => format!("{ip}:{}", binding.host_port),
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{}", binding.host_port),
        None => format!("*:{}", binding.host_port),
    };
    let addresses: Vec<String> = bindings.iter().map(address).collect();
    addresses.join(" and ")
}
