//! A socket of a connection, and what epoll has said of it: edge-triggered, so it is said once and has to be kept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{recv, send, shutdown, sockopt, RecvFlags, SendFlags, Shutdown};

use super::pipe::Pipe;
use crate::keep_alive::keep_alive;

/// What is asked of epoll.
pub const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// A socket that does not block.
pub struct Socket {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    /// The peer has ended its stream, so a short read does not mean that nothing is left.
    at_end: bool,
}

impl Socket {
    /// One of which nothing is known yet: it is worth a try.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            readable: true,
            writable: true,
            at_end: false,
        }
    }

    /// One that epoll will tell of.
    pub fn waiting(fd: OwnedFd) -> Self {
        Self {
            readable: false,
            writable: false,
            ..Self::new(fd)
        }
    }

    /// What epoll says.
    pub fn notice(&mut self, flags: EventFlags) {
        let broken = EventFlags::HUP | EventFlags::ERR;
        self.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken);
        self.writable |= flags.intersects(EventFlags::OUT | broken);
        self.at_end |= flags.intersects(EventFlags::RDHUP | broken);
    }

    /// Whether it is worth a try.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether all that will ever be read from it is there already.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads: the number of bytes, 0 at the end of the stream; `None` if it has to be waited for.
    ///
    /// # Errors
    ///
    /// What recv(2) says.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let size = buffer.len();
        if !self.readable {
            return Ok(None);
        }
        let received = waited_for(
            &mut self.readable,
            recv(&self.fd, buffer, RecvFlags::empty()).map(|(_, length)| length),
        )?;
        if received.is_some_and(|length| 0 < length && length < size) && !self.at_end {
            // That was all. It spares asking once more.
            self.readable = false;
        }
        Ok(received)
    }

    /// Sends: the number of bytes, which may be fewer; `None` if it has to be waited for. If it goes on at once, with more or with the
    /// end, that may share a packet with it.
    ///
    /// # Errors
    ///
    /// What send(2) says.
    pub fn send(&mut self, bytes: &[u8], goes_on: bool) -> Result<Option<usize>, Errno> {
        let flags = match goes_on {
            true => SendFlags::NOSIGNAL | SendFlags::MORE,
            false => SendFlags::NOSIGNAL,
        };
        match self.writable {
            true => waited_for(&mut self.writable, send(&self.fd, bytes, flags)),
            false => Ok(None),
        }
    }

    /// Moves what was received into the pipe, which is empty. The rest is as with [`Socket::receive`].
    ///
    /// # Errors
    ///
    /// What splice(2) says.
    pub fn fill(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, Errno> {
        match self.readable {
            true => waited_for(&mut self.readable, pipe.fill(&self.fd)),
            false => Ok(None),
        }
    }

    /// Sends what is in the pipe, which is not empty. The rest is as with [`Socket::send`].
    ///
    /// # Errors
    ///
    /// What splice(2) says.
    pub fn drain(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, Errno> {
        match self.writable {
            true => waited_for(&mut self.writable, pipe.drain(&self.fd)),
            false => Ok(None),
        }
    }

    /// Nothing more will be sent.
    pub fn end(&self) {
        // It fails if that side is gone already, which shows when it is read.
        let _ = shutdown(&self.fd, Shutdown::Write);
    }

    /// When it is dropped, the peer gets a reset, after all that the network takes of what was sent.
    pub fn reset(&self) {
        // This sends what still waits for more to share a packet with, also if it was set before.
        let _ = sockopt::set_tcp_nodelay(&self.fd, true);
        // Without it, it is closed in the usual way.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Has a peer found out that is gone without a word.
    pub fn keep_alive(&self) {
        // Without it that takes longer.
        let _ = keep_alive(&self.fd);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn waited_for(is_ready: &mut bool, outcome: Result<usize, Errno>) -> Result<Option<usize>, Errno> {
    match outcome {
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN) => {
            *is_ready = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
