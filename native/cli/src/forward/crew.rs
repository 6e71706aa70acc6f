//! The threads, what they tell each other, and which of them has how much to move.
//!
//! The kernel deals out connections by chance. Short ones even out; a few that move a lot do not, so each of these goes on in
//! the thread that has the fewest of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::event::{eventfd, EventfdFlags};
use rustix::io::{read, write, Errno};

use super::connections::Token;
use super::reach::Unreachable;
use super::relay::Relay;

/// All threads.
pub struct Crew(Vec<Member>);

struct Member {
    letters: Mutex<Vec<Letter>>,
    /// It is readable when there are letters.
    bell: OwnedFd,
    bulk: AtomicUsize,
}

/// Something for one of the threads.
pub enum Letter {
    /// What has come of connecting to the server of one of its connections.
    Dialed {
        token: Token,
        outcome: Result<OwnedFd, Unreachable>,
    },
    /// A connection that goes on in this thread, which has a seat there.
    Bulk { route: usize, relay: Box<Relay> },
    /// The phase is another one.
    Look,
}

impl Crew {
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn new(count: usize) -> Result<Self, Errno> {
        let member = |_| {
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Member {
                letters: Mutex::default(),
                bell,
                bulk: AtomicUsize::new(0),
            })
        };
        (0..count).map(member).collect::<Result<_, Errno>>().map(Self)
    }

    pub fn send(&self, to: usize, letter: Letter) {
        let member = &self.0[to];
        member
            .letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(letter);
        // It only fails if it has been rung very often.
        let _ = write(&member.bell, &1u64.to_ne_bytes());
    }

    pub fn send_all(&self, letter: impl Fn() -> Letter) {
        (0..self.0.len()).for_each(|to| self.send(to, letter()));
    }

    pub fn bell(&self, own: usize) -> BorrowedFd<'_> {
        self.0[own].bell.as_fd()
    }

    /// What has been sent to this thread.
    pub fn receive(&self, own: usize) -> Vec<Letter> {
        let member = &self.0[own];
        // It is only empty if it rings for letters that have been taken already.
        let _ = read(&member.bell, &mut [0; 8]);
        std::mem::take(&mut member.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops what nobody will receive any more.
    pub fn forget(&self) {
        (0..self.0.len()).for_each(|own| drop(self.receive(own)));
    }

    /// A seat for a connection of this thread that moves a lot: there, unless another one has fewer.
    pub fn take_seat(&self, own: usize) -> usize {
        let load = |&member: &usize| (self.load(member), member != own);
        let member = (0..self.0.len()).min_by_key(load).unwrap_or(own);
        self.0[member].bulk.fetch_add(1, Ordering::Relaxed);
        member
    }

    /// How many seats of this thread are taken.
    pub fn load(&self, member: usize) -> usize {
        self.0[member].bulk.load(Ordering::Relaxed)
    }

    pub fn leave_seat(&self, member: usize) {
        self.0[member].bulk.fetch_sub(1, Ordering::Relaxed);
    }
}
