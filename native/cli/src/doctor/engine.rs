//! The steps that ask the host's Docker API: is it there, what is it, has it the container, does that run?

use std::future::Future;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{ConnectError, ContainerRef, Description, Engine, Error};
use serde_json::{json, Value};
use tokio::time::timeout;

use super::fault::Fault;
use super::names;
use super::report::Passed;
use crate::engine_options::EngineOptions;

/// Connects to the engine of a host, and closes that again.
pub async fn reach(options: &EngineOptions, host: &str, ip: IpAddr) -> Result<Passed<Engine>, Fault> {
    let engine = options.engine(host, ip).map_err(|error| {
        Fault::docker(&error)
            .advising("give --engine as tcp://{host}:4243, https://{host}:2376 or unix:///var/run/docker.sock")
    })?;
    let at = engine.endpoint().to_string();
    engine
        .connect()
        .await
        .map_err(|unconnected| unreached(&at, &unconnected))?;
    let is_tls = at.starts_with("https://");
    // Only an answer shows whether the certificate of this end was good enough.
    if is_tls {
        if let Err(error @ (Error::Unreachable(..) | Error::Config(..))) =
            in_time(options.timeout(), engine.ping()).await
        {
            let kind = ErrorKind::Other;
            return Err(unreached(&at, &ConnectError { kind, error }));
        }
    }
    Ok(Passed {
        value: engine,
        sentence: format!(
            "{at} takes connections{}",
            if is_tls { ", and both certificates are good" } else { "" }
        ),
        detail: json!({ "engine": at }),
    })
}

