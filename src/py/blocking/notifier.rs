//! The notifier of a blocking connection: where its threads wait, and what they wait for.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::turns::Listener;
use crate::{
    net::{
        handle::{Connection, Interest},
        wakeups::Notify,
    },
    py::wake_fd::WakeFd,
    sync::{Condvar, Mutex},
};

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
    /// A thread waits for the socket, or is about to.
    at_socket: AtomicBool,
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
        self.condition.notify_all();
        // Pairs with the store before whoever waits for the socket looks at `notifications`.
        if self.at_socket.load(Ordering::SeqCst)
            && let Some(Some(wake_fd)) = self.wake_fd.get()
        {
            wake_fd.set();
        }
        if let Some(listener) = self.listener.get() {
            let waited_for = self.waiting.lock().interest();
            listener.notify(waited_for);
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
            self.at_socket.store(true, Ordering::SeqCst);
            self.waiting.lock().notifications != notifications
        };
        let drove = net.drive_until(wake_fd.as_fd(), until, is_notified);
        if drove {
            self.at_socket.store(false, Ordering::SeqCst);
            wake_fd.clear();
        }
        drove
    }

    #[cfg(not(unix))]
    fn wait_at_socket(&self, _net: &Arc<Connection>, _notifications: u64, _until: Instant) -> bool {
        false
    }
}
