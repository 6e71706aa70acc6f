//! A socket and its readiness. Edge-triggered epoll reports each change once, so the state is kept here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{recv, send, shutdown, sockopt, RecvFlags, SendFlags, Shutdown};

use super::pipe::Pipe;
use crate::sockets::enable_keepalive;

/// The events requested of epoll.
pub const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// A non-blocking socket.
pub struct Socket {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    /// The peer has ended its stream, so a short read does not mean that the receive buffer is empty.
    at_end: bool,
}

impl Socket {
    /// Wraps a socket of unknown readiness, which counts as ready.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            readable: true,
            writable: true,
            at_end: false,
        }
    }

    /// Wraps a socket that is not ready before epoll reports it.
    pub fn waiting(fd: OwnedFd) -> Self {
        Self {
            readable: false,
            writable: false,
            ..Self::new(fd)
        }
    }

    /// Applies an event of epoll.
    pub fn notice(&mut self, flags: EventFlags) {
        let broken = EventFlags::HUP | EventFlags::ERR;
        self.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken);
        self.writable |= flags.intersects(EventFlags::OUT | broken);
        self.at_end |= flags.intersects(EventFlags::RDHUP | broken);
    }

    /// Returns whether a read may succeed.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Returns whether the peer has ended its stream, so that no more bytes will arrive.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads. Returns the number of bytes, 0 at the end of the stream, or `None` if the read would block.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let size = buffer.len();
        if !self.readable {
            return Ok(None);
        }
        let received = ready(
            &mut self.readable,
            recv(&self.fd, buffer, RecvFlags::empty()).map(|(_, length)| length),
        )?;
        if received.is_some_and(|length| 0 < length && length < size) && !self.at_end {
            // A short read emptied the receive buffer. This saves a system call.
            self.readable = false;
        }
        Ok(received)
    }

    /// Sends. Returns the number of bytes sent, which may be fewer, or `None` if the write would block. If `more_follows`, more bytes or
    /// the end of the stream may share a packet with them.
    pub fn send(&mut self, bytes: &[u8], more_follows: bool) -> Result<Option<usize>, Errno> {
        if !self.writable {
            return Ok(None);
        }
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more_follows);
        ready(&mut self.writable, send(&self.fd, bytes, flags))
    }

    /// Moves received bytes into the pipe, which must be empty. Returns the same as [`Socket::receive`].
    pub fn fill(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, Errno> {
        if !self.readable {
            return Ok(None);
        }
        ready(&mut self.readable, pipe.fill(&self.fd))
    }

    /// Sends the bytes in the pipe, which must not be empty. Returns the same as [`Socket::send`].
    pub fn drain(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, Errno> {
        if !self.writable {
            return Ok(None);
        }
        ready(&mut self.writable, pipe.drain(&self.fd))
    }

    /// Ends the stream to the peer.
    pub fn end(&self) {
        // This fails if the peer is gone, and then the next read fails, too.
        let _ = shutdown(&self.fd, Shutdown::Write);
    }

    /// Makes the close of the socket a reset. The peer gets the bytes that the network accepts before that.
    pub fn reset(&self) {
        // This sends bytes that `MSG_MORE` holds back, even if the option was set before.
        let _ = sockopt::set_tcp_nodelay(&self.fd, true);
        // If this fails, the socket is closed without a reset.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Enables keepalive.
    pub fn enable_keepalive(&self) {
        // If this fails, a vanished peer is noticed later.
        let _ = enable_keepalive(&self.fd);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Turns `EAGAIN` into `None`, and records that the socket is not ready.
fn ready(is_ready: &mut bool, outcome: Result<usize, Errno>) -> Result<Option<usize>, Errno> {
    match outcome {
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN) => {
            *is_ready = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
