//! An allocator that counts the bytes held by each thread. The engine doubles run in other threads, so the count of a
//! test's own thread covers the client alone:
//!
//! ```ignore
//! #[global_allocator]
//! static MEMORY: ThreadMemory = ThreadMemory;
//! ```

// Each test file uses only some of these methods.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The methods act on the counters of the calling thread.
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

    /// Bytes allocated since the reset and not freed. Negative if the thread freed more memory from before the reset.
    pub fn held(&self) -> isize {
        BYTES.get()
    }

    /// Peak number of bytes since the reset.
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
