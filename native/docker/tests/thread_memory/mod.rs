//! What a thread has allocated and not freed again. A test's own thread has the client and nothing of the engines' doubles, which
//! have threads of their own:
//!
//! ```ignore
//! #[global_allocator]
//! static MEMORY: ThreadMemory = ThreadMemory;
//! ```

// Each test uses some of it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts for the thread that it is called on.
pub struct ThreadMemory;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

impl ThreadMemory {
    pub fn reset(&self) {
        BYTES.set(0);
        MOST.set(0);
    }

    /// Bytes since the reset; below zero if more was freed that is from before.
    pub fn held(&self) -> isize {
        BYTES.get()
    }

    /// The most at any time since the reset.
    pub fn most(&self) -> usize {
        MOST.get().unsigned_abs()
    }

    fn count(bytes: usize, sign: isize) {
        let now = BYTES.get() + sign * isize::try_from(bytes).unwrap_or(isize::MAX);
        BYTES.set(now);
        MOST.set(MOST.get().max(now));
    }
}

unsafe impl GlobalAlloc for ThreadMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 1);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(layout.size(), -1);
        System.dealloc(pointer, layout);
    }
}
