//! Pipes that bytes are moved through from one socket to another without being copied: splice(2).
//!
//! A pipe is only held while there is something in it, and then goes back to the thread's spare ones.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice, PipeFlags, SpliceFlags};

/// What a pipe may hold, in bytes. It is the most that the kernel allows everybody (`fs.pipe-max-size`).
const SIZE: usize = 1 << 20;

/// Below that, copying is faster in any case. An unprivileged user who has many pipes gets small ones (`fs.pipe-user-pages-soft`).
const USEFUL_SIZE: usize = 1 << 16;

/// Spare ones of each thread.
const MAX_SPARE: usize = 16;

/// A pipe, and how many bytes are in it.
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// An empty one; `None` if the system gives none that is of use.
    pub fn take() -> Option<Self> {
        SPARE.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    /// Keeps it for another connection, if it is empty.
    pub fn put_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if self.held == 0 && spare.len() < MAX_SPARE {
                spare.push(self);
            }
        });
    }

    fn open() -> Option<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let size = fcntl_setpipe_size(&writer, SIZE).or_else(|_| fcntl_getpipe_size(&writer));
        (size.ok()? >= USEFUL_SIZE).then_some(Self {
            reader,
            writer,
            held: 0,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what a socket has received into the pipe, which is empty: the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// What splice(2) says. As the pipe is empty, it would only block for the socket.
    pub fn fill(&mut self, from: impl AsFd) -> Result<usize, Errno> {
        debug_assert!(self.is_empty());
        let moved = splice(from, None, &self.writer, None, SIZE, flags())?;
        self.held = moved;
        Ok(moved)
    }

    /// Moves what is in the pipe to a socket: the number of bytes.
    ///
    /// # Errors
    ///
    /// What splice(2) says. As the pipe is not empty, it would only block for the socket.
    pub fn drain(&mut self, to: impl AsFd) -> Result<usize, Errno> {
        debug_assert!(!self.is_empty());
        let moved = splice(&self.reader, None, to, None, self.held, flags())?;
        self.held -= moved;
        Ok(moved)
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}
