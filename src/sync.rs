//! Locks that a forked child can use whatever its parent's threads did at the fork.
//!
//! Those of std wait in the kernel. Those of other crates wait in a table that all threads of the process share: a child
//! inherits it with entries of threads that are not there, whose memory its own threads are given; it then waits for ever, or
//! follows a list that has no end.
//!
//! A panic while a lock is held leaves it usable: what becomes of a connection whose link has panicked is decided elsewhere.

use std::{
    sync::{self, PoisonError, TryLockError, atomic::AtomicUsize, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

pub use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// How long a thread that goes on needing a lock lets those come first that wait for it.
const GIVING_WAY: Duration = Duration::from_micros(100);

/// A mutex.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// One that nobody has.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Waits for it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What it holds, which nobody else can see.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mutex whose holder can let those come first that wait for it: the system does not see to it that they ever do.
#[derive(Debug, Default)]
pub struct FairMutex<T> {
    mutex: Mutex<T>,
    waiting: AtomicUsize,
}

impl<T> FairMutex<T> {
    /// One that nobody has.
    pub const fn new(value: T) -> Self {
        Self { mutex: Mutex::new(value), waiting: AtomicUsize::new(0) }
    }

    /// Waits for it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = self.mutex.try_lock() {
            return guard;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.mutex.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// The lock, if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.mutex.try_lock()
    }

    /// Lets those who wait come first, for a moment. To be called without the lock.
    pub fn give_way(&self) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting == 0 {
            return;
        }
        let until = Instant::now() + GIVING_WAY;
        while self.waiting.load(Ordering::Relaxed) >= waiting && Instant::now() < until {
            thread::yield_now();
        }
    }
}

/// A condition variable, for whoever has changed with the lock held what others wait for. std's asks the system at each
/// notification, whether anybody waits or not.
#[derive(Debug, Default)]
pub struct Condvar {
    condition: sync::Condvar,
    /// Changed with the lock held. Who waits has entered itself before the lock is free for those who change something;
    /// who comes later sees the change.
    waiting: AtomicUsize,
}

impl Condvar {
    /// One that nobody waits for.
    pub const fn new() -> Self {
        Self { condition: sync::Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    /// Waits, without the lock; it may wake without reason.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// The same until a point in time. Answers also whether that is over.
    pub fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, until: Instant) -> (MutexGuard<'a, T>, bool) {
        let left = until.saturating_duration_since(Instant::now());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let (guard, timeout) =
            self.condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        (guard, timeout.timed_out())
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.condition.notify_one();
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.condition.notify_all();
        }
    }
}

/// A lock for one writer or many readers.
#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// Waits for the writer.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for all others.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn a_lock_that_a_panic_left_is_usable() {
        let mutex = Arc::new(Mutex::new(1));
        let held = mutex.clone();
        let panicked = thread::spawn(move || {
            let _guard = held.lock();
            panic!("with the lock");
        });
        assert!(panicked.join().is_err());
        *mutex.lock() += 1;
        assert_eq!(mutex.try_lock().map(|guard| *guard), Some(2));
    }

    #[test]
    fn whoever_waits_for_a_change_hears_of_it() {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let changing = pair.clone();
        let other = thread::spawn(move || {
            let (number, changed) = &*changing;
            for wanted in 1..=10_000 {
                let mut current = number.lock();
                while *current != wanted - 1 {
                    current = changed.wait(current);
                }
                *current = -wanted;
                drop(current);
                changed.notify_all();
            }
        });
        let (number, changed) = &*pair;
        for wanted in 1..=10_000 {
            let mut current = number.lock();
            while *current != -wanted {
                current = changed.wait(current);
            }
            *current = wanted;
            drop(current);
            changed.notify_one();
        }
        assert!(other.join().is_ok());
    }

    #[test]
    fn whoever_needs_a_lock_again_and_again_lets_others_have_it() {
        let mutex = Arc::new(FairMutex::new(()));
        let other = mutex.clone();
        let mut guard = mutex.lock();
        let (tell, told) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let _guard = other.lock();
            let _ = tell.send(());
        });
        while told.try_recv().is_err() {
            drop(guard);
            mutex.give_way();
            guard = mutex.lock();
        }
        assert!(waiter.join().is_ok());
    }
}
