//! The steps that ask the host's Docker API: whether it answers, whether it has the container, and whether that runs.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{ConnectError, ContainerRef, Description, Engine, Error};
use serde_json::{json, Value};

use super::report::{Passed, StepError};
use super::suggest;
use crate::args::{in_time, EngineOptions};

/// Connects to the engine of a host, and closes the connection.
pub async fn reach(options: &EngineOptions, host: &str, ip: IpAddr) -> Result<Passed<Engine>, StepError> {
    let engine = options.engine(host, ip).map_err(|error| {
        StepError::docker(&error)
            .advice("give --engine as tcp://{host}:4243, https://{host}:2376 or unix:///var/run/docker.sock")
    })?;
    let at = engine.endpoint().to_string();
    engine
        .connect()
        .await
        .map_err(|unconnected| unreached(&at, &unconnected))?;
    let is_tls = at.starts_with("https://");
    // In TLS 1.3 only an answer shows whether the engine accepted the client's certificate.
    if is_tls {
        let error = in_time(options.timeout(), engine.ping()).await.err();
        if let Some(error) = error.filter(|error| error.detail().is_some()) {
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

fn unreached(at: &str, ConnectError { kind, error }: &ConnectError) -> StepError {
    let why = error.detail().unwrap_or("no answer in time");
    let failed = StepError::docker(error).message(format!("the Docker API at {at} can't be reached: {why}"));
    match kind {
        ErrorKind::ConnectionRefused => failed.message(format!("nobody listens at {at}: {why}")).advice(
            "start the Docker daemon there and let it listen at this address (dockerd -H), or say with --engine where its API is",
        ),
        ErrorKind::TimedOut => failed.message(format!("{at} does not answer: a firewall drops the packets, or the host is down")).advice(
            "see with ping whether the host is up, and open this port in its firewall for this host",
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => failed.message(format!("there is no way to {at}: {why}")).advice(
            "check the address after the @ of the node's name, that the host is up, and the routes of this one",
        ),
        _ if at.starts_with("https://") => failed.advice(
            "compare ca.pem, cert.pem and key.pem in --certs with what dockerd was given as --tlscacert and --tlscert, the \
             host in the node's name with the names in the engine's certificate, and the token in --token-file with that of eid \
             serve; an engine without TLS is --engine tcp://{host}:4243",
        ),
        _ => failed,
    }
}

/// Greets the engine.
pub async fn greet(engine: &Engine, container: &ContainerRef, limit: Duration) -> Result<Passed<()>, StepError> {
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
        // A proxy may refuse the greeting and pass the other requests.
        Err(Error::Refused { status, .. }) if answers(engine, container, status, limit).await => Ok(Passed {
            value: (),
            sentence: format!(
                "its greeting is refused (status {status}), but it answers; asked in its own API version"
            ),
            detail: json!({"server": Value::Null, "api_version": Value::Null}),
        }),
        Err(error) => {
            let failed = StepError::docker(&error);
            Err(match &error {
                Error::Refused { status: 400, message } if message.contains("HTTPS") => failed
                    .message(format!("{at} wants TLS: {message}"))
                    .advice("give --engine https://{host}:PORT, and with --certs the folder of ca.pem, cert.pem and key.pem"),
                Error::Refused { status: 404, message } => failed
                    .message(format!(
                        "what answers at {at} is no Docker engine, which would know what a ping is: status 404, {message}"
                    ))
                    .advice("check what listens at the address that --engine says; a proxy has to allow GET of /_ping"),
                Error::Refused {
                    status: status @ 300..=399,
                    message,
                } => failed.message(format!(
                    "what answers at {at} sends this host elsewhere, which no Docker engine does: status {status}, {message}"
                )),
                Error::Refused { status, message } if message.starts_with('<') => failed.message(format!(
                    "{at} refuses with status {status} and a page of HTML, which no engine sends, but a proxy or web server: {message}"
                )),
                Error::Refused {
                    status: 401 | 403,
                    message,
                } => failed.message(format!("{at} does not let this host ask: {message}")),
                Error::BadResponse(why) => failed.message(format!("what answers at {at} is no Docker engine: {why}")),
                Error::Timeout => failed
                    .message(format!("{at} takes the connection, and then does not answer in time"))
                    .advice("see whether docker ps answers on that host; if not, its daemon hangs: read its log, start it anew"),
                _ => failed,
            })
        }
    }
}

async fn answers(engine: &Engine, container: &ContainerRef, greeting: u16, limit: Duration) -> bool {
    match in_time(limit, engine.inspect(container)).await {
        Ok(_) => true,
        // A web server answers 404 to every path.
        Err(Error::NoSuchContainer) => greeting != 404,
        Err(_) => false,
    }
}

/// Inspects the container.
pub async fn find(
    engine: &Engine,
    container: &ContainerRef,
    limit: Duration,
) -> Result<Passed<Description>, StepError> {
    let described = match in_time(limit, engine.describe(container)).await {
        Ok(described) => described,
        Err(Error::NoSuchContainer) => return Err(missing(engine, container, limit).await),
        Err(error) => return Err(StepError::docker(&error)),
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

async fn missing(engine: &Engine, container: &ContainerRef, limit: Duration) -> StepError {
    let failed = StepError::docker(&Error::NoSuchContainer);
    let at = engine.endpoint();
    let failed = failed.message(format!("the engine at {at} has no container {container}"));
    // A proxy may refuse the list.
    let Ok(all) = in_time(limit, engine.list_all()).await else {
        return failed;
    };
    let is_beginning = |id: &String| id.starts_with(container.as_str());
    let begins = all.iter().filter(|one| is_beginning(&one.id)).count();
    match suggest::similar(container, &all) {
        Some(_) if begins == 1 && !container.is_id() => {
            let found = all
                .iter()
                .find(|one| is_beginning(&one.id))
                .map(suggest::title)
                .unwrap_or_default();
            failed.advice(format!(
                "did you mean {found}? A node's name has at least 12 digits of the ID"
            ))
        }
        Some(_) if begins > 1 => failed.advice(format!(
            "the IDs of {begins} containers begin like that; a node's name has at least 12 digits of the ID"
        )),
        Some(alike) => failed.advice(format!("did you mean {alike}?")),
        None => {
            let count = match all.len() {
                0 => "it has no containers at all".to_owned(),
                1 => "its only container is not called like that".to_owned(),
                many => format!("none of its {many} containers is called like that"),
            };
            failed.advice(format!(
                "{count}: it may have been replaced under a new ID, or run on another host; compare docker ps -a"
            ))
        }
    }
}

/// Checks that the container runs.
pub fn running(described: &Description) -> Result<Passed<()>, StepError> {
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
    let failed = StepError::docker(&Error::NotRunning).advice(format!(
        "read docker logs {id} on that host for why it stopped, and start it with docker start {id}"
    ));
    if state == "paused" {
        return Err(failed
            .message("it is paused, so that its node does not answer")
            .advice(format!("docker unpause {id} on that host lets it go on")));
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
        "created" => failed
            .message(format!("it has been created, but never started{why}"))
            .advice(format!("start it with docker start {id} on that host")),
        "restarting" => failed
            .message(format!(
                "it ends again and again, last time{when}{code}, and waits to be started anew{why}"
            ))
            .advice(format!("read docker logs {id} on that host for why it ends")),
        "" => failed.message(format!("it does not run{why}")),
        _ if finished.is_some() => failed.message(format!("it ended{when}{code}{why}")),
        other => failed.message(format!("it does not run, but is {other}{why}")),
    })
}

/// Explains the common exit statuses. From 129 on, they are 128 and the number of a signal.
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
