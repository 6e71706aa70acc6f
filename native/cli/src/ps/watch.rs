//! `eid ps --watch`: prints the nodes as they come and go.
//!
//! A [`Follower`] per host inspects each container that changes. One task prints the updates of all hosts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, IsTerminal, Write};
use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eid_docker::{
    Asking, Backoff, Container, ContainerEvent, ContainerRef, Description, Engine, Error, Follower, Lost, NextStep,
    Retry, Sink, ToAsk,
};
use serde_json::{json, Value};
use terminal_size::{terminal_size, Height};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, MissedTickBehavior};

use super::host::{sort, Host};
use super::node::Node;
use super::{failed, table, Arguments};
use crate::args::in_time;
use crate::output::{self, print_error, Failure, BROKEN_PIPE};

/// Time between lists if the engine refuses events.
const POLL: Duration = Duration::from_secs(5);

/// The shortest and the longest time between two frames. Ages change, so the table is redrawn every second.
const FRAME: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// An update about a host.
enum HostUpdate {
    /// All nodes on the host.
    All(Vec<Node>),
    /// The IDs of all containers on the host.
    Listed(HashSet<String>),
    /// One container, and its node unless it is gone or is not a wanted node.
    One(String, Option<Box<Node>>),
    /// The host can't be asked.
    Down(Failure),
}

/// A host's position on the command line and its name or address. This is the order in which hosts are shown.
type HostKey = (usize, String);

/// Unbounded, because a sink must not wait. The number of containers bounds the updates.
type Sender = mpsc::UnboundedSender<(HostKey, HostUpdate)>;

/// Runs until standard output can't be written or is closed by its reader.
pub async fn run(arguments: Arc<Arguments>) -> Result<(), Failure> {
    tokio::select! {
        printed = print_changes(arguments) => printed,
        () = output::stdout_closed() => Err(Failure::Reported(BROKEN_PIPE)),
    }
}

async fn print_changes(arguments: Arc<Arguments>) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for (position, name) in arguments.hosts().enumerate() {
        tokio::spawn(follow_name(position, name, Arc::clone(&arguments), sender.clone()));
    }
    drop(sender);
    let mut view = View::default();
    if io::stdout().is_terminal() && !arguments.json {
        return redraw(&mut view, &mut receiver).await;
    }
    while let Some((key, update)) = receiver.recv().await {
        for change in view.apply(key, update) {
            change.print(arguments.json)?;
        }
    }
    Ok(())
}

/// Resolves a name, and follows each host that it means.
async fn follow_name(position: usize, name: String, arguments: Arc<Arguments>, to: Sender) {
    let mut backoff = Backoff::default();
    let hosts = loop {
        let began = Instant::now();
        match Host::find(&name, &arguments).await {
            Ok(hosts) => break hosts,
            // The receiver lives as long as the command.
            Err(failure) => drop(to.send(((position, name.clone()), HostUpdate::Down(failure)))),
        }
        sleep(backoff.after(began.elapsed())).await;
    };
    // The name was shown as a host while it could not be resolved.
    if hosts.iter().all(|host| host.name() != name) {
        let _ = to.send(((position, name), HostUpdate::All(vec![])));
    }
    for host in hosts {
        let sink = HostSink {
            key: (position, host.name().to_owned()),
            host: host.clone(),
            arguments: Arc::clone(&arguments),
            to: to.clone(),
            received: 0,
            listed: HashMap::new(),
            listed_mark: 0,
            first: Some(Vec::new()),
        };
        tokio::spawn(async move {
            let error = Follower::new(sink).run().await;
            print_error(host.failure(error));
            exit(1);
        });
    }
}

/// Sends the nodes of a host, and their changes.
struct HostSink {
    key: HostKey,
    host: Host,
    arguments: Arc<Arguments>,
    to: Sender,
    /// The number of events received.
    received: u64,
    /// The last list, by ID, and the number of events that it includes.
    listed: HashMap<String, Container>,
    listed_mark: u64,
    /// The nodes found so far, until all containers of the first list are inspected.
    first: Option<Vec<Node>>,
}

impl HostSink {
    fn send(&self, update: HostUpdate) {
        let _ = self.to.send((self.key.clone(), update));
    }
}

