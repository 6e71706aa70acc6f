//! A connection: two streams, each of which has its own end.

use std::time::{Duration, Instant};

use super::flow::{Flow, Step};
use super::socket::Socket;

/// A connection that lasts for so long is worth asking whether its server is still there. (Of clients it is asked from the beginning:
/// there it costs nothing.)
const SETTLED: Duration = Duration::from_secs(1);

/// A connection that is forwarded in both directions until both streams have ended. What ends in any other way, or is dropped before,
/// ends with a reset on both sides, so that nobody takes it for the end of what the other one had to say.
pub struct Relay {
    pub client: Socket,
    pub server: Socket,
    up: Direction,
    down: Direction,
    is_settled: bool,
    /// Since then nothing has been sent, as far as has been looked, and so much before.
    quiet_since: Instant,
    sent: u64,
    has_ended_well: bool,
}

/// What has become of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Waits,
    /// It is the others' turn, and it could go on at once.
    Yields,
    Over,
}

/// From the client to the server, or back.
#[derive(Default)]
struct Direction {
    flow: Flow,
    ended: Option<Step>,
    /// So does the one that it is sent to.
    passed_on: bool,
}

impl Relay {
    pub fn new(client: Socket, server: Socket, now: Instant) -> Self {
        Self {
            client,
            server,
            up: Direction::default(),
            down: Direction::default(),
            is_settled: false,
            quiet_since: now,
            sent: 0,
            has_ended_well: false,
        }
    }

    /// Goes on as far as possible. It is alone if no other connection of the thread moves a lot.
    pub fn advance(&mut self, is_alone: bool) -> Progress {
        let yields = self.up.advance(&mut self.client, &mut self.server, is_alone)
            | self.down.advance(&mut self.server, &mut self.client, is_alone);
        match (self.up.ended, self.down.ended) {
            (Some(Step::Ended), Some(Step::Ended)) => {
                self.has_ended_well = true;
                return Progress::Over;
            }
            (Some(Step::ReadBroken), _) | (_, Some(Step::ReadBroken)) => return Progress::Over,
            // Whom nothing can be sent to any more may have sent something before, and that still arrives.
            (Some(_), Some(_)) => return Progress::Over,
            _ => {}
        }
        // Closing both, above, ends both streams too.
        self.up.pass_on_the_end(&self.server);
        self.down.pass_on_the_end(&self.client);
        match yields {
            true => Progress::Yields,
            false => Progress::Waits,
        }
    }

    /// Whether there is a lot to move.
    pub fn is_bulk(&self) -> bool {
        self.up.flow.is_bulk() || self.down.flow.is_bulk()
    }

    /// Looks at it now and then: whether it has been idle for longer than this.
    pub fn is_idle(&mut self, limit: Option<Duration>, now: Instant) -> bool {
        let sent = self.up.flow.sent() + self.down.flow.sent();
        let quiet = now.saturating_duration_since(self.quiet_since);
        if !self.is_settled && quiet >= SETTLED {
            self.is_settled = true;
            self.server.keep_alive();
        }
        if sent != self.sent {
            (self.sent, self.quiet_since) = (sent, now);
            return false;
        }
        self.up.flow.rest();
        self.down.flow.rest();
        limit.is_some_and(|limit| quiet >= limit)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.has_ended_well {
            self.client.reset();
            self.server.reset();
        }
    }
}

impl Direction {
    /// Whether it could go on at once.
    fn advance(&mut self, from: &mut Socket, to: &mut Socket, is_alone: bool) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match self.flow.advance(from, to, is_alone) {
            Step::Waits => false,
            Step::Yields => true,
            end => {
                self.ended = Some(end);
                false
            }
        }
    }

    fn pass_on_the_end(&mut self, to: &Socket) {
        if self.ended == Some(Step::Ended) && !self.passed_on {
            self.passed_on = true;
            to.end();
        }
    }
}
