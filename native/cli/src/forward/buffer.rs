//! Buffers for bytes that were read and not sent yet. A connection holds one only while it has such bytes; each thread pools the
//! others.

use std::cell::RefCell;
use std::thread::LocalKey;

/// The size of a buffer: small for a short stream, large for a bulk stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 16 KiB.
    Small,
    /// 1 MiB.
    Large,
}

impl Size {
    /// Returns the size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 16 * 1024,
            Self::Large => 1024 * 1024,
        }
    }

    fn pool(self) -> &'static LocalKey<RefCell<Vec<Box<[u8]>>>> {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }
}

/// The maximum number of pooled buffers per thread and size.
const MAX_POOLED: usize = 2;

thread_local! {
    static SMALL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with the bytes from `start` to `end`.
pub struct Buffer {
    size: Size,
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Takes an empty buffer from the pool, or allocates one.
    pub fn take(size: Size) -> Self {
        let pooled = size.pool().with_borrow_mut(Vec::pop);
        Self {
            size,
            memory: pooled.unwrap_or_else(|| vec![0; size.bytes()].into_boxed_slice()),
            start: 0,
            end: 0,
        }
    }

    /// Returns the buffer to the pool.
    pub fn put_back(self) {
        self.size.pool().with_borrow_mut(|pool| {
            if pool.len() < MAX_POOLED {
                pool.push(self.memory);
            }
        });
    }

    /// Returns whether all bytes are sent.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the bytes that are not sent yet.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Marks this number of bytes as sent.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Returns the space to read into. The buffer must be empty.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Marks this number of bytes as read.
    pub fn fill(&mut self, length: usize) {
        (self.start, self.end) = (0, length);
    }
}
