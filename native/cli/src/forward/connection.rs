//! A forwarded connection: two streams that end independently.

use std::time::{Duration, Instant};

use super::copy::{CopyStep, StreamCopy};
use super::socket::Socket;

/// After this time keepalive is enabled for the server's socket, which costs system calls. A client's socket inherits it from the
/// listener at no cost.
const KEEPALIVE_DELAY: Duration = Duration::from_secs(1);

/// A connection that is forwarded in both directions until both streams have ended. Any other end, also a drop, resets both sides,
/// so that neither peer mistakes a truncated stream for a complete one.
pub struct Relay {
    /// The accepted socket.
    pub client: Socket,
    /// The socket to the target.
    pub server: Socket,
    up: Direction,
    down: Direction,
    has_keepalive: bool,
    /// The last time that the byte count was seen to change.
    idle_since: Instant,
    /// The byte count at that time.
    sent: u64,
    has_ended_well: bool,
}

/// The result of a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The sockets are not ready.
    Blocked,
    /// The turn is over, but the connection could continue at once.
    Yields,
    /// The connection has ended.
    Over,
}

/// From the client to the server, or back.
#[derive(Default)]
struct Direction {
    copy: StreamCopy,
    ended: Option<CopyStep>,
    /// True if the FIN has been passed on.
    passed_on: bool,
}

impl Relay {
    /// Starts to forward between two connected sockets.
    pub fn new(client: Socket, server: Socket, now: Instant) -> Self {
        Self {
            client,
            server,
            up: Direction::default(),
            down: Direction::default(),
            has_keepalive: false,
            idle_since: now,
            sent: 0,
            has_ended_well: false,
        }
    }

    /// Copies until the sockets block or the turn is over. `is_alone` means that no other connection of the worker is in bulk mode.
    pub fn advance(&mut self, is_alone: bool) -> Progress {
        let yields = self.up.advance(&mut self.client, &mut self.server, is_alone)
            | self.down.advance(&mut self.server, &mut self.client, is_alone);
        match (self.up.ended, self.down.ended) {
            (Some(CopyStep::Ended), Some(CopyStep::Ended)) => {
                self.has_ended_well = true;
                return Progress::Over;
            }
            (Some(CopyStep::ReadFailed), _) | (_, Some(CopyStep::ReadFailed)) => return Progress::Over,
            // A peer that accepts no more bytes may have sent some before, so its stream is still copied to the end.
            (Some(_), Some(_)) => return Progress::Over,
            _ => {}
        }
        // If both have ended, closing the sockets passes the ends on.
        self.up.pass_on_end(&self.server);
        self.down.pass_on_end(&self.client);
        if yields {
            Progress::Yields
        } else {
            Progress::Blocked
        }
    }

    /// Returns whether one direction is in bulk mode.
    pub fn is_bulk(&self) -> bool {
        self.up.copy.is_bulk() || self.down.copy.is_bulk()
    }

    /// Checks the connection from time to time. Returns whether it has been idle for longer than `limit`.
    pub fn is_idle(&mut self, limit: Option<Duration>, now: Instant) -> bool {
        let sent = self.up.copy.sent() + self.down.copy.sent();
        let idle = now.saturating_duration_since(self.idle_since);
        if !self.has_keepalive && idle >= KEEPALIVE_DELAY {
            self.has_keepalive = true;
            self.server.enable_keepalive();
        }
        if sent != self.sent {
            (self.sent, self.idle_since) = (sent, now);
            return false;
        }
        self.up.copy.leave_bulk_mode();
        self.down.copy.leave_bulk_mode();
        limit.is_some_and(|limit| idle >= limit)
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
    /// Returns whether the copy could continue at once.
    fn advance(&mut self, from: &mut Socket, to: &mut Socket, is_alone: bool) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match self.copy.advance(from, to, is_alone) {
            CopyStep::Blocked => false,
            CopyStep::Yields => true,
            end => {
                self.ended = Some(end);
                false
            }
        }
    }

    fn pass_on_end(&mut self, to: &Socket) {
        if self.ended == Some(CopyStep::Ended) && !self.passed_on {
            self.passed_on = true;
            to.end();
        }
    }
}
