//! A worker thread: it listens on every port, and forwards the connections that it accepts.
//!
//! It calls epoll itself. For a short connection this takes 2 to 3 per cent fewer instructions, including the kernel's, than tokio's
//! tasks, timers and registrations. DNS and engines are queried on the command's tokio runtime.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::exit;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{accept_with, sockopt, SocketFlags};
use tokio::runtime::Handle;
use tracing::warn;

use super::connection::{Progress, Relay};
use super::connector::{Connector, KnownAddress};
use super::rules::Rule;
use super::slab::{Slab, Token};
use super::socket::{Socket, INTEREST};
use super::target_health::{TargetError, TargetHealth};
use super::workers::{Message, Workers};
use crate::log_throttle::LogThrottle;

/// Time between attempts to accept while the connection limit is reached or accept(2) fails.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// The maximum number of events per epoll_wait(2).
const EVENTS: usize = 256;

/// The maximum number of connections accepted per turn and port.
const ACCEPT_BATCH: usize = 64;

/// The values of [`Service::phase`].
pub mod phase {
    /// Accepting connections.
    pub const OPEN: u8 = 0;
    /// No connections are accepted, and open ones may end.
    pub const DRAINING: u8 = 1;
    /// Open connections are cut.
    pub const OVER: u8 = 2;
}

/// The state that all workers share. It lives as long as the process.
pub struct Service {
    /// The rules, with the health of their targets.
    pub routes: Vec<Route>,
    /// Finds and dials the targets.
    pub connector: Connector,
    /// The runtime for DNS and engines.
    pub runtime: Handle,
    /// The mailboxes of the workers.
    pub workers: Workers,
    /// The value of `--idle-timeout`.
    pub idle_timeout: Option<Duration>,
    /// The value of `--connect-timeout`.
    pub connect_timeout: Duration,
    /// Open connections.
    pub connections: AtomicUsize,
    /// The maximum number of open connections.
    pub limit: usize,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// For the log line about the limit.
    pub limit_reached: LogThrottle,
    /// For the log line about failed accepts.
    pub accept_errors: LogThrottle,
    /// See [`phase`].
    pub phase: AtomicU8,
}

/// A rule and the health of its target.
pub struct Route {
    /// The rule.
    pub rule: Rule,
    /// The health.
    pub health: TargetHealth,
}

struct Worker {
    service: &'static Service,
    /// The number of this worker.
    own: usize,
    epoll: OwnedFd,
    /// A listener per route. Empty while draining.
    listeners: Vec<Listener>,
    connections: Slab<Connection>,
    /// Connections whose turn was over before their sockets blocked.
    yielding: Vec<Token>,
    now: Instant,
    /// Time between sweeps, which find connections that timed out.
    tick: Duration,
    /// The time of the last sweep.
    swept: Instant,
    /// Accepting is paused until the next turn.
    is_paused: bool,
}

struct Listener {
    socket: OwnedFd,
    is_ready: bool,
}

struct Connection {
    route: usize,
    stage: Stage,
    /// The connection is in bulk mode, and has a bulk slot of this worker.
    has_bulk_slot: bool,
    /// The connection is in [`Worker::yielding`].
    is_yielding: bool,
}

enum Stage {
    /// The worker connects to the server.
    Connecting {
        client: Socket,
        server: OwnedFd,
        known: KnownAddress,
        since: Instant,
    },
    /// The runtime finds and dials the server.
    Dialing { client: Socket },
    /// Both sides are connected.
    Relaying(Box<Relay>),
    /// A placeholder between two stages.
    Changing,
}

impl Connection {
    fn new(route: usize, stage: Stage) -> Self {
        Self {
            route,
            stage,
            has_bulk_slot: false,
            is_yielding: false,
        }
    }
}

/// The source of an event, in its lowest two bits. The other bits are the number of a listener or a token.
mod source {
    pub const CLIENT: u64 = 0;
    pub const SERVER: u64 = 1;
    pub const LISTENER: u64 = 2;
    pub const WAKEUP: u64 = 3;
}

/// Starts a worker with one listening socket per route, until [`phase::OVER`].
pub fn start(service: &'static Service, own: usize, sockets: Vec<socket2::Socket>) -> std::io::Result<JoinHandle<()>> {
    let worker = Worker::new(service, own, sockets)?;
    thread::Builder::new().name("eid-forward".to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            // The panic is logged. Without this worker, its share of the connections would hang.
            exit(101);
        }
    })
}

