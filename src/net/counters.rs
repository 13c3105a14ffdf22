//! Counters of how often the threads disturbed each other: for benchmarks and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened in this process.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An I/O thread has woken up.
pub static IO_WAKES: Counter = Counter::new();
/// An I/O thread has polled whether a loop comes.
pub static LOOP_POLLS: Counter = Counter::new();
/// An I/O thread has begun to read in a loop's place.
pub static TAKEN_OVER: Counter = Counter::new();
/// A loop has come back and reads itself.
pub static GIVEN_BACK: Counter = Counter::new();
