//! The queue of an event loop: which of its connections have something, and how the loop is woken for them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    net::wakeups::Notify,
    py::wake_fd::WakeFd,
    sync::{Condvar, Mutex},
};

/// The numbers of the connections of one loop that have something.
pub(super) struct Queue {
    pub(super) ready: Mutex<Vec<u64>>,
    pub(super) woken: AtomicBool,
    pub(super) waker: LoopWaker,
}

/// The way in which the loop is woken when the queue is no longer empty.
pub(super) enum LoopWaker {
    /// It watches a descriptor.
    Watched(WakeFd),
    /// It cannot watch descriptors: a thread waits for this and calls `call_soon_threadsafe`.
    Thread { woken: Mutex<bool>, condition: Condvar, over: AtomicBool },
}

impl Queue {
    /// Puts numbers before those that have come since they were taken.
    pub(super) fn put_back(&self, numbers: impl ExactSizeIterator<Item = u64>) {
        if numbers.len() == 0 {
            return;
        }
        self.ready.lock().splice(..0, numbers);
        self.notify();
    }

    pub(super) fn notify(&self) {
        // Until the loop has come, it need not be woken again.
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        match &self.waker {
            LoopWaker::Watched(wake_fd) => wake_fd.set(),
            LoopWaker::Thread { woken, condition, .. } => {
                *woken.lock() = true;
                condition.notify_one();
            }
        }
    }

    /// Waits to be woken. False when it is over.
    pub(super) fn wait(&self) -> bool {
        let LoopWaker::Thread { woken, condition, over } = &self.waker else { return false };
        let mut is_woken = woken.lock();
        while !*is_woken {
            is_woken = condition.wait(is_woken);
        }
        *is_woken = false;
        !over.load(Ordering::Acquire)
    }
}

/// A connection's place in the queue of its loop.
pub(in crate::py) struct QueueSlot {
    pub(super) queue: Arc<Queue>,
    pub(super) number: u64,
}

impl Notify for QueueSlot {
    fn mark_ready(&self) {
        self.queue.ready.lock().push(self.number);
    }

    fn notify(&self) {
        self.queue.notify();
    }
}
