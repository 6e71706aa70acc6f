//! What holds of everything that is accepted, whatever has been sent. Each function takes any bytes and panics if it does
//! not hold; mutated samples (`mutations.rs`) and the coverage-guided targets in `native/fuzz` go through the same ones.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hyper::StatusCode;

use crate::api::events::{ContainerEvent, Lines};
use crate::api::wire::{Inspected, Listed};
use crate::container::MAX_LABELS;
use crate::directory::listing::running;
use crate::directory::snapshot::Snapshot;
use crate::naming::gateway;
use crate::{
    is_full_id, is_host, published, route, Bridge, Container, ContainerRef, Description, Endpoint, Error, Filter,
    ListScope, NodeName, RouteKind,
};

const HOSTS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    // 192.0.2.1 in IPv6's notation
    IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201)),
];

const ERLANG_PORT: u16 = 12345;

/// The answer to an inspect, and to one that was refused with this.
pub fn inspect(data: &[u8]) {
    refusal(data);
    if let Ok(inspected) = serde_json::from_slice::<Inspected>(data) {
        let found = Container::from(inspected);
        container(&found);
        // Of what it skips, this reads more, so that it may refuse it.
        if let Ok(value) = serde_json::from_slice(data) {
            let described = Description::read(found.clone(), &value);
            assert!(described.ports.is_sorted() && (described.is_node(ERLANG_PORT) || !found.host_network));
        }
        // As the watcher takes it.
        let mut snapshot = Snapshot::default();
        snapshot.invalidate(&found.id);
        snapshot.refresh(&found.id, snapshot.mark(), Some(found.clone()));
        kept(&snapshot, &found);
    }
}

/// The answer to a list, twice.
pub fn list(data: &[u8]) {
    let Ok(list) = serde_json::from_slice::<Vec<Listed>>(data) else {
        return;
    };
    let list: Vec<Container> = list.into_iter().map(Container::from).collect();
    let mut snapshot = Snapshot::default();
    let mark = snapshot.mark();
    let to_ask = snapshot.replace(mark, list.clone());
    assert!(snapshot.len() <= list.len());
    assert!(to_ask.ids.iter().all(|id| is_full_id(id)));
    for found in &list {
        container(found);
        kept(&snapshot, found);
    }
    let ids: HashSet<&str> = list.iter().map(|container| container.id.as_str()).collect();
    if ids.len() == list.len() {
        let before = snapshot.len();
        let all = Filter::Name("*".to_owned());
        let matching = snapshot.matching(&all);
        // Where events are refused, lists alone tell the same.
        let seen = |it: &Arc<Container>| (it.id.clone(), it.name.clone(), it.labels.clone());
        let polled = running(list.clone());
        assert!(polled.iter().map(seen).eq(matching.iter().map(seen)));
        assert!(
            snapshot.replace(snapshot.mark(), list.clone()).unexplained.is_empty(),
            "the same again"
        );
        assert_eq!(snapshot.len(), before);
        assert_eq!(snapshot.matching(&all), matching);
        for it in &matching {
            snapshot.invalidate(&it.id);
        }
        assert_eq!(snapshot.matching(&all), matching);
    }
    snapshot.replace(snapshot.mark(), vec![]);
    assert_eq!(snapshot.len(), 0);
}

/// Events, in whatever pieces they come.
pub fn events(data: &[u8]) {
    let bound = 4096;
    let changed_in = |size: usize| {
        let mut lines = Lines::new(bound);
        let mut changed = vec![];
        for piece in data.chunks(size.max(1)) {
            for event in lines.read::<ContainerEvent>(piece)? {
                changed.extend(event.changed(ListScope::All)?);
            }
        }
        Ok(changed)
    };
    let whole: Result<Vec<String>, Error> = changed_in(data.len());
    if let Ok(changed) = &whole {
        assert!(changed.iter().all(|id| is_full_id(id)));
    }
    // The first byte says how large the pieces are.
    let size = data.first().map_or(1, |&byte| 1 + usize::from(byte) % 64);
    // The stream is read as far as it is known, so several errors may come in another order.
    assert_eq!(whole.ok(), changed_in(size).ok(), "in pieces of {size}");
}

/// The routes of IPv4 and, after an empty line, of IPv6.
pub fn gateway(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (ipv4, ipv6) = text.split_once("\n\n").unwrap_or((text, ""));
    if let Some(gateway) = gateway::gateway(ipv4, || ipv6.to_owned()) {
        assert!(!gateway.is_unspecified() && is_host(&gateway.to_string()), "{gateway}");
    }
}

