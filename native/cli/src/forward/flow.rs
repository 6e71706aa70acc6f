//! One direction of a connection: what one socket has received is sent on the other.
//!
//! A stream is copied, in small pieces as long as there is little of it. Of one that moves a lot the pieces are large; and while its
//! thread has several of those, so that all of the processor is used, the kernel moves them through a [`Pipe`], if the system gives
//! one. Either way nothing is read before what was read is sent, so that whoever sends faster than the other one reads is held up.

use rustix::io::Errno;

use super::piece::{Piece, Size};
use super::pipe::Pipe;
use super::socket::Socket;

/// After so many reads in a row that were as large as a small piece, or not, the stream is one that moves a lot, or is not.
const PATIENCE: u8 = 4;

/// After so many reads, or bytes, the other connections of the thread have their turn.
const TURN: usize = 16;
const TURN_BYTES: usize = 2 * 1024 * 1024;

/// Where one direction is.
#[derive(Default)]
pub struct Flow {
    is_bulk: bool,
    /// How many reads in a row speak for the opposite.
    doubts: u8,
    /// What was read, but not sent yet. There is something in it.
    held: Option<Held>,
    /// The sockets are not of a kind that can be spliced.
    is_unspliceable: bool,
    at_end: bool,
    /// How many bytes were sent.
    sent: u64,
}

enum Held {
    Piece(Piece),
    Pipe(Pipe),
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One of the sockets has to be waited for.
    Waits,
    /// It is the others' turn, and it could go on at once.
    Yields,
    /// All has been sent, up to the end of the stream.
    Ended,
    /// It can't be read any more.
    ReadBroken,
    /// It can't be sent any more.
    WriteBroken,
}

impl Flow {
    /// How many bytes have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether it moves a lot.
    pub fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Nothing has been sent for a while: unless that is because the other side does not read, it does not move a lot.
    pub fn rest(&mut self) {
        if self.held.is_none() {
            (self.is_bulk, self.doubts) = (false, 0);
        }
    }

    /// Goes on as far as possible. It is alone if no other connection of the thread moves a lot.
    pub fn advance(&mut self, from: &mut Socket, to: &mut Socket, is_alone: bool) -> Step {
        let before = self.sent;
        for _ in 0..TURN {
            match self.send(to, from.is_at_end()) {
                Ok(true) => {}
                Ok(false) => return Step::Waits,
                Err(_) => return Step::WriteBroken,
            }
            if self.at_end {
                return Step::Ended;
            }
            if self.sent - before >= TURN_BYTES as u64 {
                break;
            }
            match self.receive(from, is_alone) {
                Ok(None) => return Step::Waits,
                Ok(Some(0)) => self.at_end = true,
                Ok(Some(length)) => self.judge(length),
                Err(Errno::INTR) => {}
                Err(_) => return Step::ReadBroken,
            }
        }
        Step::Yields
    }

    /// Sends what has been read: whether that is all. If it goes on at once, with more or with the end, that may share a packet with it.
    fn send(&mut self, to: &mut Socket, goes_on: bool) -> Result<bool, Errno> {
        while let Some(held) = &mut self.held {
            let sent = match held {
                Held::Piece(piece) => to.send(piece.bytes(), goes_on),
                Held::Pipe(pipe) => to.drain(pipe),
            };
            match sent {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => return Err(Errno::PIPE),
                Ok(Some(length)) => {
                    self.sent += length as u64;
                    if let Held::Piece(piece) = held {
                        piece.consume(length);
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

    /// Reads once: the number of bytes, 0 at the end of the stream; `None` if it has to be waited for.
    fn receive(&mut self, from: &mut Socket, is_alone: bool) -> Result<Option<usize>, Errno> {
        if !from.is_readable() {
            return Ok(None);
        }
        let (received, held) = match self.room(is_alone) {
            Held::Piece(mut piece) => {
                let received = from.receive(piece.room());
                piece.fill(received.ok().flatten().unwrap_or(0));
                (received, Held::Piece(piece))
            }
            Held::Pipe(mut pipe) => match from.fill(&mut pipe) {
                Err(Errno::INVAL) => {
                    self.is_unspliceable = true;
                    (Err(Errno::INTR), Held::Pipe(pipe))
                }
                received => (received, Held::Pipe(pipe)),
            },
        };
        match held.is_empty() {
            true => held.put_back(),
            false => self.held = Some(held),
        }
        received
    }

    fn room(&mut self, is_alone: bool) -> Held {
        if self.is_bulk && is_alone {
            return Held::Piece(Piece::take(Size::Large));
        }
        if self.is_bulk && !self.is_unspliceable {
            match Pipe::take() {
                Some(pipe) => return Held::Pipe(pipe),
                // It is not tried again for each piece.
                None => (self.is_bulk, self.doubts) = (false, 0),
            }
        }
        Held::Piece(Piece::take(Size::Small))
    }

    fn judge(&mut self, length: usize) {
        let is_large = length >= Size::Small.bytes();
        self.doubts = if is_large == self.is_bulk { 0 } else { self.doubts + 1 };
        if self.doubts == PATIENCE {
            (self.is_bulk, self.doubts) = (is_large, 0);
        }
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        match self {
            Self::Piece(piece) => piece.is_empty(),
            Self::Pipe(pipe) => pipe.is_empty(),
        }
    }

    /// For another one, as it is empty.
    fn put_back(self) {
        match self {
            Self::Piece(piece) => piece.put_back(),
            Self::Pipe(pipe) => pipe.put_back(),
        }
    }
}
