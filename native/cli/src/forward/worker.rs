//! A thread: it listens at every place, and carries the connections that it has accepted. It waits for its sockets with epoll itself,
//! which takes 2 to 3 per cent fewer instructions for a short connection, the kernel's included, than tokio's tasks, timers and
//! registrations do; whatever else there is to wait for, names and engines, is for the command's tokio runtime.

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

use super::connections::{Connections, Token};
use super::crew::{Crew, Letter};
use super::dial::{Dialer, Known};
use super::once::Once;
use super::reach::{Reach, Unreachable};
use super::relay::{Progress, Relay};
use super::rule::Rule;
use super::socket::{Socket, INTEREST};

/// While there are as many connections as there may be, or the system can't give another one, it is tried again so often.
const SHORTAGE: Duration = Duration::from_millis(10);

/// How many events are taken at once.
const EVENTS: usize = 256;

/// So many connections are accepted before those that are there have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// How far the end has come, for [`Service::phase`].
pub mod phase {
    pub const OPEN: u8 = 0;
    /// Nothing is accepted any more.
    pub const DRAINING: u8 = 1;
    /// What is still there is cut.
    pub const OVER: u8 = 2;
}

/// What all threads share. It lives as long as the process.
pub struct Service {
    pub routes: Vec<Route>,
    pub dialer: Dialer,
    /// The runtime on which names and engines are asked.
    pub asks: Handle,
    pub crew: Crew,
    pub idle_timeout: Option<Duration>,
    pub connect_timeout: Duration,
    /// Connections now, how many there may be, and so far.
    pub connections: AtomicUsize,
    pub limit: usize,
    pub accepted: AtomicU64,
    /// There are as many as there may be.
    pub full: Once,
    /// The system gives none.
    pub unaccepted: Once,
    /// See [`phase`].
    pub phase: AtomicU8,
}

/// A rule, and how it is going.
pub struct Route {
    pub rule: Rule,
    pub reach: Reach,
}

struct Worker {
    service: &'static Service,
    own: usize,
    epoll: OwnedFd,
    /// Of each route, until nothing is accepted any more.
    listeners: Vec<Listener>,
    connections: Connections<Connection>,
    /// They could go on at once.
    yielding: Vec<Token>,
    now: Instant,
    /// How often connections are looked at for which nothing happens, and when they last were.
    tick: Duration,
    swept: Instant,
    has_shortage: bool,
}

struct Listener {
    socket: OwnedFd,
    is_ready: bool,
}

struct Connection {
    route: usize,
    stage: Stage,
    /// It moves a lot, and has a seat here.
    is_seated: bool,
    /// It is among those that could go on at once.
    is_yielding: bool,
}

enum Stage {
    /// A server is being connected to.
    Connecting {
        client: Socket,
        server: OwnedFd,
        known: Known,
        since: Instant,
    },
    /// Somebody else connects to one.
    Dialing {
        client: Socket,
    },
    Relaying(Box<Relay>),
    /// From one stage to the next.
    Changing,
}

impl Connection {
    fn new(route: usize, stage: Stage) -> Self {
        Self {
            route,
            stage,
            is_seated: false,
            is_yielding: false,
        }
    }
}

/// Whose event it is. The number is that of a listener or of a token.
mod source {
    pub const CLIENT: u64 = 0;
    pub const SERVER: u64 = 1;
    pub const LISTENER: u64 = 2;
    pub const BELL: u64 = 3;
}

/// Starts a thread that serves one socket of each route, in their order, until [`phase::OVER`].
///
/// # Errors
///
/// Whatever the system says.
pub fn start(service: &'static Service, own: usize, sockets: Vec<OwnedFd>) -> std::io::Result<JoinHandle<()>> {
    let worker = Worker::new(service, own, sockets)?;
    thread::Builder::new().name("eid-forward".to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            // It has been reported. With a thread less nobody would be served whom the kernel gives to it.
            exit(101);
        }
    })
}