impl Worker {
    fn new(service: &'static Service, own: usize, sockets: Vec<socket2::Socket>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            service.workers.wakeup(own),
            event_data(source::WAKEUP, 0),
            EventFlags::IN,
        )?;
        for (index, socket) in sockets.iter().enumerate() {
            let data = event_data(source::LISTENER, index as u64);
            epoll::add(&epoll, socket, data, EventFlags::IN | EventFlags::ET)?;
        }
        let listener = |socket: socket2::Socket| Listener {
            socket: socket.into(),
            is_ready: true,
        };
        let now = Instant::now();
        Ok(Self {
            service,
            own,
            epoll,
            listeners: sockets.into_iter().map(listener).collect(),
            connections: Slab::new(),
            yielding: Vec::new(),
            now,
            tick: tick(service),
            swept: now,
            is_paused: false,
        })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.wait_time().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll_wait: {error}"),
            }
            self.now = Instant::now();
            // Each yielding connection gets one turn.
            let yielding = mem::take(&mut self.yielding);
            for event in events.drain(..) {
                let epoll::Event { flags, data } = event;
                self.handle(data.u64(), flags);
            }
            for token in yielding {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.is_yielding = false;
                }
                self.advance(token);
            }
            match self.service.phase.load(Ordering::Acquire) {
                phase::OPEN => self.accept(ACCEPT_BATCH),
                phase::DRAINING => {
                    // Connections that the kernel has accepted by now are still served.
                    self.accept(usize::MAX);
                    self.listeners.clear();
                }
                _ => return self.cut_all(),
            }
            self.sweep();
        }
    }

    /// Returns the time limit of epoll_wait(2).
    fn wait_time(&self) -> Option<Timespec> {
        let time = if !self.yielding.is_empty() {
            Duration::ZERO
        } else if self.listeners.iter().any(|listener| listener.is_ready) {
            if self.is_paused {
                ACCEPT_RETRY
            } else {
                Duration::ZERO
            }
        } else if self.connections.is_empty() {
            return None;
        } else {
            self.tick
        };
        Timespec::try_from(time).ok()
    }

    fn handle(&mut self, data: u64, flags: EventFlags) {
        let (source, number) = (data & 3, data >> 2);
        match source {
            source::WAKEUP => {
                for message in self.service.workers.receive(self.own) {
                    self.open(message);
                }
            }
            source::LISTENER => {
                if let Some(listener) = self.listeners.get_mut(number as usize) {
                    listener.is_ready = true;
                }
            }
            _ => self.notice(Token::from_number(number), source, flags),
        }
    }

    fn open(&mut self, message: Message) {
        match message {
            Message::ReadPhase => {}
            Message::Dialed { token, outcome } => match outcome {
                Ok(server) => self.establish(token, Some(server), EventFlags::OUT),
                Err(error) => self.fail(token, &error),
            },
            Message::Bulk { route, relay } => {
                let token = self.connections.insert(Connection {
                    route,
                    has_bulk_slot: true,
                    ..Connection::new(route, Stage::Changing)
                });
                let added = self.add(&relay.client, source::CLIENT, token);
                let added = added.and_then(|()| self.add(&relay.server, source::SERVER, token));
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.stage = Stage::Relaying(relay);
                }
                match added {
                    Ok(()) => self.advance(token),
                    Err(error) => self.lose(token, error),
                }
            }
        }
    }

    /// Handles an event about a socket of a connection.
    fn notice(&mut self, token: Token, source: u64, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        match &mut connection.stage {
            Stage::Relaying(relay) => {
                let socket = if source == source::CLIENT {
                    &mut relay.client
                } else {
                    &mut relay.server
                };
                socket.notice(flags);
                self.advance(token);
            }
            Stage::Connecting { server, .. } => {
                if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                    let error = sockopt::socket_error(&*server).and_then(|error| error).err();
                    self.could_not_connect(token, error.unwrap_or(Errno::CONNRESET));
                } else if flags.contains(EventFlags::OUT) {
                    self.establish(token, None, flags);
                }
            }
            Stage::Dialing { .. } | Stage::Changing => {}
        }
    }

    /// Accepts up to this number of connections per port, within the connection limit.
    fn accept(&mut self, at_once: usize) {
        self.is_paused = false;
        for route in 0..self.listeners.len() {
            for _ in 0..at_once {
                if !self.listeners[route].is_ready || self.is_paused {
                    break;
                }
                self.accept_one(route);
            }
        }
    }

    fn accept_one(&mut self, route: usize) {
        let service = self.service;
        let listener = &mut self.listeners[route];
        let others = service.connections.fetch_add(1, Ordering::Relaxed);
        if others >= service.limit {
            // Further connections wait in the kernel's backlog.
            service.connections.fetch_sub(1, Ordering::Relaxed);
            service.limit_reached.extend(self.now);
            self.is_paused = true;
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&listener.socket, flags) {
            Ok(client) => {
                service.accepted.fetch_add(1, Ordering::Relaxed);
                if others + 1 == service.limit && service.limit_reached.allow(self.now).is_some() {
                    warn!(
                        "there are {} connections, as many as there may be, so more wait until others end; raise --max-connections, or \
                         the limit of open files (ulimit -n, docker run --ulimit nofile=)",
                        service.limit
                    );
                }
                return self.begin(route, Socket::new(client));
            }
            Err(Errno::AGAIN) => listener.is_ready = false,
            // The client was gone before the accept, or a similar case.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PERM | Errno::PROTO) => {}
            Err(error) => {
                self.is_paused = true;
                if service.accept_errors.allow(self.now).is_some() {
                    warn!("no connection can be accepted for the moment: {error}");
                }
            }
        }
        service.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connects here if the address is known, or else on the runtime.
    fn begin(&mut self, route: usize, client: Socket) {
        let Some(known) = self.service.connector.known(&self.service.routes[route].rule.target) else {
            let token = self
                .connections
                .insert(Connection::new(route, Stage::Dialing { client }));
            return self.dial(token);
        };
        match self.service.connector.begin_to_connect(known.to) {
            Ok(server) => {
                let stage = Stage::Connecting {
                    client,
                    server,
                    known,
                    since: self.now,
                };
                let token = self.connections.insert(Connection::new(route, stage));
                if let Some(Connection {
                    stage: Stage::Connecting { server, .. },
                    ..
                }) = self.connections.get_mut(token)
                {
                    let data = event_data(source::SERVER, token.number());
                    if let Err(error) = epoll::add(&self.epoll, server, data, INTEREST) {
                        self.lose(token, error);
                    }
                }
            }
            Err(error) => {
                let token = self
                    .connections
                    .insert(Connection::new(route, Stage::Dialing { client }));
                self.fail(token, &error);
            }
        }
    }

    /// Starts to forward. `dialed` is the server's socket if the runtime dialled it; otherwise epoll knows the socket already.
    fn establish(&mut self, token: Token, dialed: Option<OwnedFd>, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let stage = mem::replace(&mut connection.stage, Stage::Changing);
        let is_registered = dialed.is_none();
        let (client, server) = match (stage, dialed) {
            (Stage::Connecting { client, server, .. }, None) => (client, Socket::waiting(server)),
            (Stage::Dialing { client }, Some(server)) => (client, Socket::waiting(server)),
            (stage, _) => {
                connection.stage = stage;
                return;
            }
        };
        let mut relay = Box::new(Relay::new(client, server, self.now));
        relay.server.notice(flags);
        let Route { rule, health } = &self.service.routes[connection.route];
        health.succeeded(rule);
        let added = self.add(&relay.client, source::CLIENT, token);
        let added = added.and_then(|()| {
            if is_registered {
                return Ok(());
            }
            self.add(&relay.server, source::SERVER, token)
        });
        if let Some(connection) = self.connections.get_mut(token) {
            connection.stage = Stage::Relaying(relay);
        }
        match added {
            Ok(()) => self.advance(token),
            Err(error) => self.lose(token, error),
        }
    }

    fn add(&self, socket: impl AsFd, source: u64, token: Token) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, event_data(source, token.number()), INTEREST)
    }

    fn lose(&mut self, token: Token, error: Errno) {
        warn!("a connection can't be waited for: {error}");
        self.remove(token);
    }

    fn advance(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let Stage::Relaying(relay) = &mut connection.stage else {
            return;
        };
        if connection.is_yielding {
            return;
        }
        let is_alone = self.service.workers.load(self.own) <= usize::from(connection.has_bulk_slot);
        let progress = relay.advance(is_alone);
        let wants_bulk_slot = relay.is_bulk() && !connection.has_bulk_slot;
        match progress {
            Progress::Over => self.remove(token),
            _ if wants_bulk_slot => self.take_bulk_slot(token, progress),
            Progress::Yields => self.yield_turn(token),
            Progress::Blocked => {}
        }
    }

    /// Continues after the other connections have had their turn.
    fn yield_turn(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.is_yielding = true;
            self.yielding.push(token);
        }
    }

    /// The connection has entered bulk mode: finds the worker for it.
    fn take_bulk_slot(&mut self, token: Token, progress: Progress) {
        let worker = self.service.workers.take_bulk_slot(self.own);
        if worker == self.own {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.has_bulk_slot = true;
            }
            if progress == Progress::Yields {
                self.yield_turn(token);
            }
        } else if let Some(Connection {
            route,
            stage: Stage::Relaying(relay),
            ..
        }) = self.connections.remove(token)
        {
            for socket in [&relay.client, &relay.server] {
                // The socket is registered, so this can't fail.
                let _ = epoll::delete(&self.epoll, socket);
            }
            self.service.workers.send(worker, Message::Bulk { route, relay });
        }
    }

    /// Finds and dials the server on the runtime.
    fn dial(&mut self, token: Token) {
        let (service, own) = (self.service, self.own);
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let target = &service.routes[connection.route].rule.target;
        service.runtime.spawn(async move {
            let outcome = service.connector.dial(target).await;
            service.workers.send(own, Message::Dialed { token, outcome });
        });
    }

    /// Dials again after a lookup if the address came from a cache, or else fails.
    fn could_not_connect(&mut self, token: Token, error: Errno) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let target = &self.service.routes[connection.route].rule.target;
        let Stage::Connecting {
            client, server, known, ..
        } = mem::replace(&mut connection.stage, Stage::Changing)
        else {
            return;
        };
        drop(server);
        connection.stage = Stage::Dialing { client };
        if self.service.connector.doubt(target) {
            self.dial(token);
        } else {
            let (to, error) = (known.to, error.into());
            self.fail(token, &TargetError::Dial { to, error });
        }
    }

    fn fail(&mut self, token: Token, error: &TargetError) {
        if let Some(connection) = self.connections.get_mut(token) {
            let Route { rule, health } = &self.service.routes[connection.route];
            health.failed(rule, error);
            self.remove(token);
        }
    }

    /// Removes a connection that has ended or is cut.
    fn remove(&mut self, token: Token) {
        let Some(Connection {
            stage, has_bulk_slot, ..
        }) = self.connections.remove(token)
        else {
            return;
        };
        if let Stage::Connecting { client, .. } | Stage::Dialing { client } = &stage {
            // A reset is the nearest thing to a refused connection.
            client.reset();
        }
        drop(stage);
        if has_bulk_slot {
            self.service.workers.release_bulk_slot(self.own);
        }
        self.service.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn cut_all(mut self) {
        for token in self.connections.tokens_of(|_| true) {
            self.remove(token);
        }
    }

    /// Finds connections that timed out, at most once per tick.
    fn sweep(&mut self) {
        if self.now - self.swept < self.tick {
            return;
        }
        self.swept = self.now;
        let (now, service, own) = (self.now, self.service, self.own);
        let is_due = |connection: &mut Connection| match &mut connection.stage {
            Stage::Connecting { known, since, .. } => now.saturating_duration_since(*since) >= known.limit,
            Stage::Relaying(relay) => {
                let is_idle = relay.is_idle(service.idle_timeout, now);
                if connection.has_bulk_slot && !relay.is_bulk() {
                    connection.has_bulk_slot = false;
                    service.workers.release_bulk_slot(own);
                }
                is_idle
            }
            Stage::Dialing { .. } | Stage::Changing => false,
        };
        for token in self.connections.tokens_of(is_due) {
            match self.connections.get_mut(token).map(|connection| &connection.stage) {
                Some(Stage::Connecting { .. }) => self.could_not_connect(token, Errno::TIMEDOUT),
                _ => self.remove(token),
            }
        }
    }
}

fn tick(service: &Service) -> Duration {
    let limits = [Some(service.connect_timeout), service.idle_timeout];
    let shortest = limits.into_iter().flatten().min().unwrap_or_default();
    (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

fn event_data(source: u64, number: u64) -> EventData {
    EventData::new_u64(number << 2 | source)
}
