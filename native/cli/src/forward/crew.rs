//! The threads, and which of them has how much to move.
//!
//! The kernel deals out connections by chance. Short ones even out; a few that move a lot do not, so each of these goes on in
//! the thread that has the fewest of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::runtime::Handle;

/// All threads.
pub struct Crew(Vec<Member>);

struct Member {
    runtime: Handle,
    bulk: AtomicUsize,
}

/// A place in one of the threads, for a connection that moves a lot.
pub struct Seat {
    crew: Arc<Crew>,
    pub member: usize,
}

impl Crew {
    pub fn new(runtimes: impl Iterator<Item = Handle>) -> Self {
        let member = |runtime| Member {
            runtime,
            bulk: AtomicUsize::new(0),
        };
        Self(runtimes.map(member).collect())
    }

    /// A place for a connection of this thread: there, unless another one has fewer.
    pub fn seat(self: &Arc<Self>, own: usize) -> Seat {
        let load = |&member: &usize| (self.0[member].bulk.load(Ordering::Relaxed), member != own);
        let member = (0..self.0.len()).min_by_key(load).unwrap_or(own);
        self.0[member].bulk.fetch_add(1, Ordering::Relaxed);
        let crew = Arc::clone(self);
        Seat { crew, member }
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        let tasks = |member: &Member| member.runtime.metrics().num_alive_tasks();
        self.0.iter().map(tasks).sum()
    }
}

impl Seat {
    pub fn runtime(&self) -> Handle {
        self.crew.0[self.member].runtime.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crew.0[self.member].bulk.fetch_sub(1, Ordering::Relaxed);
    }
}
