//! Where the threads of a blocking connection wait, and what they wait for.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::sync::{Condvar, Mutex};

use super::turns::Listener;
use crate::{
    net::{
        handle::{Connection, Interest},
        wakes::Notify,
    },
    py::signal::Signal,
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

/// Where the threads of a connection wait.
#[derive(Default)]
pub(super) struct Bell {
    pub(super) waiting: Mutex<Waiters>,
    condition: Condvar,
    /// Wakes the thread that waits for the socket; made when one first does, `None` where none can.
    signal: OnceLock<Option<Signal>>,
    /// A thread waits for the socket, or is about to.
    at_socket: AtomicBool,
    /// Where there are callbacks.
    listener: OnceLock<Listener>,
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
        // Pairs with the store before whoever waits for the socket looks at `rings`.
        if self.at_socket.load(Ordering::SeqCst)
            && let Some(Some(signal)) = self.signal.get()
        {
            signal.set();
        }
        if let Some(listener) = self.listener.get() {
            let waited_for = self.waiting.lock().interest();
            listener.ring(waited_for);
        }
    }
}

impl Bell {
    /// From now on there are callbacks.
    pub(super) fn listen_with(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    pub(super) fn listener(&self) -> Option<&Listener> {
        self.listener.get()
    }

    /// Lets all who wait look again.
    pub(super) fn wake_all(&self) {
        self.note();
        self.ring();
    }

    /// Waits until it has rung since `rings`, or the time is up: at the connection's socket, which this thread drives
    /// meanwhile, if no other thread does so already.
    pub(super) fn wait(&self, net: &Arc<Connection>, rings: u64, until: Instant) {
        if self.wait_at_socket(net, rings, until) {
            return;
        }
        let mut waiting = self.waiting.lock();
        let mut is_over = false;
        while waiting.rings == rings && !is_over {
            (waiting, is_over) = self.condition.wait_until(waiting, until);
        }
    }

    #[cfg(unix)]
    fn wait_at_socket(&self, net: &Arc<Connection>, rings: u64, until: Instant) -> bool {
        let Some(signal) = self.signal.get_or_init(|| Signal::new().ok()) else { return false };
        let is_rung = || {
            self.at_socket.store(true, Ordering::SeqCst);
            self.waiting.lock().rings != rings
        };
        let drove = net.drive_until(signal.as_fd(), until, is_rung);
        if drove {
            self.at_socket.store(false, Ordering::SeqCst);
            signal.clear();
        }
        drove
    }

    #[cfg(not(unix))]
    fn wait_at_socket(&self, _net: &Arc<Connection>, _rings: u64, _until: Instant) -> bool {
        false
    }
}
