//! The mailboxes of the worker threads, and the distribution of bulk connections among the workers.
//!
//! The kernel distributes connections at random. That balances short connections. A bulk connection moves to the worker with the
//! fewest of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::event::{eventfd, EventfdFlags};
use rustix::io::{read, write, Errno};

use super::connection::Relay;
use super::slab::Token;
use super::target_health::TargetError;

/// The mailboxes of all workers.
pub struct Workers(Vec<Mailbox>);

struct Mailbox {
    messages: Mutex<Vec<Message>>,
    /// An eventfd that is readable while there are messages.
    wakeup: OwnedFd,
    /// The number of bulk connections of this worker.
    bulk: AtomicUsize,
}

/// A message for one worker.
pub enum Message {
    /// The result of connecting to the server of one of its connections.
    Dialed {
        /// The connection.
        token: Token,
        /// The server's socket.
        outcome: Result<OwnedFd, TargetError>,
    },
    /// A bulk connection that moves to this worker, which has a bulk slot for it.
    Bulk {
        /// The index of the route.
        route: usize,
        /// The connection.
        relay: Box<Relay>,
    },
    /// Read [`Service::phase`](super::worker::Service::phase) again.
    ReadPhase,
}

impl Workers {
    /// Makes the mailboxes for this number of workers.
    pub fn new(count: usize) -> Result<Self, Errno> {
        let mailbox = |_| {
            let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Mailbox {
                messages: Mutex::default(),
                wakeup,
                bulk: AtomicUsize::new(0),
            })
        };
        (0..count).map(mailbox).collect::<Result<_, Errno>>().map(Self)
    }

    /// Sends a message to a worker.
    pub fn send(&self, to: usize, message: Message) {
        let mailbox = &self.0[to];
        mailbox
            .messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
        // This fails only if the counter is full, and then the worker wakes up anyway.
        let _ = write(&mailbox.wakeup, &1u64.to_ne_bytes());
    }

    /// Sends a message to each worker.
    pub fn send_all(&self, message: impl Fn() -> Message) {
        (0..self.0.len()).for_each(|to| self.send(to, message()));
    }

    /// Returns the descriptor that is readable while the worker has messages.
    pub fn wakeup(&self, own: usize) -> BorrowedFd<'_> {
        self.0[own].wakeup.as_fd()
    }

    /// Takes the messages of a worker.
    pub fn receive(&self, own: usize) -> Vec<Message> {
        let mailbox = &self.0[own];
        // The counter is 0 if the messages were taken at an earlier wakeup.
        let _ = read(&mailbox.wakeup, &mut [0; 8]);
        std::mem::take(&mut mailbox.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops the messages that no worker will receive any more.
    pub fn clear(&self) {
        (0..self.0.len()).for_each(|own| drop(self.receive(own)));
    }

    /// Reserves a bulk slot for a connection of this worker: there, unless another worker has fewer. Returns the worker.
    pub fn take_bulk_slot(&self, own: usize) -> usize {
        let load = |&mailbox: &usize| (self.load(mailbox), mailbox != own);
        let mailbox = (0..self.0.len()).min_by_key(load).unwrap_or(own);
        self.0[mailbox].bulk.fetch_add(1, Ordering::Relaxed);
        mailbox
    }

    /// Returns the number of bulk connections of a worker.
    pub fn load(&self, mailbox: usize) -> usize {
        self.0[mailbox].bulk.load(Ordering::Relaxed)
    }

    /// Releases a bulk slot.
    pub fn release_bulk_slot(&self, mailbox: usize) {
        self.0[mailbox].bulk.fetch_sub(1, Ordering::Relaxed);
    }
}
