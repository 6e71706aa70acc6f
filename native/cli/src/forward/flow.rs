//! One direction of a connection: what one socket has received is sent on the other.
//!
//! A stream begins by being copied, in small pieces through a buffer that all connections of a thread share. When there is a lot of
//! it, the kernel moves it through a [`Pipe`]. Either way nothing is read before what was read is sent, so that whoever sends
//! faster than the other one reads is held up.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::pipe::Pipe;

/// What is read at once while it is copied, in bytes.
const PIECE: usize = 16 * 1024;

/// After so many reads in a row that were full, or short, the stream goes over to splicing, or back to copying.
const PATIENCE: u8 = 4;

/// After so many reads the other connections of the thread have their turn.
const TURN: usize = 16;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// Why a stream has ended before its end.
#[derive(Debug)]
pub enum Broken {
    /// It can't be read any more.
    Read,
    /// It can't be sent any more.
    Write,
}

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

    /// Goes on until one of the sockets has to be waited for, or until all has been sent, up to the end of the stream.
    pub fn poll(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, to: &mut TcpStream) -> Poll<Result<(), Broken>> {
        for _ in 0..TURN {
            ready!(self.poll_send(cx, to)).map_err(|_| Broken::Write)?;
            if self.at_end {
                return Poll::Ready(Ok(()));
            }
            let received = match self.way {
                Way::Spliced => self.poll_splice(cx, from),
                Way::Copied | Way::OnlyCopied => BUFFER.with_borrow_mut(|buffer| self.poll_copy(cx, from, to, buffer)),
            };
            ready!(received)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what has been read.
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
        while let Some(pipe) = &mut self.pipe {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || pipe.drain(&*to)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(length) => self.sent += length as u64,
                Err(error) if is_to_be_repeated(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
                pipe.put_back();
            }
        }
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => {
                    self.sent += length as u64;
                    self.rest.drain(..length);
                }
            }
            if self.rest.is_empty() {
                // Its memory is not kept for the next time that this happens.
                self.rest = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and sends at once what the other socket takes of it.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffer: &mut [u8],
    ) -> Poll<Result<(), Broken>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer)).map_err(|_| Broken::Read)?;
        let received = buffer.filled();
        if received.is_empty() {
            self.at_end = true;
            return Poll::Ready(Ok(()));
        }
        self.choose(received.len());
        let sent = match Pin::new(to).poll_write(cx, received) {
            Poll::Ready(sent) => sent.map_err(|_| Broken::Write)?,
            Poll::Pending => 0,
        };
        self.sent += sent as u64;
        self.rest.extend_from_slice(&received[sent..]);
        Poll::Ready(Ok(()))
    }

    /// Reads once.
    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut TcpStream) -> Poll<Result<(), Broken>> {
        ready!(from.poll_read_ready(cx)).map_err(|_| Broken::Read)?;
        let Some(mut pipe) = Pipe::take() else {
            // There may be one later.
            (self.way, self.doubts) = (Way::Copied, 0);
            return Poll::Ready(Ok(()));
        };
        let filled = from.try_io(Interest::READABLE, || pipe.fill(&*from));
        match pipe.is_empty() {
            true => pipe.put_back(),
            false => self.pipe = Some(pipe),
        }
        match filled {
            Ok(0) => self.at_end = true,
            Ok(length) => self.choose(length),
            Err(error) if is_to_be_repeated(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.way = Way::OnlyCopied,
            Err(_) => return Poll::Ready(Err(Broken::Read)),
        }
        Poll::Ready(Ok(()))
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

/// After that the socket is waited for, if need be.
fn is_to_be_repeated(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
