//! Runs an engine double as a program, for tests that are not written in Rust.
//!
//! ```text
//! cargo build --example engine-double      # it is target/debug/examples/engine-double then
//! engine-double --listen 127.0.0.5:4243 [--unix /tmp/docker.sock]
//! ```
//!
//! Port 0 means any free port. The program prints `listening on 127.0.0.5:4243`. Then it reads commands. Each command
//! is one JSON object on one line of standard input. The program answers each command with one line, `{"ok":…}` or
//! `{"error":"…"}`. At this moment the change is made and its events are on their way. The program exits when its
//! standard input is closed. From Erlang:
//!
//! ```erlang
//! Port = open_port({spawn_executable, Program}, [{args, ["--listen", "127.0.0.5:4243"]}, {line, 1000000}, binary]),
//! receive {Port, {data, {eol, <<"listening on ", _/binary>>}}} -> ok end,
//! port_command(Port, "{\"do\":\"add\",\"name\":\"db\",\"host_port\":49153}\n"),
//! receive {Port, {data, {eol, <<"{\"ok\":\"", Id:64/binary, "\"}">>}}} -> Id end.
//! ```
//!
//! A `container` is a full ID, a name, or a prefix of an ID. The comments in `mod.rs` explain the commands, and the
//! comments in `misbehaviour.rs` explain the misbehaviours.
//!
//! The field `do` holds the name of the command. These commands change containers:
//!
//! * `add` starts a container and returns its ID. Argument: `name`. Optional arguments: `host_port`, `host_ip`,
//!   `network`, `labels`, `running`. `host_port` defaults to a free port, and 0 publishes nothing. `host_ip` defaults
//!   to all addresses. `network` defaults to `bridge`, and `host` is the host's network. `labels` is an object.
//!   `running` defaults to true.
//! * `add_many` starts several containers and returns their IDs. Arguments: `count`, `name`. The program appends a
//!   number from 0 to the name.
//! * `start` and `restart` return null. Argument: `container`. Optional argument: `host_port`, by default the old port.
//! * `stop`, `die`, `signal` and `remove` return null. Argument: `container`.
//! * `rename` returns null. Arguments: `container`, `name`.
//! * `connect` and `disconnect` return null. Arguments: `container`, `network`.
//! * `add_network` makes a network with IPv6 addresses and returns null. Argument: `name`.
//! * `list` returns `{"id":…,"name":…,"host_port":…}` for each running container. The port is null if it is not
//!   published.
//! * `inspect` returns the engine's description of a container. Argument: `container`.
//!
//! These commands control the engine:
//!
//! * `misbehave` returns null. Argument: `how`. Optional arguments: `where`, `times`. `where` is one of `any` (the
//!   default), `ping`, `list`, `inspect`, `events` and `open-streams`. `times` defaults to always.
//! * `behave` ends all misbehaviour and returns null.
//! * `misbehaviours` returns a list of `{"how":…,"where":[…]}`.
//! * `cut_streams`, `stop_engine` and `start_engine` return null.
//! * `restart_engine` returns null. Optional argument: `ports`, either `kept` or `new`.
//! * `restart_many` restarts the engine several times and returns null. Argument: `times`. Optional arguments: `ports`,
//!   and `pause_ms` for a pause after each restart.
//! * `set_versions` returns null. Arguments: `oldest` and `newest`, for example `"1.44"`.
//!
//! These commands read the notes:
//!
//! * `notes` returns the counters `connections`, `requests`, `pings`, `events`, `lists`, `inspects`, `others`,
//!   `most_in_flight` and `redirects_followed`. The values `subscribers` and `open` count the subscribers and
//!   connections of this moment.
//! * `paths` returns the paths of all requests.
//! * `reset_notes` returns null.
//! * `wait` waits until counters reach minimum values, for at most a minute, and returns null. Arguments: the counters,
//!   named as in `notes`.

#[path = "mod.rs"]
mod engine_double;

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use engine_double::{EngineDouble, HostPorts, Misbehaviour, NewContainer, Times, Where};
use serde_json::{json, Value};

fn main() {
    let Some((address, path)) = arguments() else {
        eprintln!("usage: engine-double --listen ADDRESS:PORT [--unix PATH]");
        std::process::exit(2);
    };
    let engine = EngineDouble::listen(address, path).unwrap_or_else(|error| {
        eprintln!("engine-double: {address}: {error}");
        std::process::exit(1);
    });
    // The answer contains the panic message of a failed command, so standard error stays empty.
    std::panic::set_hook(Box::new(|_| {}));
    say(&format!("listening on {}", engine.address()));
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let command: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            obey(&engine, &Command(command))
        }));
        let answer = match outcome {
            Ok(Ok(value)) => json!({"ok": value}),
            Ok(Err(error)) => json!({"error": error}),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                json!({"error": text.or_else(|| panic.downcast_ref::<String>().cloned())})
            }
        };
        say(&answer.to_string());
    }
}

fn arguments() -> Option<(SocketAddr, Option<PathBuf>)> {
    let (mut address, mut path) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--listen" => address = Some(value.parse().ok()?),
            "--unix" => path = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some((address?, path))
}

/// Ignores errors, because a test that does not read answers needs no error either.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

struct Command(Value);

