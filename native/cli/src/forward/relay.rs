//! A connection: two streams, each of which has its own end.

use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use rustix::net::{shutdown, Shutdown};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, Instant, Sleep};

use super::flow::{Broken, Flow};
use crate::keep_alive::keep_alive;

/// A connection that lasts for so long is worth asking whether its server is still there. (Of clients it is asked from the beginning:
/// there it costs nothing.)
const SETTLED: Duration = Duration::from_secs(1);

/// A connection that is forwarded in both directions until both streams have ended. What ends in any other way, or is dropped before,
/// ends with a reset on both sides, so that nobody takes it for the end of what the other one had to say.
pub struct Relay {
    sockets: Sockets,
    up: Direction,
    down: Direction,
    clock: Clock,
}

/// What has become of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Over,
    /// There is a lot to move.
    Bulk,
}

/// A connection between two threads.
pub struct Moving {
    client: std::net::TcpStream,
    server: std::net::TcpStream,
    up: Direction,
    down: Direction,
    idle: Option<Duration>,
}

struct Sockets {
    client: TcpStream,
    server: TcpStream,
    has_ended_well: bool,
}

/// From the client to the server, or back.
#[derive(Default)]
struct Direction {
    flow: Flow,
    ended: Option<Result<(), Broken>>,
    /// So does the one that it is sent to.
    passed_on: bool,
}

/// What is due when.
struct Clock {
    /// `None` when nothing is due any more.
    alarm: Option<Pin<Box<Sleep>>>,
    is_settled: bool,
    idle: Option<Duration>,
    /// Since then nothing has been sent, and so much before.
    since: Instant,
    sent: u64,
}

impl Relay {
    /// Has to be called in the runtime that it will run on.
    pub fn new(client: TcpStream, server: TcpStream, idle: Option<Duration>) -> Self {
        let sockets = Sockets {
            client,
            server,
            has_ended_well: false,
        };
        Self {
            sockets,
            up: Direction::default(),
            down: Direction::default(),
            clock: Clock::new(idle),
        }
    }

    /// Goes on until it is over, or until there is a lot to move.
    pub async fn until_bulk(&mut self) -> Progress {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Pending if self.up.flow.is_bulk() || self.down.flow.is_bulk() => Poll::Ready(Progress::Bulk),
            other => other.map(|()| Progress::Over),
        })
        .await
    }

    /// Goes on until it is over.
    pub async fn until_over(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Leaves this thread.
    ///
    /// # Errors
    ///
    /// Whatever the system says. The connection is lost then.
    pub fn leave(self) -> io::Result<Moving> {
        let Self {
            sockets,
            up,
            down,
            clock,
        } = self;
        let (client, server) = sockets.into_std()?;
        Ok(Moving {
            client,
            server,
            up,
            down,
            idle: clock.idle,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.proceed(cx) {
            return Poll::Ready(());
        }
        let sent = self.up.flow.sent() + self.down.flow.sent();
        self.clock.poll(cx, sent, &self.sockets.server)
    }

    /// Whether it is over.
    fn proceed(&mut self, cx: &mut Context<'_>) -> bool {
        let Sockets {
            client,
            server,
            has_ended_well,
        } = &mut self.sockets;
        self.up.proceed(cx, client, server);
        self.down.proceed(cx, server, client);
        match (&self.up.ended, &self.down.ended) {
            (Some(Ok(())), Some(Ok(()))) => {
                *has_ended_well = true;
                return true;
            }
            (Some(Err(Broken::Read)), _) | (_, Some(Err(Broken::Read))) => return true,
            // Whom nothing can be sent to any more may have sent something before, and that still arrives.
            (Some(_), Some(_)) => return true,
            _ => {}
        }
        // Closing both, above, ends both streams too.
        self.up.pass_on_the_end(server);
        self.down.pass_on_the_end(client);
        false
    }
}

impl Moving {
    /// Arrives on the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// Whatever the system says. The connection is lost then.
    pub fn arrive(self) -> io::Result<Relay> {
        let sockets = Sockets {
            client: TcpStream::from_std(self.client)?,
            server: TcpStream::from_std(self.server)?,
            has_ended_well: false,
        };
        Ok(Relay {
            sockets,
            up: self.up,
            down: self.down,
            clock: Clock::new(self.idle),
        })
    }
}

impl Sockets {
    /// The same two, which no runtime knows of.
    fn into_std(mut self) -> io::Result<(std::net::TcpStream, std::net::TcpStream)> {
        let unregistered = |socket: &TcpStream| socket.as_fd().try_clone_to_owned().map(Into::into);
        let both = (unregistered(&self.client)?, unregistered(&self.server)?);
        self.has_ended_well = true;
        Ok(both)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if !self.has_ended_well {
            for socket in [&self.client, &self.server] {
                // Without it, it is closed in the usual way.
                let _ = socket.set_zero_linger();
            }
        }
    }
}

impl Direction {
    fn proceed(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, to: &mut TcpStream) {
        if self.ended.is_none() {
            if let Poll::Ready(end) = self.flow.poll(cx, from, to) {
                self.ended = Some(end);
            }
        }
    }

    fn pass_on_the_end(&mut self, to: &TcpStream) {
        if matches!(self.ended, Some(Ok(()))) && !self.passed_on {
            self.passed_on = true;
            // It fails if that side is gone already, which the other direction finds out.
            let _ = shutdown(to, Shutdown::Write);
        }
    }
}

impl Clock {
    fn new(idle: Option<Duration>) -> Self {
        let since = Instant::now();
        let first = idle.map_or(SETTLED, |idle| idle.min(SETTLED));
        Self {
            alarm: Some(Box::pin(sleep_until(since + first))),
            is_settled: false,
            idle,
            since,
            sent: 0,
        }
    }

    /// Ready when the connection has been idle for too long. The alarm is not put off for each byte, but when it goes off.
    fn poll(&mut self, cx: &mut Context<'_>, sent: u64, server: &TcpStream) -> Poll<()> {
        if self.idle.is_some() && self.sent != sent {
            (self.sent, self.since) = (sent, Instant::now());
        }
        while let Some(alarm) = &mut self.alarm {
            ready!(alarm.as_mut().poll(cx));
            if !self.is_settled {
                self.is_settled = true;
                // Without it a server that is gone without a word is found out later.
                let _ = keep_alive(server);
            }
            match self.idle.map(|idle| self.since + idle) {
                None => self.alarm = None,
                Some(due) if due <= Instant::now() => return Poll::Ready(()),
                Some(due) => alarm.as_mut().reset(due),
            }
        }
        Poll::Pending
    }
}