fn unreached(at: &str, ConnectError { kind, error }: &ConnectError) -> Fault {
    let why = match error {
        Error::Unreachable(_, detail) | Error::Config(_, detail) | Error::Defect(detail) => detail.as_str(),
        _ => "no answer in time",
    };
    let fault = Fault::docker(error).saying(format!("the Docker API at {at} can't be reached: {why}"));
    match kind {
        ErrorKind::ConnectionRefused => fault.saying(format!("nobody listens at {at}: {why}")).advising(
            "start the Docker daemon there and let it listen at this address (dockerd -H), or say with --engine where its API is",
        ),
        ErrorKind::TimedOut => fault.saying(format!("{at} does not answer: a firewall drops the packets, or the host is down")).advising(
            "see with ping whether the host is up, and open this port in its firewall for this host",
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => fault.saying(format!("there is no way to {at}: {why}")).advising(
            "check the address after the @ of the node's name, that the host is up, and the routes of this one",
        ),
        _ if at.starts_with("https://") => fault.advising(
            "compare ca.pem, cert.pem and key.pem in --certs with what dockerd was given as --tlscacert and --tlscert, the \
             host in the node's name with the names in the engine's certificate, and the token in --token-file with that of eid \
             serve; an engine without TLS is --engine tcp://{host}:4243",
        ),
        _ => fault,
    }
}

/// Asks what it is.
pub async fn greet(engine: &Engine, container: &ContainerRef, limit: Duration) -> Result<Passed<()>, Fault> {
    let at = engine.endpoint();
    match in_time(limit, engine.ping()).await {
        Ok(greeting) => {
            let server = greeting.server.as_deref().unwrap_or("an engine that gives no name");
            let version = match &greeting.version {
                Some(version) => format!("asked in API version {version}"),
                None => "asked in its own API version".to_owned(),
            };
            Ok(Passed {
                value: (),
                sentence: format!("{server}, {version}"),
                detail: json!({"server": greeting.server, "api_version": greeting.version}),
            })
        }
        // A proxy may keep the greeting to itself and pass what matters.
        Err(Error::Refused { status, .. }) if answers(engine, container, status, limit).await => Ok(Passed {
            value: (),
            sentence: format!(
                "its greeting is refused (status {status}), but it answers; asked in its own API version"
            ),
            detail: json!({"server": Value::Null, "api_version": Value::Null}),
        }),
        Err(error) => {
            let fault = Fault::docker(&error);
            Err(match &error {
                Error::Refused { status: 400, message } if message.contains("HTTPS") => fault
                    .saying(format!("{at} wants TLS: {message}"))
                    .advising("give --engine https://{host}:PORT, and with --certs the folder of ca.pem, cert.pem and key.pem"),
                Error::Refused { status: 404, message } => fault
                    .saying(format!(
                        "what answers at {at} is no Docker engine, which would know what a ping is: status 404, {message}"
                    ))
                    .advising("check what listens at the address that --engine says; a proxy has to allow GET of /_ping"),
                Error::Refused {
                    status: status @ 300..=399,
                    message,
                } => fault.saying(format!(
                    "what answers at {at} sends this host elsewhere, which no Docker engine does: status {status}, {message}"
                )),
                Error::Refused { status, message } if message.starts_with('<') => fault.saying(format!(
                    "{at} refuses with status {status} and a page of HTML, which no engine sends, but a proxy or web server: {message}"
                )),
                Error::Refused {
                    status: 401 | 403,
                    message,
                } => fault.saying(format!("{at} does not let this host ask: {message}")),
                Error::BadResponse(why) => fault.saying(format!("what answers at {at} is no Docker engine: {why}")),
                Error::Timeout => fault
                    .saying(format!("{at} takes the connection, and then does not answer in time"))
                    .advising("see whether docker ps answers on that host; if not, its daemon hangs: read its log, start it anew"),
                _ => fault,
            })
        }
    }
}

async fn answers(engine: &Engine, container: &ContainerRef, greeting: u16, limit: Duration) -> bool {
    match in_time(limit, engine.inspect(container)).await {
        Ok(_) => true,
        // A web server finds nothing, whatever it is asked for.
        Err(Error::NoSuchContainer) => greeting != 404,
        Err(_) => false,
    }
}

/// Asks for the container.
pub async fn find(engine: &Engine, container: &ContainerRef, limit: Duration) -> Result<Passed<Description>, Fault> {
    let described = match in_time(limit, engine.describe(container)).await {
        Ok(described) => described,
        Err(Error::NoSuchContainer) => return Err(missing(engine, container, limit).await),
        Err(error) => return Err(Fault::docker(&error)),
    };
    let found = &described.container;
    let id = found.short_id().unwrap_or(&found.id);
    let image = match &described.image {
        None => String::new(),
        Some(image) => format!(", from image {image}"),
    };
    Ok(Passed {
        sentence: format!("{id}, named {}{image}", found.name),
        detail: json!({"id": found.id, "name": found.name, "image": described.image}),
        value: described,
    })
}

async fn missing(engine: &Engine, container: &ContainerRef, limit: Duration) -> Fault {
    let fault = Fault::docker(&Error::NoSuchContainer);
    let at = engine.endpoint();
    let fault = fault.saying(format!("the engine at {at} has no container {container}"));
    // An engine or a proxy that does not list is no news.
    let Ok(all) = in_time(limit, engine.list_all()).await else {
        return fault;
    };
    let is_beginning = |id: &String| id.starts_with(container.as_str());
    let begins = all.iter().filter(|one| is_beginning(&one.id)).count();
    match names::like(container, &all) {
        Some(_) if begins == 1 && !container.is_id() => {
            let found = all
                .iter()
                .find(|one| is_beginning(&one.id))
                .map(names::title)
                .unwrap_or_default();
            fault.advising(format!(
                "did you mean {found}? A node's name has at least 12 digits of the ID"
            ))
        }
        Some(_) if begins > 1 => fault.advising(format!(
            "the IDs of {begins} containers begin like that; a node's name has at least 12 digits of the ID"
        )),
        Some(alike) => fault.advising(format!("did you mean {alike}?")),
        None => {
            let count = match all.len() {
                0 => "it has no containers at all".to_owned(),
                1 => "its only container is not called like that".to_owned(),
                many => format!("none of its {many} containers is called like that"),
            };
            fault.advising(format!(
                "{count}: it may have been replaced under a new ID, or run on another host; compare docker ps -a"
            ))
        }
    }
}

/// Whether the container runs.
pub fn running(described: &Description) -> Result<Passed<()>, Fault> {
    let Description {
        container,
        state,
        exit_code,
        finished,
        error,
        out_of_memory,
        ..
    } = described;
    let id = container.short_id().unwrap_or(&container.id);
    let fault = Fault::docker(&Error::NotRunning).advising(format!(
        "read docker logs {id} on that host for why it stopped, and start it with docker start {id}"
    ));
    if state == "paused" {
        return Err(fault
            .saying("it is paused, so that its node answers nobody")
            .advising(format!("docker unpause {id} on that host lets it go on")));
    }
    if container.running {
        return Ok(Passed {
            value: (),
            sentence: if state.is_empty() {
                "running".to_owned()
            } else {
                state.clone()
            },
            detail: json!({ "state": state }),
        });
    }
    let code = exit_code.map_or_else(String::new, |code| {
        format!(" with exit status {code}{}", meaning(code, *out_of_memory))
    });
    let when = finished
        .as_deref()
        .map_or_else(String::new, |time| format!(" at {}", to_the_second(time)));
    let why = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    Err(match state.as_str() {
        "created" => fault
            .saying(format!("it has been created, but never started{why}"))
            .advising(format!("start it with docker start {id} on that host")),
        "restarting" => fault
            .saying(format!(
                "it ends again and again, last time{when}{code}, and waits to be started anew{why}"
            ))
            .advising(format!("read docker logs {id} on that host for why it ends")),
        "" => fault.saying(format!("it does not run{why}")),
        _ if finished.is_some() => fault.saying(format!("it ended{when}{code}{why}")),
        other => fault.saying(format!("it does not run, but is {other}{why}")),
    })
}

/// Of the statuses that people meet (128 and the signal's number).
fn meaning(code: i64, out_of_memory: bool) -> &'static str {
    match code {
        _ if out_of_memory => " (the kernel ended it: out of memory)",
        137 => " (killed)",
        143 => " (it was told to end)",
        139 => " (it crashed)",
        126 | 127 => " (its command can't be run)",
        _ => "",
    }
}

/// `2026-01-02T03:04:05.678Z` without the fraction.
fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{seconds}{zone}")
        }
        None => time.to_owned(),
    }
}

/// Each step has the whole time for itself.
async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, asked).await.unwrap_or(Err(Error::Timeout))
}
