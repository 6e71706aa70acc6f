//! The steps at both ends of the way: the name of the node, the address of its host; and the node itself.

use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{NodeName, RouteKind};
use serde_json::json;
use tokio::net::TcpStream;

use super::cookie::Cookie;
use super::fault::Fault;
use super::handshake::{Handshake, Own, Trouble};
use super::names;
use super::port::Ways;
use super::report::Passed;
use super::wire::{Challenge, Status};
use crate::failure::Failure;
use crate::node_options::NodeOptions;

/// Reads the node's name.
pub fn parse(text: &str) -> Result<Passed<NodeName>, Fault> {
    let name = NodeName::parse(text).map_err(|error| {
        let why = names::why_none(text);
        Fault::docker(&error)
            .saying(format!("this is no node name of the form Container@Host: {why}"))
            .advising(
                "a node is named after its container's ID or name and its Docker host, as 0a1b2c3d4e5f@192.168.4.231; docker ps \
                 has both ID and name",
            )
    })?;
    let (container, host) = (name.container(), name.host());
    let kind = if container.is_id() { "by its ID" } else { "by its name" };
    Ok(Passed {
        sentence: format!("container {container} ({kind}), host {host}"),
        detail: json!({"container": container.as_str(), "host": host}),
        value: name,
    })
}

/// Looks its host up.
pub async fn resolve(options: &NodeOptions, host: &str, limit: Duration) -> Result<Passed<IpAddr>, Fault> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Passed {
            value: ip,
            sentence: format!("{host} is an address, so there is nothing to look up"),
            detail: json!({ "address": ip }),
        });
    }
    match options.address(host, limit).await {
        Ok(ip) => Ok(Passed {
            value: ip,
            sentence: format!("{host} has the address {ip}"),
            detail: json!({ "address": ip }),
        }),
        Err(failure) => Err(unknown(failure, options, host, limit).await),
    }
}

async fn unknown(failure: Failure, options: &NodeOptions, host: &str, limit: Duration) -> Fault {
    let other = NodeOptions {
        inet6: !options.inet6,
        ..options.clone()
    };
    let (family, carrier) = if other.inet6 {
        ("IPv6", "with --inet6")
    } else {
        ("IPv4", "without --inet6")
    };
    // Whether it has one of the other kind is no question to a DNS that does not answer.
    let other = match &failure {
        Failure::SlowDns { .. } => None,
        _ => other.address(host, limit).await.ok(),
    };
    let sentence = match &failure {
        Failure::UnknownHost { host, family } => format!("the host {host} has no {family} address"),
        _ => format!("DNS does not answer in time for {host}"),
    };
    let advice = match other {
        Some(ip) => format!("it has the {family} address {ip}: nodes that use that are found {carrier}"),
        None => failure.advice().to_owned(),
    };
    Fault {
        error: failure.name(),
        sentence,
        advice,
        status: failure.status(),
    }
}

/// The handshake up to where the node has said who it is.
pub async fn introduce(
    stream: TcpStream,
    own: Own<'_>,
    asked: &str,
    ways: &Ways,
    limit: Duration,
) -> Result<Passed<(Handshake, Challenge)>, Fault> {
    let mut handshake = Handshake::new(stream, limit);
    let challenge = handshake
        .introduce(own)
        .await
        .map_err(|trouble| troubled(trouble, own, ways))?;
    let Challenge {
        flags, creation, name, ..
    } = &challenge;
    if name != asked {
        let is_same = is_alias(name, asked, ways);
        let who = if is_same {
            "the node in this container has another name"
        } else {
            "another node answers there"
        };
        let instead = if is_same {
            "connect to that name"
        } else {
            "look for that one"
        };
        return Err(Fault::unreached(
            "another_node",
            format!("{who}: it calls itself {name}"),
            format!("{instead}, or start the node in this container with -name {asked}: to Erlang these are two nodes"),
        ));
    }
    Ok(Passed {
        sentence: format!("{name} answers (distribution version 6, creation {creation}); its flags are {flags}"),
        detail: json!({"name": name, "creation": creation, "version": 6, "flags": flags.names()}),
        value: (handshake, challenge),
    })
}

/// Whether this name means the same container on the same host, by its ID in another length or by its name.
fn is_alias(name: &str, asked: &str, ways: &Ways) -> bool {
    match (NodeName::parse(name), NodeName::parse(asked)) {
        (Ok(name), Ok(asked)) => name.host() == asked.host() && ways.target.is_meant_by(name.container()),
        _ => false,
    }
}

