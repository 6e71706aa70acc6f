//! One direction of a connection: what one socket has received is sent on the other.
//!
//! A stream begins by being copied, in small pieces through a buffer that all connections of a thread share. When there is a lot of
//! it, the kernel moves it through a [`Pipe`]. Either way nothing is read before what was read is sent, so that whoever sends
//! faster than the other one reads is held up.

use rustix::io::Errno;

use super::pipe::Pipe;
use super::socket::Socket;

/// What is read at once while it is copied, in bytes.
pub const PIECE: usize = 16 * 1024;

/// After so many reads in a row that were full, or short, the stream goes over to splicing, or back to copying.
const PATIENCE: u8 = 4;

/// After so many reads the other connections of the thread have their turn.
const TURN: usize = 16;

/// Where one direction is.
#[derive(Default)]
pub struct Flow {
    way: Way,
    /// How many reads in a row speak for the other way.
    doubts: u8,
    /// What was read, but not sent yet; while it is copied.
    rest: Vec<u8>,
    /// The same while it is spliced. There is something in it.
    pipe: Option<Pipe>,
    at_end: bool,
    /// How many bytes were sent.
    sent: u64,
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

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Copied,
    Spliced,
    /// Splicing is not possible with these sockets.
    OnlyCopied,
}

impl Flow {
    /// How many bytes have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether there is so much of it that it is spliced.
    pub fn is_bulk(&self) -> bool {
        self.way == Way::Spliced
    }

    /// Goes on as far as possible. What the buffer holds before and after means nothing.
    pub fn advance(&mut self, from: &mut Socket, to: &mut Socket, buffer: &mut [u8]) -> Step {
        for _ in 0..TURN {
            match self.send(to) {
                Ok(true) => {}
                Ok(false) => return Step::Waits,
                Err(_) => return Step::WriteBroken,
            }
            if self.at_end {
                return Step::Ended;
            }
            let received = match self.way {
                Way::Spliced => self.splice(from),
                Way::Copied | Way::OnlyCopied => from.receive(buffer),
            };
            match received {
                Ok(None) => return Step::Waits,
                Ok(Some(0)) => self.at_end = true,
                Ok(Some(length)) => {
                    if self.pipe.is_none() && self.copy(to, &buffer[..length]).is_err() {
                        return Step::WriteBroken;
                    }
                    self.choose(length);
                }
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.way == Way::Spliced => self.way = Way::OnlyCopied,
                Err(_) => return Step::ReadBroken,
            }
        }
        Step::Yields
    }

    /// Sends what has been read: whether that is all.
    fn send(&mut self, to: &mut Socket) -> Result<bool, Errno> {
        while let Some(pipe) = &mut self.pipe {
            match to.drain(pipe) {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => return Err(Errno::PIPE),
                Ok(Some(length)) => self.sent += length as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
                pipe.put_back();
            }
        }
        while !self.rest.is_empty() {
            match to.send(&self.rest) {
                Ok(None) => return Ok(false),
                Ok(Some(length)) => {
                    self.sent += length as u64;
                    self.rest.drain(..length);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if self.rest.is_empty() {
                // Its memory is not kept for the next time that this happens.
                self.rest = Vec::new();
            }
        }
        Ok(true)
    }

    /// Sends what the other socket takes of this, and keeps the rest.
    fn copy(&mut self, to: &mut Socket, received: &[u8]) -> Result<(), Errno> {
        let sent = match to.send(received) {
            Ok(sent) => sent.unwrap_or(0),
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error),
        };
        self.sent += sent as u64;
        self.rest.extend_from_slice(&received[sent..]);
        Ok(())
    }

    fn splice(&mut self, from: &mut Socket) -> Result<Option<usize>, Errno> {
        let Some(mut pipe) = Pipe::take() else {
            // There may be one later.
            (self.way, self.doubts) = (Way::Copied, 0);
            return Err(Errno::INTR);
        };
        let filled = from.fill(&mut pipe);
        match pipe.is_empty() {
            true => pipe.put_back(),
            false => self.pipe = Some(pipe),
        }
        filled
    }

    fn choose(&mut self, length: usize) {
        let (doubtful, other) = match self.way {
            Way::Copied => (length == PIECE, Way::Spliced),
            Way::Spliced => (length < PIECE, Way::Copied),
            Way::OnlyCopied => return,
        };
        self.doubts = if doubtful { self.doubts + 1 } else { 0 };
        if self.doubts == PATIENCE {
            (self.way, self.doubts) = (other, 0);
        }
    }
}
