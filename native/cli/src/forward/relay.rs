//! A connection: two streams, each of which has its own end.

use std::future::Future;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use rustix::net::{shutdown, Shutdown};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, Instant, Sleep};

use super::flow::{Broken, Flow};
use super::listener::keep_alive;

/// A connection that lasts for so long is worth asking whether its server is still there. (Of clients it is asked from the beginning:
/// there it costs nothing.)
const SETTLED: Duration = Duration::from_secs(1);

/// Forwards in both directions until both streams have ended. What ends in any other way, or is dropped before, ends with a
/// reset on both sides, so that nobody takes it for the end of what the other one had to say.
pub struct Relay {
    client: TcpStream,
    server: TcpStream,
    up: Direction,
    down: Direction,
    clock: Clock,
    whole: bool,
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
    pub fn new(client: TcpStream, server: TcpStream, idle: Option<Duration>) -> Self {
        Self {
            client,
            server,
            up: Direction::default(),
            down: Direction::default(),
            clock: Clock::new(idle),
            whole: false,
        }
    }

    /// Whether it is over.
    fn proceed(&mut self, cx: &mut Context<'_>) -> bool {
        self.up.proceed(cx, &mut self.client, &mut self.server);
        self.down.proceed(cx, &mut self.server, &mut self.client);
        match (&self.up.ended, &self.down.ended) {
            (Some(Ok(())), Some(Ok(()))) => {
                self.whole = true;
                return true;
            }
            (Some(Err(Broken::Read)), _) | (_, Some(Err(Broken::Read))) => return true,
            // Whom nothing can be sent to any more may have sent something before, and that still arrives.
            (Some(_), Some(_)) => return true,
            _ => {}
        }
        // Closing both, above, ends both streams too.
        self.up.pass_on_the_end(&self.server);
        self.down.pass_on_the_end(&self.client);
        false
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let relay = &mut *self;
        if relay.proceed(cx) {
            return Poll::Ready(());
        }
        let sent = relay.up.flow.sent() + relay.down.flow.sent();
        relay.clock.poll(cx, sent, &relay.server)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.whole {
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
}

impl Direction {
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
