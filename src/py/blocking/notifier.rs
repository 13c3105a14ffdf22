//! The notifier of a blocking connection: where its threads wait, and what they wait for.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::turns::Listener;
#[cfg(unix)]
use crate::net::handle::Drove;
use crate::{
    net::{
        handle::{Connection, Interest},
        wakeups::Notify,
    },
    py::wake_fd::WakeFd,
    sync::{Condvar, Mutex},
};

#[cfg(test)]
mod tests;

/// The kinds of thing that threads wait for.
const KINDS: [Interest; 7] = [
    Interest::ITEMS,
    Interest::NOTICES,
    Interest::ANSWERS,
    Interest::ROOM,
    Interest::DRAINED,
    Interest::STATE,
    Interest::FINISHED,
];

/// The notifier of a connection, at which its threads wait.
#[derive(Default)]
pub(super) struct Notifier {
    pub(super) waiting: Mutex<Waiters>,
    condition: Condvar,
    /// Wakes the thread that waits for the socket; made when one first does, `None` where none can.
    wake_fd: OnceLock<Option<WakeFd>>,
    /// The thread that waits for the socket, or is about to; 0 while none does.
    at_socket: AtomicUsize,
    /// Where there are callbacks.
    listener: OnceLock<Listener>,
}

/// The waiting threads: how many, and for what.
#[derive(Default)]
pub(super) struct Waiters {
    /// How many wait for each of [`KINDS`].
    counts: [usize; KINDS.len()],
    /// How often something was marked ready.
    pub(super) notifications: u64,
}

impl Waiters {
    pub(super) fn add(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count += usize::from(interest.intersects(kind));
        }
    }

    pub(super) fn remove(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count -= usize::from(interest.intersects(kind));
        }
    }

    pub(super) fn interest(&self) -> Interest {
        let waited_for = self.counts.iter().zip(KINDS).filter(|(count, _)| **count > 0);
        waited_for.fold(Interest::NONE, |all, (_, kind)| all.and(kind))
    }
}

impl Notify for Notifier {
    fn mark_ready(&self) {
        self.waiting.lock().notifications += 1;
    }

    fn notify(&self) {
        if let Some(listener) = self.listener.get() {
            let waited_for = self.waiting.lock().interest();
            if listener.notify(waited_for) {
                // The thread that is about to wait for the socket may have looked for a turn before there was one, and
                // know of what was marked ready: this it does not know of.
                self.mark_ready();
            }
        }
        self.condition.notify_all();
        // Pairs with the store before whoever waits for the socket polls `notifications`. That thread itself, which has read
        // the socket, polls them before it waits again.
        let at_socket = self.at_socket.load(Ordering::SeqCst);
        if at_socket != 0
            && at_socket != this_thread()
            && let Some(Some(wake_fd)) = self.wake_fd.get()
        {
            wake_fd.set();
        }
    }
}

impl Notifier {
    /// From now on there are callbacks.
    pub(super) fn listen_with(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    pub(super) fn listener(&self) -> Option<&Listener> {
        self.listener.get()
    }

    /// Lets all who wait poll again.
    pub(super) fn wake_all(&self) {
        self.mark_ready();
        self.notify();
    }

    /// Waits until there are more than so many `notifications`, or the time is up: at the connection's socket, which
    /// this thread drives meanwhile, if no other thread does so already.
    pub(super) fn wait(&self, net: &Arc<Connection>, notifications: u64, until: Instant) {
        if self.wait_at_socket(net, notifications, until) {
            return;
        }
        let mut waiting = self.waiting.lock();
        let mut is_over = false;
        while waiting.notifications == notifications && !is_over {
            (waiting, is_over) = self.condition.wait_until(waiting, until);
        }
    }

    #[cfg(unix)]
    fn wait_at_socket(&self, net: &Arc<Connection>, notifications: u64, until: Instant) -> bool {
        let Some(wake_fd) = self.wake_fd.get_or_init(|| WakeFd::new().ok()) else { return false };
        let is_notified = || {
            self.at_socket.store(this_thread(), Ordering::SeqCst);
            self.waiting.lock().notifications != notifications
        };
        // As long as nobody else is at the socket: the next thread's place and wakeup are not this one's to clear.
        let leave = |drove| {
            self.at_socket.store(0, Ordering::SeqCst);
            // Where another thread has woken this one after it had polled last, the next wait is over at once.
            if drove == Drove::Woken {
                wake_fd.clear();
            }
        };
        net.drive_until(wake_fd.as_fd(), until, is_notified, leave) != Drove::Not
    }

    #[cfg(not(unix))]
    #[allow(clippy::unused_self)] // as the one that there is on Unix
    fn wait_at_socket(&self, _net: &Arc<Connection>, _notifications: u64, _until: Instant) -> bool {
        false
    }
}

/// A number that no other thread has while this one lives, and never 0: the address of a variable of its own.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}
