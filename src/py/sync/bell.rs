//! Where the threads of a blocking connection wait, and what they wait for.

use parking_lot::{Condvar, Mutex};

use crate::net::{handle::Interest, wakes::Notify};

/// The kinds of thing that threads wait for.
const KINDS: [Interest; 6] = [
    Interest::ITEMS,
    Interest::NOTICES,
    Interest::ANSWERS,
    Interest::ROOM,
    Interest::DRAINED,
    Interest::STATE,
];

/// Where the threads of a connection wait.
#[derive(Default)]
pub(super) struct Bell {
    pub(super) waiting: Mutex<Waiters>,
    pub(super) condition: Condvar,
}

#[derive(Default)]
pub(super) struct Waiters {
    /// How many wait for each of [`KINDS`].
    counts: [usize; KINDS.len()],
    pub(super) rings: u64,
}

impl Waiters {
    pub(super) fn add(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count += usize::from(interest.meets(kind));
        }
    }

    pub(super) fn remove(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count -= usize::from(interest.meets(kind));
        }
    }

    pub(super) fn interest(&self) -> Interest {
        let waited_for = self.counts.iter().zip(KINDS).filter(|(count, _)| **count > 0);
        waited_for.fold(Interest::NONE, |all, (_, kind)| all.and(kind))
    }
}

impl Notify for Bell {
    fn note(&self) {
        self.waiting.lock().rings += 1;
    }

    fn ring(&self) {
        self.condition.notify_all();
    }
}

impl Bell {
    /// Lets all who wait look again.
    pub(super) fn wake_all(&self) {
        self.note();
        self.ring();
    }
}
