//! `eid ps --watch`: the nodes as they come and go.
//!
//! Each host is followed by a task of its own: it subscribes to the engine's events, then lists, and then asks about each
//! container that an event names. Nothing is taken from an event itself.

use std::collections::{BTreeMap, HashSet};
use std::future;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use eid_docker::{ContainerEvent, Error, EventStream, ListScope};
use serde_json::{json, Value};
use terminal_size::{terminal_size, Height};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, sleep_until, Instant, MissedTickBehavior};

use super::host::Host;
use super::node::Node;
use super::{failed, table, Arguments};
use crate::failure::{tell, Failure, UNREAD};
use crate::output;

/// A host that is down is tried again after 200 ms at first, and then ever more rarely.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Docker answers a subscription just before it subscribes, so an event at that moment is lost.
const SECOND_LIST: Duration = Duration::from_secs(1);

/// A stream may have died without a word.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// Where events are refused.
const POLL: Duration = Duration::from_secs(5);

/// When more containers have changed at once, a list is cheaper.
const MANY: usize = 64;

/// A table is drawn no more often, and at least once a second, because times go on.
const FRAME: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// What the task of a host has found.
enum News {
    /// All its nodes.
    All(Vec<Node>),
    /// This container is this node now, or none.
    One(String, Option<Box<Node>>),
    /// It can't be asked.
    Down(Failure),
}

/// A host, in the order of the command line, then by address.
type Place = (usize, String);

type Sender = mpsc::Sender<(Place, News)>;

/// Runs until its output can't be written, or nobody reads it any more, also while there is nothing to tell.
///
/// # Errors
///
/// Those of [`output::print()`] then.
pub async fn run(arguments: Arc<Arguments>) -> Result<(), Failure> {
    tokio::select! {
        told = tell_all(arguments) => told,
        () = output::unread() => Err(Failure::Answered(UNREAD)),
    }
}

async fn tell_all(arguments: Arc<Arguments>) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::channel(64);
    for (place, name) in arguments.hosts().enumerate() {
        tokio::spawn(follow_name(place, name, Arc::clone(&arguments), sender.clone()));
    }
    drop(sender);
    let mut known = Known::default();
    if io::stdout().is_terminal() && !arguments.json {
        return show(&mut known, &mut receiver).await;
    }
    while let Some((place, news)) = receiver.recv().await {
        for change in known.take(place, news) {
            change.print(arguments.json)?;
        }
    }
    Ok(())
}

