//! Copies one direction of a connection, from one socket to the other.
//!
//! A short stream is copied through a small buffer, a bulk stream through a large one. If a worker has several bulk streams, the
//! kernel moves the bytes through a [`Pipe`], which saves processor time. Nothing is read before the previous bytes are sent. This
//! slows a fast sender down to the speed of the receiver.

use rustix::io::Errno;

use super::buffer::{Buffer, Size};
use super::pipe::Pipe;
use super::socket::Socket;

/// Consecutive full (or short) reads needed to switch to (or from) bulk mode.
const BULK_THRESHOLD: u8 = 4;

/// Reads and bytes after which the other connections of the worker get their turn.
const TURN_READS: usize = 16;
const TURN_BYTES: usize = 2 * 1024 * 1024;

/// The state of one direction.
#[derive(Default)]
pub struct StreamCopy {
    is_bulk: bool,
    /// Consecutive reads that contradict `is_bulk`.
    contrary_reads: u8,
    /// Bytes that were read, but not sent yet; never empty.
    held: Option<Held>,
    /// The sockets do not support splice(2).
    is_unspliceable: bool,
    at_end: bool,
    /// The number of bytes sent.
    sent: u64,
}

enum Held {
    Buffer(Buffer),
    Pipe(Pipe),
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// One of the sockets is not ready.
    Blocked,
    /// The turn is over, but the copy could continue at once.
    Yields,
    /// All bytes up to the end of the stream are sent.
    Ended,
    /// Reading failed.
    ReadFailed,
    /// Writing failed.
    WriteFailed,
}

impl StreamCopy {
    /// Returns the number of bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns whether the stream is in bulk mode.
    pub fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Leaves bulk mode, because nothing was sent for a while. A stream whose receiver does not read stays in bulk mode.
    pub fn leave_bulk_mode(&mut self) {
        if self.held.is_none() {
            (self.is_bulk, self.contrary_reads) = (false, 0);
        }
    }

    /// Copies until a socket blocks or the turn is over. `is_alone` means that no other connection of the worker is in bulk mode.
    pub fn advance(&mut self, from: &mut Socket, to: &mut Socket, is_alone: bool) -> CopyStep {
        let before = self.sent;
        for _ in 0..TURN_READS {
            match self.send(to, from.is_at_end()) {
                Ok(true) => {}
                Ok(false) => return CopyStep::Blocked,
                Err(_) => return CopyStep::WriteFailed,
            }
            if self.at_end {
                return CopyStep::Ended;
            }
            if self.sent - before >= TURN_BYTES as u64 {
                break;
            }
            match self.receive(from, is_alone) {
                Ok(None) => return CopyStep::Blocked,
                Ok(Some(0)) => self.at_end = true,
                Ok(Some(length)) => self.update_mode(length),
                Err(Errno::INTR) => {}
                Err(_) => return CopyStep::ReadFailed,
            }
        }
        CopyStep::Yields
    }

    /// Sends the held bytes, and returns whether all of them are sent. If `more_follows`, more bytes or the end of the stream may share
    /// a packet with them.
    fn send(&mut self, to: &mut Socket, more_follows: bool) -> Result<bool, Errno> {
        while let Some(held) = &mut self.held {
            let sent = match held {
                Held::Buffer(buffer) => to.send(buffer.bytes(), more_follows),
                Held::Pipe(pipe) => to.drain(pipe),
            };
            match sent {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => return Err(Errno::PIPE),
                Ok(Some(length)) => {
                    self.sent += length as u64;
                    if let Held::Buffer(buffer) = held {
                        buffer.consume(length);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if let Some(held) = self.held.take_if(|held| held.is_empty()) {
                held.put_back();
            }
        }
        Ok(true)
    }

    /// Reads once. Returns the number of bytes, 0 at the end of the stream, or `None` if the read would block.
    fn receive(&mut self, from: &mut Socket, is_alone: bool) -> Result<Option<usize>, Errno> {
        if !from.is_readable() {
            return Ok(None);
        }
        let (received, held) = match self.empty(is_alone) {
            Held::Buffer(mut buffer) => {
                let received = from.receive(buffer.space());
                buffer.fill(received.ok().flatten().unwrap_or(0));
                (received, Held::Buffer(buffer))
            }
            Held::Pipe(mut pipe) => match from.fill(&mut pipe) {
                Err(Errno::INVAL) => {
                    self.is_unspliceable = true;
                    (Err(Errno::INTR), Held::Pipe(pipe))
                }
                received => (received, Held::Pipe(pipe)),
            },
        };
        if held.is_empty() {
            held.put_back();
        } else {
            self.held = Some(held);
        }
        received
    }

    /// Returns an empty buffer or pipe of the kind that fits the mode.
    fn empty(&mut self, is_alone: bool) -> Held {
        if self.is_bulk && is_alone {
            return Held::Buffer(Buffer::take(Size::Large));
        }
        if self.is_bulk && !self.is_unspliceable {
            match Pipe::take() {
                Some(pipe) => return Held::Pipe(pipe),
                // The next attempt waits for another switch to bulk mode.
                None => (self.is_bulk, self.contrary_reads) = (false, 0),
            }
        }
        Held::Buffer(Buffer::take(Size::Small))
    }

    fn update_mode(&mut self, length: usize) {
        let is_large = length >= Size::Small.bytes();
        self.contrary_reads = if is_large == self.is_bulk {
            0
        } else {
            self.contrary_reads + 1
        };
        if self.contrary_reads == BULK_THRESHOLD {
            (self.is_bulk, self.contrary_reads) = (is_large, 0);
        }
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        match self {
            Self::Buffer(buffer) => buffer.is_empty(),
            Self::Pipe(pipe) => pipe.is_empty(),
        }
    }

    /// Returns the empty buffer or pipe to the worker's pool.
    fn put_back(self) {
        match self {
            Self::Buffer(buffer) => buffer.put_back(),
            Self::Pipe(pipe) => pipe.put_back(),
        }
    }
}