impl Worker {
    fn new(service: &'static Service, own: usize, sockets: Vec<OwnedFd>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            service.crew.bell(own),
            event_data(source::BELL, 0),
            EventFlags::IN,
        )?;
        for (index, socket) in sockets.iter().enumerate() {
            let data = event_data(source::LISTENER, index as u64);
            epoll::add(&epoll, socket, data, EventFlags::IN | EventFlags::ET)?;
        }
        let listener = |socket| Listener { socket, is_ready: true };
        let now = Instant::now();
        Ok(Self {
            service,
            own,
            epoll,
            listeners: sockets.into_iter().map(listener).collect(),
            connections: Connections::new(),
            yielding: Vec::new(),
            now,
            tick: tick(service),
            swept: now,
            has_shortage: false,
        })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.patience().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll_wait: {error}"),
            }
            self.now = Instant::now();
            // Each has one turn, whatever happens to it meanwhile.
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
                phase::OPEN => self.accept(ACCEPTED_AT_ONCE),
                phase::DRAINING => {
                    // What the kernel has accepted by now is still served.
                    self.accept(usize::MAX);
                    self.listeners.clear();
                }
                _ => return self.cut_all(),
            }
            self.sweep();
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Option<Timespec> {
        let time = if !self.yielding.is_empty() {
            Duration::ZERO
        } else if self.listeners.iter().any(|listener| listener.is_ready) {
            match self.has_shortage {
                true => SHORTAGE,
                false => Duration::ZERO,
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
            source::BELL => {
                for letter in self.service.crew.receive(self.own) {
                    self.open(letter);
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

    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Look => {}
            Letter::Dialed { token, outcome } => match outcome {
                Ok(server) => self.establish(token, Some(server), EventFlags::OUT),
                Err(reason) => self.fail(token, &reason),
            },
            Letter::Bulk { route, relay } => {
                let token = self.connections.insert(Connection {
                    route,
                    is_seated: true,
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

    /// What epoll says of one of the sockets of a connection.
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

    /// Accepts what there is, up to this number at each place and as long as there may be more connections.
    fn accept(&mut self, at_once: usize) {
        self.has_shortage = false;
        for route in 0..self.listeners.len() {
            for _ in 0..at_once {
                if !self.listeners[route].is_ready || self.has_shortage {
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
            // More wait until others have ended.
            service.connections.fetch_sub(1, Ordering::Relaxed);
            service.full.goes_on(self.now);
            self.has_shortage = true;
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&listener.socket, flags) {
            Ok(client) => {
                service.accepted.fetch_add(1, Ordering::Relaxed);
                if others + 1 == service.limit && service.full.begins(self.now) {
                    warn!(
                        "there are {} connections, as many as there may be, so more wait until others end; raise --max-connections, or \
                         the limit of open files (ulimit -n, docker run --ulimit nofile=)",
                        service.limit
                    );
                }
                return self.begin(route, Socket::new(client));
            }
            Err(Errno::AGAIN) => listener.is_ready = false,
            // It was gone before it was accepted, or so.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PERM | Errno::PROTO) => {}
            Err(error) => {
                self.has_shortage = true;
                if service.unaccepted.begins(self.now) {
                    warn!("no connection can be accepted for the moment: {error}");
                }
            }
        }
        service.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// If it is known where to connect to, that is done here.
    fn begin(&mut self, route: usize, client: Socket) {
        let Some(known) = self.service.dialer.known(&self.service.routes[route].rule.target) else {
            let token = self
                .connections
                .insert(Connection::new(route, Stage::Dialing { client }));
            return self.dial(token);
        };
        match self.service.dialer.begin_to_connect(known.to) {
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
            Err(reason) => {
                let token = self
                    .connections
                    .insert(Connection::new(route, Stage::Dialing { client }));
                self.fail(token, &reason);
            }
        }
    }

    /// There is a server. Epoll tells of it already if it was connected to here.
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
        let Route { rule, reach } = &self.service.routes[connection.route];
        reach.succeeded(rule);
        let added = self.add(&relay.client, source::CLIENT, token);
        let added = added.and_then(|()| match is_registered {
            true => Ok(()),
            false => self.add(&relay.server, source::SERVER, token),
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
        let is_alone = self.service.crew.load(self.own) <= usize::from(connection.is_seated);
        let progress = relay.advance(is_alone);
        let wants_seat = relay.is_bulk() && !connection.is_seated;
        match progress {
            Progress::Over => self.remove(token),
            _ if wants_seat => self.seat(token, progress),
            Progress::Yields => self.let_others(token),
            Progress::Waits => {}
        }
    }

    /// It goes on when the others have had their turn.
    fn let_others(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.is_yielding = true;
            self.yielding.push(token);
        }
    }

    /// There is a lot to move.
    fn seat(&mut self, token: Token, progress: Progress) {
        let member = self.service.crew.take_seat(self.own);
        if member == self.own {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.is_seated = true;
            }
            if progress == Progress::Yields {
                self.let_others(token);
            }
        } else if let Some(Connection {
            route,
            stage: Stage::Relaying(relay),
            ..
        }) = self.connections.remove(token)
        {
            for socket in [&relay.client, &relay.server] {
                // It is there.
                let _ = epoll::delete(&self.epoll, socket);
            }
            self.service.crew.send(member, Letter::Bulk { route, relay });
        }
    }

    /// Somebody else finds out where the server is, and connects.
    fn dial(&mut self, token: Token) {
        let (service, own) = (self.service, self.own);
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let target = &service.routes[connection.route].rule.target;
        service.asks.spawn(async move {
            let outcome = service.dialer.dial(target).await;
            service.crew.send(own, Letter::Dialed { token, outcome });
        });
    }

    /// What was known of the server was wrong, if it was only known.
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
        match self.service.dialer.doubt(target) {
            true => self.dial(token),
            false => {
                let (to, error) = (known.to, error.into());
                self.fail(token, &Unreachable::Dial { to, error });
            }
        }
    }

    fn fail(&mut self, token: Token, reason: &Unreachable) {
        if let Some(connection) = self.connections.get_mut(token) {
            let Route { rule, reach } = &self.service.routes[connection.route];
            reach.failed(rule, reason);
            self.remove(token);
        }
    }

    /// It is over, or cut.
    fn remove(&mut self, token: Token) {
        let Some(Connection { stage, is_seated, .. }) = self.connections.remove(token) else {
            return;
        };
        if let Stage::Connecting { client, .. } | Stage::Dialing { client } = &stage {
            // As if it had been refused, as far as that is still possible.
            client.reset();
        }
        drop(stage);
        if is_seated {
            self.service.crew.leave_seat(self.own);
        }
        self.service.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn cut_all(mut self) {
        for token in self.connections.tokens_of(|_| true) {
            self.remove(token);
        }
    }

    /// Now and then it looks at the connections for which nothing happens.
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
                if connection.is_seated && !relay.is_bulk() {
                    connection.is_seated = false;
                    service.crew.leave_seat(own);
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
