//! The fork barrier keeps forks out of what a child could not finish: a lock that is no lock of ours, and that another
//! thread holds at the fork, stays locked in the child for ever.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Somebody is forking, or does what no fork may come into.
static HELD: AtomicBool = AtomicBool::new(false);

struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        release();
    }
}

/// Does something of some microseconds that no fork may come into. Not to be nested, nor to wait for anything that
/// whoever forks may have: that waits for it.
pub fn without_fork<T>(work: impl FnOnce() -> T) -> T {
    hold();
    let _held = Held;
    work()
}

/// Before a fork, in whoever forks.
pub(super) fn hold() {
    // No lock of the system: this one is released in the child, by a store, which any handler of a fork may do.
    while HELD.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        thread::yield_now();
    }
}

/// After a fork, in the parent and in the child.
pub(super) fn release() {
    HELD.store(false, Ordering::Release);
}
