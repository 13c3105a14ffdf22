//! The exit gate counts our own threads that are with the interpreter, so that its exit can wait for them and let no
//! more in: a thread that comes while it is being torn down crashes it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// The top bit says that the gate is closed, the others count who is inside.
static THREADS_INSIDE: AtomicUsize = AtomicUsize::new(0);
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Is inside until dropped.
#[derive(Debug)]
pub struct Inside(());

/// Goes in; `None` when the gate is closed.
pub fn enter() -> Option<Inside> {
    // Counted before the check, so that whoever closes the gate either sees this thread or turns it away.
    let before = THREADS_INSIDE.fetch_add(1, Ordering::AcqRel);
    let inside = Inside(());
    (before & CLOSED == 0).then_some(inside)
}

impl Drop for Inside {
    fn drop(&mut self) {
        THREADS_INSIDE.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lets nobody in any more, and waits for at most `patience` until all are out.
pub fn close(patience: Duration) {
    THREADS_INSIDE.fetch_or(CLOSED, Ordering::AcqRel);
    let until = Instant::now() + patience;
    while THREADS_INSIDE.load(Ordering::Acquire) != CLOSED && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// In a forked child, where those who were inside do not exist.
#[cfg(unix)]
pub(super) fn reset() {
    THREADS_INSIDE.store(0, Ordering::Release);
}