/// A template of an endpoint, and in the next line the host that it is for.
pub fn endpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (template, host) = text.split_once('\n').unwrap_or((text, "docker-host.example"));
    let for_hosts = HOSTS.iter().filter(|_| is_host(host));
    let endpoints = for_hosts.filter_map(|ip| Endpoint::for_host(template, host, *ip).ok());
    for endpoint in endpoints.chain(Endpoint::parse(template)) {
        let text = endpoint.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        // What `https` is to be dialled at is not part of the text.
        let again = Endpoint::parse(&text).map(|endpoint| endpoint.to_string());
        assert_eq!(again.as_ref(), Ok(&text));
        let uri = endpoint.uri("/v1.41/_ping");
        assert_ne!(uri.port_u16(), Some(0), "{uri:?}");
        let uri = uri.to_string();
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri:?}");
        assert!(uri.ends_with("/v1.41/_ping") && !uri.contains('@'), "{uri:?}");
    }
}

/// A node name.
pub fn node_name(data: &[u8]) {
    let Ok(name) = NodeName::parse(data) else {
        return;
    };
    let (container, host) = (name.container().as_str(), name.host());
    assert_eq!(data, format!("{container}@{host}").as_bytes());
    assert!(data.len() <= 255 && !container.is_empty() && !host.is_empty());
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    assert!(container.bytes().all(is_word));
    assert!(host.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b':')));
    assert!(host.parse::<Ipv6Addr>().is_ok() || !host.contains(':'));
    if name.container().is_id() {
        assert!((12..=64).contains(&container.len()));
    }
}

/// Whatever an engine or a proxy says instead of an answer.
fn refusal(data: &[u8]) {
    match Error::refused(StatusCode::FORBIDDEN, data) {
        Error::Refused { status: 403, message } => {
            assert!((1..=200).contains(&message.chars().count()), "{message:?}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn container(found: &Container) {
    assert!(found.bindings.iter().all(|binding| binding.host_port > 0));
    assert!(found.bindings.is_sorted() && found.attachments.is_sorted());
    assert!(found
        .attachments
        .iter()
        .all(|it| it.ipv4.is_some() || it.ipv6.is_some()));
    assert!(found
        .labels
        .iter()
        .map(|(key, _)| key)
        .is_sorted_by(|one, other| one < other));
    assert!(found.labels.size() <= MAX_LABELS);
    for (key, value) in found.labels.iter() {
        assert_eq!(found.labels.get(key), Some(value));
    }
    assert!(found
        .short_id()
        .is_none_or(|id| id.len() == 12 && found.id.starts_with(id)));
    let other = Container {
        id: String::new(),
        ..found.clone()
    };
    for host in HOSTS {
        for own in [None, Some(found), Some(&other)] {
            for bridge in [Bridge::Preferred, Bridge::LastResort(host), Bridge::Never] {
                if let Ok(route) = route(found, own, ERLANG_PORT, host, bridge) {
                    assert!(found.running);
                    dialled(found, route.kind, route.to, host);
                }
            }
        }
    }
}

fn dialled(found: &Container, kind: RouteKind, to: SocketAddr, host: IpAddr) {
    match kind {
        RouteKind::Loopback => assert!(to.ip().is_loopback() && to.port() == ERLANG_PORT),
        RouteKind::Host => assert!(found.host_network && to == SocketAddr::new(host, ERLANG_PORT)),
        RouteKind::Bridge => {
            let is_there = |ip| match ip {
                IpAddr::V4(ip) => found.attachments.iter().any(|it| it.ipv4 == Some(ip)),
                IpAddr::V6(ip) => found.attachments.iter().any(|it| it.ipv6 == Some(ip)),
            };
            assert!(is_there(to.ip()) && to.port() == ERLANG_PORT);
        }
        RouteKind::Published => {
            assert_eq!(published(&found.bindings, ERLANG_PORT, host), Ok(to));
            assert!(to.ip() == host && to.port() > 0);
        }
    }
}

/// What memory has for a container is meant by its ID and its name.
fn kept(snapshot: &Snapshot, found: &Container) {
    let texts = [ContainerRef::parse(&found.name), ContainerRef::from_id(&found.id)];
    for asked in texts.iter().flatten() {
        if let Some(known) = snapshot.find(asked.as_str()) {
            assert!(known.running && known.is_meant_by(asked), "{asked}: {known:?}");
        }
    }
}
