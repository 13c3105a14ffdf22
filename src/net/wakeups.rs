//! Wakeups between the I/O thread and the others, several for one system call both ways, since that is what one costs.
//!
//! Inwards: tasks to be woken are put in a list, and the I/O thread is unparked only if it sleeps; while it works it
//! polls the list itself. Outwards: whoever takes from a connection is marked ready, and notified before the thread
//! sleeps, before it is busy with something long, or when many are ready.

use std::{
    cell::{Cell, OnceCell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use super::counters;
use crate::sync::Mutex;

/// Wakes whoever takes from a connection. Called on the I/O thread: must not block and must not take the GIL.
pub trait Notify: Send + Sync {
    /// Marks that there is something. Nobody is woken yet.
    fn mark_ready(&self);

    /// Wakes whoever is to take what was marked ready.
    fn notify(&self);
}

/// The most that may be ready before they are notified.
const MAX_READY: usize = 32;
/// The most polls of connections before those that are ready are notified.
const MAX_POLLS: u32 = 8;

/// The way into one I/O thread.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pending: Mutex<Pending>,
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    tasks: Vec<Waker>,
    /// The thread sleeps, or is about to.
    asleep: bool,
    /// Unparks the thread.
    unpark: Option<Waker>,
}

impl Wakeups {
    /// Wakes a task of the thread.
    pub(super) fn wake(&self, task: Waker) {
        let mut pending = self.pending.lock();
        pending.tasks.push(task);
        self.any.store(true, Ordering::Release);
        if std::mem::take(&mut pending.asleep) {
            let unpark = pending.unpark.clone();
            drop(pending);
            if let Some(unpark) = unpark {
                unpark.wake();
            }
        }
    }

    /// Says how the thread is unparked.
    pub(super) fn set_unpark(&self, waker: &Waker) {
        self.pending.lock().unpark = Some(waker.clone());
    }

    /// Wakes the tasks of the list. `before_sleep`: from now on the thread counts as asleep. That tasks were woken does
    /// not mean that it stays awake: they may be over.
    fn wake_tasks(&self, before_sleep: bool) {
        let tasks = {
            let mut pending = self.pending.lock();
            self.any.store(false, Ordering::Release);
            pending.asleep = before_sleep;
            std::mem::take(&mut pending.tasks)
        };
        for task in tasks {
            task.wake();
        }
    }
}

thread_local! {
    /// Set on I/O threads only.
    static WAKEUPS: OnceCell<Arc<Wakeups>> = const { OnceCell::new() };
    static READY: RefCell<Vec<Arc<dyn Notify>>> = const { RefCell::new(Vec::new()) };
    static POLLS: Cell<u32> = const { Cell::new(0) };
    static IS_ONLY_MARKING: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread is the one that `wakeups` leads to.
pub(super) fn adopt(wakeups: Arc<Wakeups>) {
    WAKEUPS.with(|cell| {
        let _ = cell.set(wakeups);
    });
}

/// Polls what the other threads want. To be called now and then while the thread works.
pub(super) fn attend() {
    WAKEUPS.with(|cell| {
        if let Some(wakeups) = cell.get()
            && wakeups.any.load(Ordering::Acquire)
        {
            wakeups.wake_tasks(false);
        }
    });
    let polls = POLLS.get() + 1;
    POLLS.set(polls);
    if polls >= MAX_POLLS {
        notify_ready();
    }
}

/// The thread is about to sleep.
pub(super) fn before_sleep() {
    notify_ready();
    WAKEUPS.with(|cell| {
        if let Some(wakeups) = cell.get() {
            wakeups.wake_tasks(true);
        }
    });
}

/// The thread has slept. (Tasks that are woken here save a poll of the sockets that waking them before the next sleep
/// would cost.)
pub(super) fn after_sleep() {
    counters::IO_WAKES.add();
    WAKEUPS.with(|cell| {
        if let Some(wakeups) = cell.get() {
            wakeups.wake_tasks(false);
        }
    });
}

/// Calls `work`, which finds out what there is for the connections of one event loop, on that loop's thread: what is
/// marked ready meanwhile is not notified, since whoever calls this takes it next.
pub fn without_notifying<T>(work: impl FnOnce() -> T) -> T {
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            IS_ONLY_MARKING.set(self.0);
        }
    }
    let _outer = Outer(IS_ONLY_MARKING.replace(true));
    work()
}

/// Notifies: on an I/O thread a little later, elsewhere at once.
pub(super) fn notify(notify: Arc<dyn Notify>) {
    notify.mark_ready();
    if IS_ONLY_MARKING.get() {
        return;
    }
    if WAKEUPS.with(|cell| cell.get().is_none()) {
        notify.notify();
        return;
    }
    let many = READY.with_borrow_mut(|ready| {
        ready.push(notify);
        ready.len() >= MAX_READY
    });
    if many {
        notify_ready();
    }
}

/// Notifies everybody who was marked ready on this thread.
pub(super) fn notify_ready() {
    POLLS.set(0);
    let ready = READY.take();
    for notify in &ready {
        notify.notify();
    }
    READY.with_borrow_mut(|now| {
        if now.is_empty() && ready.capacity() <= MAX_READY {
            *now = ready;
            now.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    #[test]
    fn a_sleeping_thread_is_unparked_once_for_many_tasks() {
        let (wakeups, unpark, task) =
            (Wakeups::default(), Arc::new(Woken::default()), Arc::new(Woken::default()));
        wakeups.set_unpark(&Waker::from(unpark.clone()));
        wakeups.wake(task.clone().into());
        assert!(!unpark.0.load(Ordering::Acquire), "it is awake");
        wakeups.wake_tasks(true);
        assert!(task.0.swap(false, Ordering::AcqRel));
        wakeups.wake(task.clone().into());
        assert!(unpark.0.swap(false, Ordering::AcqRel), "it sleeps, though something was woken on its way");
        wakeups.wake(task.clone().into());
        assert!(!unpark.0.load(Ordering::Acquire), "it has been unparked");
        wakeups.wake_tasks(false);
        assert!(task.0.load(Ordering::Acquire));
    }
}
