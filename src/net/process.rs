//! The number of a process among its forks, and what each of them has for itself.
//!
//! A forked child has none of its parent's threads, but all of its memory: a lock that another thread held at the fork
//! stays locked for ever, and what that thread was about to do is never done. So whatever several threads share beyond
//! one connection is made anew in each process ([`PerProcess`]), and what belongs to a connection is not touched there.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

#[cfg(unix)]
use super::{exit_gate, fork_barrier};

/// Grows by one in each forked child. What was made under another number belongs to another process.
static NUMBER: AtomicU32 = AtomicU32::new(0);
#[cfg(unix)]
static ON_FORK: std::sync::Once = std::sync::Once::new();

/// Which process this is. One atomic load: to be compared before any lock is taken.
pub fn number() -> u32 {
    NUMBER.load(Ordering::Relaxed)
}

#[cfg(unix)]
extern "C" fn before_fork() {
    fork_barrier::hold();
}

#[cfg(unix)]
extern "C" fn after_fork_in_parent() {
    fork_barrier::release();
}

#[cfg(unix)]
extern "C" fn after_fork_in_child() {
    NUMBER.fetch_add(1, Ordering::Relaxed);
    exit_gate::reset();
    fork_barrier::release();
}

/// Counts forks, where there are any, from now on. To be called before there is anything that a child must not touch.
fn watch_forks() {
    #[cfg(unix)]
    ON_FORK.call_once(|| {
        // SAFETY: the handlers are `extern "C"` functions that neither allocate nor take a lock of the system, and that
        // of the child only stores to atomics, which is allowed there.
        unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
        };
    });
}

/// A value that is made when it is first wanted, and once more in each forked child. What the parent had is leaked
/// there, not dropped: that would take its locks, and join its threads.
pub struct PerProcess<T: 'static> {
    made: AtomicPtr<Made<T>>,
    make: fn() -> T,
}

struct Made<T> {
    process: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// An empty cell.
    pub const fn new(make: fn() -> T) -> Self {
        Self { made: AtomicPtr::new(ptr::null_mut()), make }
    }

    /// The value of this process, if it was made.
    pub fn existing(&self) -> Option<&'static T> {
        // SAFETY: what was published came from `Box::into_raw` and is never freed.
        let made = unsafe { self.made.load(Ordering::Acquire).as_ref() };
        made.filter(|made| made.process == number()).map(|made| &made.value)
    }

    /// The value of this process.
    pub fn get(&self) -> &'static T {
        watch_forks();
        loop {
            let before = self.made.load(Ordering::Acquire);
            if let Some(value) = self.existing() {
                return value;
            }
            let fresh = Box::into_raw(Box::new(Made { process: number(), value: (self.make)() }));
            if self.made.compare_exchange(before, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: `fresh` came from `Box::into_raw` above and was published to nobody.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_however_many_threads_want_it() {
        static VALUE: PerProcess<String> = PerProcess::new(|| "made".to_owned());
        assert!(VALUE.existing().is_none());
        let threads: Vec<_> =
            (0..8).map(|_| std::thread::spawn(|| ptr::from_ref(VALUE.get()) as usize)).collect();
        let places: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a place")).collect();
        assert!(places.iter().all(|place| *place == ptr::from_ref(VALUE.get()) as usize));
        assert_eq!(VALUE.existing().map(String::as_str), Some("made"));
    }
}