/// Follows the hosts that a name means, once it means any.
async fn follow_name(place: usize, name: String, arguments: Arc<Arguments>, to: Sender) {
    let mut pause = SHORTEST_PAUSE;
    let hosts = loop {
        match Host::find(&name, &arguments).await {
            Ok(hosts) => break hosts,
            Err(failure) => {
                let place = (place, name.clone());
                if to.send((place, News::Down(failure))).await.is_err() {
                    return;
                }
            }
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    };
    // The name itself is no host any more, if it was down.
    if hosts.iter().all(|host| host.name() != name) && to.send(((place, name), News::All(vec![]))).await.is_err() {
        return;
    }
    for host in hosts {
        let place = (place, host.name().to_owned());
        tokio::spawn(follow(place, host, Arc::clone(&arguments), to.clone()));
    }
}

async fn follow(place: Place, host: Host, arguments: Arc<Arguments>, to: Sender) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let began = Instant::now();
        let Err(failure) = session(&place, &host, &arguments, &to).await else {
            return;
        };
        if to.send((place.clone(), News::Down(failure))).await.is_err() {
            return;
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = SHORTEST_PAUSE;
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Tells what is there and what changes until something is wrong, or until nobody listens.
async fn session(place: &Place, host: &Host, arguments: &Arguments, to: &Sender) -> Result<(), Failure> {
    let tell = async |news| to.send((place.clone(), news)).await.is_ok();
    let mut events = host.events(arguments).await?;
    let interval = if events.is_some() { LIST_INTERVAL } else { POLL };
    let mut next_list = Instant::now();
    let mut is_first = true;
    loop {
        tokio::select! {
            () = sleep_until(next_list) => {
                if !tell(News::All(host.nodes(arguments).await?)).await {
                    return Ok(());
                }
                next_list = Instant::now() + if is_first { SECOND_LIST } else { interval };
                is_first = false;
            }
            changed = changed(&mut events, arguments.which()), if !is_first => {
                let changed = changed.map_err(|error| host.failure(error))?;
                if changed.len() > MANY {
                    next_list = Instant::now();
                    continue;
                }
                for id in changed {
                    let node = match host.node(&id, arguments).await {
                        // It can't be inspected, but listed.
                        Err(Failure::Docker { error: Error::Refused { status: 500, .. }, .. }) => {
                            next_list = Instant::now();
                            continue;
                        }
                        node => node?,
                    };
                    if !tell(News::One(id, node.map(Box::new))).await {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The containers that have changed, each once: the next one, and those that are known by then.
async fn changed(events: &mut Option<EventStream>, scope: ListScope) -> Result<HashSet<String>, Error> {
    let Some(events) = events else {
        return future::pending().await;
    };
    let changed = events.next::<ContainerEvent>().await?.into_iter();
    changed.filter_map(|event| event.changed(scope).transpose()).collect()
}

/// What has been told.
#[derive(Default)]
struct Known {
    hosts: BTreeMap<Place, Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// By the IDs of their containers.
    nodes: BTreeMap<String, Node>,
    /// Why the host can't be asked. What was true before may still be.
    failure: Option<Failure>,
}

/// Something to tell.
enum Change {
    Added(Node),
    Gone(Node),
    Changed(Node),
    Down(String, Failure),
    Up(String),
}

impl Known {
    fn take(&mut self, place: Place, news: News) -> Vec<Change> {
        let name = place.1.clone();
        let host = self.hosts.entry(place).or_default();
        let mut changes = Vec::new();
        if let News::Down(failure) = news {
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
        match news {
            News::All(nodes) => {
                let now: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
                let gone = host.nodes.extract_if(.., |id, _| !now.contains(id.as_str()));
                changes.extend(gone.map(|(_, node)| Change::Gone(node)));
                changes.extend(nodes.into_iter().filter_map(|node| host.put(node)));
            }
            News::One(_, Some(node)) => changes.extend(host.put(*node)),
            News::One(id, None) => changes.extend(host.nodes.remove(&id).map(Change::Gone)),
            News::Down(_) => {}
        }
        changes
    }

    /// What is on a terminal that has so many lines: the table, of which what does not fit is counted, and the hosts that
    /// are down.
    fn lines(&self, height: usize) -> Vec<String> {
        let hosts = || self.hosts.values();
        let mut nodes: Vec<Node> = Vec::new();
        for host in hosts() {
            let from = nodes.len();
            nodes.extend(host.nodes.values().cloned());
            nodes[from..].sort_unstable_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        }
        let mut lines = table::lines(&nodes, OffsetDateTime::now_utc());
        let failures = hosts().filter_map(|host| host.failure.as_ref());
        let failures: Vec<String> = failures.map(|failure| format!("eid: {failure}")).collect();
        // The cursor takes a line.
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

impl Nodes {
    fn put(&mut self, node: Node) -> Option<Change> {
        match self.nodes.insert(node.id.clone(), node.clone()) {
            None => Some(Change::Added(node)),
            Some(before) if before != node => Some(Change::Changed(node)),
            Some(_) => None,
        }
    }
}

impl Change {
    /// Prints a line. What is wrong with a host is on standard error, for a program on both.
    fn print(&self, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::Down(_, failure) => failure.tell(),
            Self::Up(host) => tell(format_args!("{host}: it answers again")),
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
async fn show(known: &mut Known, receiver: &mut mpsc::Receiver<(Place, News)>) -> Result<(), Failure> {
    let mut second = interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        tokio::select! {
            news = receiver.recv() => {
                let Some((place, news)) = news else {
                    return Ok(());
                };
                known.take(place, news);
                while let Ok((place, news)) = receiver.try_recv() {
                    known.take(place, news);
                }
            }
            _ = second.tick() => {}
        }
        let height = terminal_size().map_or(usize::MAX, |(_, Height(height))| height.into());
        draw(&known.lines(height), is_first).map_err(output::unwritten)?;
        is_first = false;
        sleep(FRAME).await;
    }
}

/// Draws over what is there, in one piece, without wrapping long lines.
fn draw(lines: &[String], is_first: bool) -> io::Result<()> {
    let clear = if is_first { "\x1b[2J" } else { "" };
    let text: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
    let mut stdout = io::stdout().lock();
    write!(stdout, "{clear}\x1b[?7l\x1b[H{text}\x1b[J\x1b[?7h")?;
    stdout.flush()
}
