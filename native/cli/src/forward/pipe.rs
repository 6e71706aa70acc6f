//! Pipes that move bytes from one socket to another without a copy: splice(2).
//!
//! A connection holds a pipe only while there are bytes in it. Each thread pools the others.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice, PipeFlags, SpliceFlags};

/// The capacity of a pipe, in bytes: the default maximum for unprivileged users (`fs.pipe-max-size`).
const SIZE: usize = 1 << 20;

/// The minimum useful capacity, in bytes; below it, copying is faster. An unprivileged user with many pipes gets small ones
/// (`fs.pipe-user-pages-soft`).
const USEFUL_SIZE: usize = 1 << 16;

/// The maximum number of pooled pipes per thread.
const MAX_POOLED: usize = 16;

/// A pipe, and the number of bytes in it.
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// Takes an empty pipe from the pool, or opens one. Returns `None` if the system refuses a pipe of a useful size.
    pub fn take() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    /// Returns the pipe to the pool, if it is empty.
    pub fn put_back(self) {
        POOL.with_borrow_mut(|pool| {
            if self.held == 0 && pool.len() < MAX_POOLED {
                pool.push(self);
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

    /// Returns whether there are no bytes in it.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves received bytes from a socket into the pipe, which must be empty. Returns their number, 0 at the end of the stream.
    pub fn fill(&mut self, from: impl AsFd) -> Result<usize, Errno> {
        debug_assert!(self.is_empty());
        let moved = splice(from, None, &self.writer, None, SIZE, flags())?;
        self.held = moved;
        Ok(moved)
    }

    /// Moves bytes from the pipe to a socket. Returns their number.
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