impl Sink for HostSink {
    type Listed = Container;
    type Inspected = Description;
    type Event = ContainerEvent;

    fn engine(&self) -> &Engine {
        self.host.engine()
    }

    fn list(&self) -> Asking<Vec<Container>> {
        let (engine, all, limit) = (
            self.engine().clone(),
            self.arguments.all,
            self.arguments.engines.timeout(),
        );
        Box::pin(in_time(limit, async move {
            if all {
                engine.list_all().await
            } else {
                engine.list().await
            }
        }))
    }

    fn inspect(&self, id: ContainerRef) -> Asking<Description> {
        let (engine, limit) = (self.engine().clone(), self.arguments.engines.timeout());
        Box::pin(in_time(limit, async move { engine.describe(&id).await }))
    }

    fn mark(&self) -> u64 {
        self.received
    }

    fn event(&mut self, event: ContainerEvent) -> Result<Option<String>, Error> {
        self.received += 1;
        event.changed(self.arguments.scope())
    }

    fn listed(&mut self, mark: u64, list: Vec<Container>) -> ToAsk {
        self.listed_mark = mark;
        self.listed = list.into_iter().map(|one| (one.id.clone(), one)).collect();
        let ids: Vec<String> = self.listed.keys().cloned().collect();
        if self.first.is_none() {
            self.send(HostUpdate::Listed(ids.iter().cloned().collect()));
        }
        ToAsk {
            ids,
            unexplained: vec![],
        }
    }

    fn changed(&mut self, mark: u64, id: &str, answer: Result<Option<Description>, Error>) -> NextStep {
        let found = match answer {
            // The engine can still list a container that it fails to inspect.
            Err(Error::Refused { status: 500, .. }) if mark > self.listed_mark => return NextStep::List,
            Err(Error::Refused { status: 500, .. }) => self.listed.get(id).cloned().map(Description::listed),
            Err(error) => return NextStep::Reconnect(error),
            Ok(found) => found,
        };
        let node = found.and_then(|found| self.host.node(&found, &self.arguments));
        match &mut self.first {
            Some(nodes) => {
                nodes.retain(|node| node.id != id);
                nodes.extend(node);
            }
            None => self.send(HostUpdate::One(id.to_owned(), node.map(Box::new))),
        }
        NextStep::Follow
    }

    fn ready(&mut self) {
        let Some(mut nodes) = self.first.take() else { return };
        sort(&mut nodes);
        self.send(HostUpdate::All(nodes));
    }

    fn lost(&mut self, lost: &Lost) -> Retry {
        if let Lost::Events(Error::Refused { status: 400..=499, .. }) = lost {
            return Retry::Poll(POLL);
        }
        self.send(HostUpdate::Down(self.host.failure(lost.error().clone())));
        Retry::Soon
    }

    fn resync(&mut self) {
        self.first = Some(Vec::new());
    }
}

/// All hosts and nodes, as printed so far.
#[derive(Default)]
struct View {
    hosts: BTreeMap<HostKey, HostView>,
}

#[derive(Default)]
struct HostView {
    /// The nodes, by container ID.
    nodes: BTreeMap<String, Node>,
    /// The reason why the host can't be asked. The nodes stay: they may still be there.
    failure: Option<Failure>,
}

/// A change to print.
enum Change {
    Added(Node),
    Gone(Node),
    Changed(Node),
    Down(String, Failure),
    Up(String),
}

impl View {
    /// Applies an update, and returns what has changed.
    fn apply(&mut self, key: HostKey, update: HostUpdate) -> Vec<Change> {
        let name = key.1.clone();
        let host = self.hosts.entry(key).or_default();
        let mut changes = Vec::new();
        if let HostUpdate::Down(failure) = update {
            let is_same = |known: &Failure| known.to_string() == failure.to_string();
            if !host.failure.as_ref().is_some_and(is_same) {
                host.failure = Some(failure.clone());
                changes.push(Change::Down(name, failure));
            }
            return changes;
        }
        if host.failure.take().is_some() {
            changes.push(Change::Up(name));
        }
        match update {
            HostUpdate::All(nodes) => {
                let now: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
                let gone = host.nodes.extract_if(.., |id, _| !now.contains(id.as_str()));
                changes.extend(gone.map(|(_, node)| Change::Gone(node)));
                changes.extend(nodes.into_iter().filter_map(|node| host.put(node)));
            }
            HostUpdate::Listed(ids) => {
                let gone = host.nodes.extract_if(.., |id, _| !ids.contains(id));
                changes.extend(gone.map(|(_, node)| Change::Gone(node)));
            }
            HostUpdate::One(_, Some(node)) => changes.extend(host.put(*node)),
            HostUpdate::One(id, None) => changes.extend(host.nodes.remove(&id).map(Change::Gone)),
            HostUpdate::Down(_) => {}
        }
        changes
    }