/// Whether the node has this cookie.
pub async fn prove(
    (handshake, challenge): (Handshake, Challenge),
    cookie: &Cookie,
    ways: &Ways,
) -> Result<Passed<()>, Fault> {
    match handshake.prove(cookie, &challenge).await {
        Ok(()) => Ok(Passed {
            value: (),
            sentence: "the cookie is the same on both sides".to_owned(),
            detail: json!({}),
        }),
        Err(Trouble::WrongCookie) => Err(Fault::unreached(
            "bad_cookie",
            format!("{} has another cookie than the one in the file", challenge.name),
            "start all nodes with the same -setcookie, or with the same ~/.erlang.cookie; that node has logged an invalid challenge reply",
        )),
        Err(Trouble::WrongAcknowledgement) => Err(Fault::unreached(
            "bad_cookie",
            format!("{} takes the cookie, but can't show that it has it", challenge.name),
            "whoever answers there is not the node that it says it is: check what listens at that port",
        )),
        Err(trouble) => Err(troubled(trouble, Own::Host(""), ways)),
    }
}

fn troubled(trouble: Trouble, own: Own<'_>, ways: &Ways) -> Fault {
    let Ways {
        erlang_port,
        target,
        routes,
    } = ways;
    let container = target.short_id().unwrap_or(&target.id);
    let fault = |sentence: String, advice: String| Fault::unreached("handshake", sentence, advice);
    let what_listens = || {
        format!("see with docker top {container} what runs in the container, and on which port its node listens (--erlang-port)")
    };
    let name = match own {
        Own::Host(_) => "of the same name".to_owned(),
        Own::Name(name) => format!("named {name}"),
    };
    match trouble {
        // The proxy takes connections for a container in which nobody listens.
        Trouble::Closed(0) if routes.iter().any(|route| route.kind == RouteKind::Published) => fault(
            "it takes the connection, and closes it without a word".to_owned(),
            format!(
                "read docker logs {container} for whether its node is up and listens on port {erlang_port}: where nobody listens, \
                 Docker's own proxy takes the connection and drops it; so does a node that lets in certain addresses only"
            ),
        ),
        Trouble::Closed(0) => fault("it takes the connection, and closes it without a word".to_owned(), what_listens()),
        Trouble::Closed(_) => fault(
            "it closes the connection in the middle of the handshake".to_owned(),
            format!("read docker logs {container} for why"),
        ),
        Trouble::Silent(0) => fault(
            "it takes the connection, but says nothing: what listens there is no Erlang node, or hangs".to_owned(),
            what_listens(),
        ),
        Trouble::Silent(_) => fault(
            "it falls silent in the middle of the handshake: the node hangs, or is very busy".to_owned(),
            format!("see with docker top {container} and docker stats {container} what it does"),
        ),
        Trouble::Status(Status::NotAllowed) => Fault::unreached(
            "not_allowed",
            match own {
                Own::Host(_) => "the node lets in nodes of certain names only".to_owned(),
                Own::Name(name) => format!("the node does not let in {name}"),
            },
            "net_kernel:allow/1 has told it whom to let in: give one of these names with --name; docker logs says if it is for \
             another reason",
        ),
        Trouble::Status(Status::Nok) => fault(
            format!("the node is just connecting to one {name} itself"),
            "try again in a moment, or with another --name".to_owned(),
        ),
        Trouble::Status(Status::Alive) => fault(
            format!("the node is already connected with one {name}"),
            "give another --name, which no node has, or none".to_owned(),
        ),
        Trouble::Status(Status::Other(text)) => fault(
            format!("it answers \"{text}\", which no Erlang says"),
            what_listens(),
        ),
        Trouble::Status(status) => fault(format!("it answers {status:?} out of turn"), what_listens()),
        Trouble::Tls => fault(
            "it speaks TLS: this looks like a node with -proto_dist inet_tls, or a web server".to_owned(),
            "this command can't look into that: connect from a node with -proto_dist inet_tls, and read the log of both".to_owned(),
        ),
        Trouble::NoErlang(text) if text.starts_with("HTTP/") => fault(
            format!("a web server listens there, and no Erlang node: \"{text}\""),
            what_listens(),
        ),
        Trouble::NoErlang(text) => fault(
            format!("something else than an Erlang node listens there: it says \"{text}\""),
            what_listens(),
        ),
        Trouble::WrongCookie | Trouble::WrongAcknowledgement => fault("it has another cookie".to_owned(), String::new()),
        Trouble::Broken(why) => fault(format!("the connection breaks: {why}"), "check the network between the two hosts".to_owned()),
    }
}