impl Command {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        let value = self.get(name).ok_or_else(|| format!("{name} is missing"))?;
        value.as_str().ok_or_else(|| format!("{name} is no text: {value}"))
    }

    fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let value = self.get(name);
        value
            .map(|value| number(value).ok_or_else(|| format!("{name} is no number: {value}")))
            .transpose()
    }

    fn count(&self, name: &str) -> Result<usize, String> {
        self.number(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn host_port(&self) -> Result<Option<u16>, String> {
        let port = self.number("host_port")?;
        port.map(|port| u16::try_from(port).map_err(|_| format!("{port} is no port")))
            .transpose()
    }

    fn host_ports(&self) -> Result<HostPorts, String> {
        match self.get("ports").map_or(Some("kept"), Value::as_str) {
            Some("kept") => Ok(HostPorts::Kept),
            Some("new") => Ok(HostPorts::New),
            _ => Err("ports is neither kept nor new".to_owned()),
        }
    }
}

fn obey(engine: &EngineDouble, command: &Command) -> Result<Value, String> {
    let container = || {
        let text = command.text("container")?;
        engine
            .find(text)
            .map_err(|_| format!("there is no one container {text}"))
    };
    match command.text("do")? {
        "add" => return add(engine, command),
        "add_many" => return Ok(engine.add_many(command.count("count")?, command.text("name")?).into()),
        "start" => match command.host_port()? {
            Some(host_port) => engine.start_at(&container()?, host_port),
            None => engine.start_container(&container()?),
        },
        "restart" => match command.host_port()? {
            Some(host_port) => engine.restart_at(&container()?, host_port),
            None => engine.restart(&container()?),
        },
        "stop" => engine.stop(&container()?),
        "die" => engine.die(&container()?),
        "signal" => engine.signal(&container()?),
        "remove" => engine.remove(&container()?),
        "rename" => engine.rename(&container()?, command.text("name")?),
        "connect" => engine.connect(&container()?, command.text("network")?),
        "disconnect" => engine.disconnect(&container()?, command.text("network")?),
        "add_network" => engine.add_ipv6_network(command.text("name")?),
        "list" => return Ok(list(&engine.listed())),
        "inspect" => return Ok(engine.inspected(&container()?)),
        "misbehave" => misbehave(engine, command)?,
        "behave" => engine.behave(),
        "misbehaviours" => return Ok(Misbehaviour::ALL.iter().map(|how| described(*how)).collect()),
        "cut_streams" => engine.cut_streams(),
        "stop_engine" => engine.stop_engine(),
        "start_engine" => engine.start_engine(),
        "restart_engine" => engine.restart_engine(command.host_ports()?),
        "restart_many" => {
            let pause = u64::try_from(command.number("pause_ms")?.unwrap_or(0)).unwrap_or(u64::MAX);
            for _ in 0..command.count("times")? {
                engine.restart_engine(command.host_ports()?);
                sleep(Duration::from_millis(pause));
            }
        }
        "set_versions" => engine.set_versions(command.text("oldest")?, command.text("newest")?),
        "notes" => return Ok(notes(engine)),
        "paths" => return Ok(engine.notes().paths.into()),
        "reset_notes" => engine.reset_notes(),
        "wait" => wait(engine, command)?,
        other => return Err(format!("{other} is nothing that the double does")),
    }
    Ok(Value::Null)
}

fn add(engine: &EngineDouble, command: &Command) -> Result<Value, String> {
    let mut new = NewContainer::new(command.text("name")?);
    if command.get("network").is_some() {
        new = new.network(command.text("network")?);
    }
    for (key, value) in command.get("labels").and_then(Value::as_object).into_iter().flatten() {
        new = new.label(key, value.as_str().ok_or("a label is text")?);
    }
    let host_port = command.host_port()?.unwrap_or_else(|| engine.free_host_port());
    new = match (host_port, command.get("host_ip")) {
        (0, _) => new,
        (_, Some(_)) => new.binding(command.text("host_ip")?, host_port),
        (_, None) => new.publish(host_port),
    };
    let is_running = command.get("running") != Some(&Value::Bool(false));
    Ok((if is_running {
        engine.run(new)
    } else {
        engine.create(new)
    })
    .into())
}

fn list(listed: &Value) -> Value {
    let brief = |container: &Value| {
        json!({
            "id": container["Id"],
            "name": container["Names"][0].as_str().unwrap_or_default().trim_start_matches('/'),
            "host_port": container["Ports"][0]["PublicPort"],
        })
    };
    listed.as_array().into_iter().flatten().map(brief).collect()
}

fn misbehave(engine: &EngineDouble, command: &Command) -> Result<(), String> {
    let (how, place) = (
        command.text("how")?,
        command.get("where").map_or(Ok("any"), |_| command.text("where"))?,
    );
    let how = Misbehaviour::named(how).ok_or_else(|| format!("nobody misbehaves like {how}"))?;
    let place = Where::named(place).ok_or_else(|| format!("{place} is nowhere"))?;
    engine.misbehave(how, place, command.number("times")?.map_or(Times::Always, Times::Next));
    Ok(())
}

fn described(how: Misbehaviour) -> Value {
    let places = Where::ALL.iter().filter(|place| how.suits(**place));
    json!({"how": how.name(), "where": places.map(|place| place.name()).collect::<Vec<_>>()})
}

fn notes(engine: &EngineDouble) -> Value {
    let mut notes = engine.notes().summary();
    notes["redirects_followed"] = engine.redirects_followed().into();
    notes
}

fn wait(engine: &EngineDouble, command: &Command) -> Result<(), String> {
    let wanted: Vec<_> = command
        .0
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "do")
        .collect();
    let notes = engine.notes().summary();
    if let Some((name, _)) = wanted
        .iter()
        .find(|(name, value)| notes.get(name).is_none() || !value.is_u64())
    {
        return Err(format!("{name} is no number of the notes"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime
        .map_err(|error| error.to_string())?
        .block_on(engine.until(|notes| {
            let notes = notes.summary();
            wanted
                .iter()
                .all(|(name, value)| notes[name.as_str()].as_u64() >= value.as_u64())
        }));
    Ok(())
}