    /// Returns the lines for a terminal with this height: the table, a count of the nodes that do not fit, and the hosts that
    /// are down.
    fn lines(&self, height: usize) -> Vec<String> {
        let hosts = || self.hosts.values();
        let mut nodes: Vec<Node> = Vec::new();
        for host in hosts() {
            let from = nodes.len();
            nodes.extend(host.nodes.values().cloned());
            sort(&mut nodes[from..]);
        }
        let mut lines = table::lines(&nodes, OffsetDateTime::now_utc());
        let failures = hosts().filter_map(|host| host.failure.as_ref());
        let failures: Vec<String> = failures.map(|failure| format!("eid: {failure}")).collect();
        // The cursor needs a line, too.
        let room = height.saturating_sub(failures.len() + 1).max(2);
        if lines.len() > room {
            let more = lines.len() - (room - 1);
            lines.truncate(room - 1);
            lines.push(format!("… and {more} more"));
        }
        lines.extend(failures);
        lines
    }
}

impl HostView {
    fn put(&mut self, node: Node) -> Option<Change> {
        match self.nodes.insert(node.id.clone(), node.clone()) {
            None => Some(Change::Added(node)),
            Some(before) if before != node => Some(Change::Changed(node)),
            Some(_) => None,
        }
    }
}

impl Change {
    /// Prints a line. A failed host goes to standard error, and with `--json` to standard output, too.
    fn print(&self, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::Down(_, failure) => failure.print(),
            Self::Up(host) => print_error(format_args!("{host}: it answers again")),
            _ => {}
        }
        if as_json {
            return output::print(&self.json());
        }
        let (sign, node) = match self {
            Self::Added(node) => ('+', node),
            Self::Gone(node) => ('-', node),
            Self::Changed(node) => ('~', node),
            Self::Down(..) | Self::Up(_) => return Ok(()),
        };
        output::print(&format_args!("{sign} {}", table::line(node)))
    }

    fn json(&self) -> Value {
        match self {
            Self::Added(node) => json!({"change": "added", "node": node}),
            Self::Gone(node) => json!({"change": "gone", "node": node}),
            Self::Changed(node) => json!({"change": "changed", "node": node}),
            Self::Up(host) => json!({"change": "up", "host": host}),
            Self::Down(host, failure) => {
                let mut object = failed(host, failure);
                object["change"] = json!("down");
                object
            }
        }
    }
}

/// Keeps the table on the terminal up to date.
async fn redraw(view: &mut View, receiver: &mut mpsc::UnboundedReceiver<(HostKey, HostUpdate)>) -> Result<(), Failure> {
    let mut second = interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        tokio::select! {
            update = receiver.recv() => {
                let Some((key, update)) = update else {
                    return Ok(());
                };
                view.apply(key, update);
                while let Ok((key, update)) = receiver.try_recv() {
                    view.apply(key, update);
                }
            }
            _ = second.tick() => {}
        }
        let height = terminal_size().map_or(usize::MAX, |(_, Height(height))| height.into());
        draw(&view.lines(height), is_first).map_err(output::write_failure)?;
        is_first = false;
        sleep(FRAME).await;
    }
}

/// Draws over the previous frame with one write, without wrapping long lines.
fn draw(lines: &[String], is_first: bool) -> io::Result<()> {
    let clear = if is_first { "\x1b[2J" } else { "" };
    let text: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
    let mut stdout = io::stdout().lock();
    write!(stdout, "{clear}\x1b[?7l\x1b[H{text}\x1b[J\x1b[?7h")?;
    stdout.flush()
}
