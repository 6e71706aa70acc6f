//! The steps about the node itself: its name, the address of its host, the handshake and the cookie.

use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{NodeName, RouteKind};
use serde_json::json;
use tokio::net::TcpStream;

use super::cookie::Cookie;
use super::handshake::{Handshake, HandshakeError, Introduction};
use super::port::DialPlan;
use super::report::{Passed, StepError};
use super::suggest::explain_bad_name;
use super::wire::{Challenge, Status};
use crate::args::NodeOptions;
use crate::output::Failure;

/// Parses the node name.
pub fn parse(text: &str) -> Result<Passed<NodeName>, StepError> {
    let name = NodeName::parse(text).map_err(|error| {
        let why = explain_bad_name(text);
        StepError::docker(&error)
            .message(format!("this is no node name of the form Container@Host: {why}"))
            .advice(
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

/// Resolves the host.
pub async fn resolve(options: &NodeOptions, host: &str, limit: Duration) -> Result<Passed<IpAddr>, StepError> {
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
        Err(failure) => Err(explain_dns(failure, options, host, limit).await),
    }
}

async fn explain_dns(failure: Failure, options: &NodeOptions, host: &str, limit: Duration) -> StepError {
    let other = NodeOptions {
        inet6: !options.inet6,
        ..options.clone()
    };
    let (family, carrier) = if other.inet6 {
        ("IPv6", "with --inet6")
    } else {
        ("IPv4", "without --inet6")
    };
    // If DNS does not answer, a second query would only wait again.
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
    StepError {
        error: failure.name(),
        sentence,
        advice,
        status: failure.status(),
    }
}

/// Does the handshake up to the node's introduction.
pub async fn introduce(
    stream: TcpStream,
    introduction: Introduction<'_>,
    asked: &str,
    plan: &DialPlan,
    limit: Duration,
) -> Result<Passed<(Handshake, Challenge)>, StepError> {
    let mut handshake = Handshake::new(stream, limit);
    let challenge = handshake
        .introduce(introduction)
        .await
        .map_err(|error| explain(error, introduction, plan))?;
    let Challenge {
        flags, creation, name, ..
    } = &challenge;
    if name != asked {
        let is_same = is_alias(name, asked, plan);
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
        return Err(StepError::unreachable(
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

/// Returns whether both names mean one container on one host: by name, or by ID with another length.
fn is_alias(name: &str, asked: &str, plan: &DialPlan) -> bool {
    match (NodeName::parse(name), NodeName::parse(asked)) {
        (Ok(name), Ok(asked)) => name.host() == asked.host() && plan.target.is_meant_by(name.container()),
        _ => false,
    }
}

/// Checks that the node has this cookie.
pub async fn prove(
    (handshake, challenge): (Handshake, Challenge),
    cookie: &Cookie,
    plan: &DialPlan,
) -> Result<Passed<()>, StepError> {
    match handshake.prove(cookie, &challenge).await {
        Ok(()) => Ok(Passed {
            value: (),
            sentence: "the cookie is the same on both sides".to_owned(),
            detail: json!({}),
        }),
        Err(HandshakeError::WrongCookie) => Err(StepError::unreachable(
            "bad_cookie",
            format!("{} has another cookie than the one in the file", challenge.name),
            "start all nodes with the same -setcookie, or with the same ~/.erlang.cookie; that node has logged an invalid challenge reply",
        )),
        Err(HandshakeError::WrongAcknowledgement) => Err(StepError::unreachable(
            "bad_cookie",
            format!("{} takes the cookie, but can't show that it has it", challenge.name),
            "the peer is not the node that it claims to be: check what listens at that port",
        )),
        Err(error) => Err(explain(error, Introduction::Host(""), plan)),
    }
}

fn explain(error: HandshakeError, introduction: Introduction<'_>, plan: &DialPlan) -> StepError {
    let DialPlan {
        erlang_port,
        target,
        routes,
    } = plan;
    let container = target.short_id().unwrap_or(&target.id);
    let fault = |sentence: String, advice: String| StepError::unreachable("handshake", sentence, advice);
    let what_listens = || {
        format!("see with docker top {container} what runs in the container, and on which port its node listens (--erlang-port)")
    };
    let name = match introduction {
        Introduction::Host(_) => "of the same name".to_owned(),
        Introduction::Name(name) => format!("named {name}"),
    };
    match error {
        // Docker's proxy accepts connections even if no process listens in the container.
        HandshakeError::Closed(0) if routes.iter().any(|route| route.kind == RouteKind::Published) => fault(
            "it takes the connection, and closes it without a word".to_owned(),
            format!(
                "read docker logs {container} for whether its node is up and listens on port {erlang_port}: where nobody listens, \
                 Docker's own proxy takes the connection and drops it; so does a node that lets in certain addresses only"
            ),
        ),
        HandshakeError::Closed(0) => fault("it takes the connection, and closes it without a word".to_owned(), what_listens()),
        HandshakeError::Closed(_) => fault(
            "it closes the connection in the middle of the handshake".to_owned(),
            format!("read docker logs {container} for why"),
        ),
        HandshakeError::Silent(0) => fault(
            "it takes the connection, but says nothing: what listens there is no Erlang node, or hangs".to_owned(),
            what_listens(),
        ),
        HandshakeError::Silent(_) => fault(
            "it falls silent in the middle of the handshake: the node hangs, or is very busy".to_owned(),
            format!("see with docker top {container} and docker stats {container} what it does"),
        ),
        HandshakeError::Status(Status::NotAllowed) => StepError::unreachable(
            "not_allowed",
            match introduction {
                Introduction::Host(_) => "the node lets in nodes of certain names only".to_owned(),
                Introduction::Name(name) => format!("the node does not let in {name}"),
            },
            "net_kernel:allow/1 has told it whom to let in: give one of these names with --name; docker logs says if it is for \
             another reason",
        ),
        HandshakeError::Status(Status::Nok) => fault(
            format!("the node is just connecting to one {name} itself"),
            "try again in a moment, or with another --name".to_owned(),
        ),
        HandshakeError::Status(Status::Alive) => fault(
            format!("the node is already connected with one {name}"),
            "give another --name, which no node has, or none".to_owned(),
        ),
        HandshakeError::Status(Status::Other(text)) => fault(
            format!("it answers \"{text}\", which no Erlang says"),
            what_listens(),
        ),
        HandshakeError::Status(status) => fault(format!("it answers {status:?} out of turn"), what_listens()),
        HandshakeError::Tls => fault(
            "it speaks TLS: this looks like a node with -proto_dist inet_tls, or a web server".to_owned(),
            "this command can't look into that: connect from a node with -proto_dist inet_tls, and read the log of both".to_owned(),
        ),
        HandshakeError::NotErlang(text) if text.starts_with("HTTP/") => fault(
            format!("a web server listens there, and no Erlang node: \"{text}\""),
            what_listens(),
        ),
        HandshakeError::NotErlang(text) => fault(
            format!("something else than an Erlang node listens there: it says \"{text}\""),
            what_listens(),
        ),
        HandshakeError::WrongCookie | HandshakeError::WrongAcknowledgement => fault("it has another cookie".to_owned(), String::new()),
        HandshakeError::Broken(why) => fault(format!("the connection breaks: {why}"), "check the network between the two hosts".to_owned()),
    }
}
