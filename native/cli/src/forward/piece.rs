//! What a stream has read and not sent yet, in memory that is only held while there is something in it, and then goes back to the
//! thread's spare ones.

use std::cell::RefCell;
use std::thread::LocalKey;

/// How many bytes are read at once, of a stream of which there is little, and of one of which there is a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Large,
}

impl Size {
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 16 * 1024,
            Self::Large => 1024 * 1024,
        }
    }

    fn spare(self) -> &'static LocalKey<RefCell<Vec<Box<[u8]>>>> {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }
}

/// Spare ones of each thread and size.
const MAX_SPARE: usize = 2;

thread_local! {
    static SMALL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Some bytes.
pub struct Piece {
    size: Size,
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Piece {
    /// An empty one.
    pub fn take(size: Size) -> Self {
        let spare = size.spare().with_borrow_mut(Vec::pop);
        Self {
            size,
            memory: spare.unwrap_or_else(|| vec![0; size.bytes()].into_boxed_slice()),
            start: 0,
            end: 0,
        }
    }

    /// Its memory is for another one.
    pub fn put_back(self) {
        self.size.spare().with_borrow_mut(|spare| {
            if spare.len() < MAX_SPARE {
                spare.push(self.memory);
            }
        });
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What has to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// So much of it has been sent.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Where to read to, as it is empty.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// So much has been read.
    pub fn fill(&mut self, length: usize) {
        (self.start, self.end) = (0, length);
    }
}
