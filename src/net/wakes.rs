//! Wakes between the I/O thread and the others, in batches both ways.
//!
//! A system call is what a wake costs, so there should be few. Inwards (kicks): tasks to be woken are put in a list,
//! and the I/O thread is roused only if it sleeps; while it works it looks at the list itself. Outwards
//! (notifications): what a turn of the I/O thread has for the callers' side is noted, and the bell is rung once,
//! before the thread sleeps, before it is busy with something long, or when much has been noted.

use std::{
    cell::{Cell, OnceCell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use crate::sync::Mutex;

use super::counters;

/// Wakes whoever takes from a connection. Called on the I/O thread: must not block and must not take the GIL.
pub trait Notify: Send + Sync {
    /// Notes that there is something. Nobody is woken yet.
    fn note(&self);

    /// Wakes whoever is to look at what was noted.
    fn ring(&self);
}

/// Notifications after which the bell is rung in any case.
const MANY: usize = 32;
/// Polls of connections after which the bell is rung in any case.
const LONG: u32 = 8;

/// The way into one I/O thread.
#[derive(Debug, Default)]
pub(super) struct Kicks {
    pending: Mutex<Pending>,
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    tasks: Vec<Waker>,
    /// The thread sleeps, or is about to.
    asleep: bool,
    /// Rouses the thread.
    rouse: Option<Waker>,
}

impl Kicks {
    /// Wakes a task of the thread.
    pub(super) fn kick(&self, task: Waker) {
        let mut pending = self.pending.lock();
        pending.tasks.push(task);
        self.any.store(true, Ordering::Release);
        if std::mem::take(&mut pending.asleep) {
            let rouse = pending.rouse.clone();
            drop(pending);
            if let Some(rouse) = rouse {
                rouse.wake();
            }
        }
    }

    /// Says how the thread is roused.
    pub(super) fn set_rouse(&self, rouse: &Waker) {
        self.pending.lock().rouse = Some(rouse.clone());
    }

    /// Wakes the tasks. `before_sleep`: from now on the thread counts as asleep. That tasks were woken does not mean that
    /// it stays awake: they may be over.
    fn pass_on(&self, before_sleep: bool) {
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
    static KICKS: OnceCell<Arc<Kicks>> = const { OnceCell::new() };
    static NOTED: RefCell<Vec<Arc<dyn Notify>>> = const { RefCell::new(Vec::new()) };
    static POLLS: Cell<u32> = const { Cell::new(0) };
    static IS_NOTING: Cell<bool> = const { Cell::new(false) };
}

/// This thread is the one that `kicks` leads to.
pub(super) fn adopt(kicks: Arc<Kicks>) {
    KICKS.with(|cell| {
        let _ = cell.set(kicks);
    });
}

/// Looks at what the other threads want. To be called now and then while the thread works.
pub(super) fn attend() {
    KICKS.with(|cell| {
        if let Some(kicks) = cell.get()
            && kicks.any.load(Ordering::Acquire)
        {
            kicks.pass_on(false);
        }
    });
    let polls = POLLS.get() + 1;
    POLLS.set(polls);
    if polls >= LONG {
        ring();
    }
}

/// The thread is about to sleep.
pub(super) fn before_sleep() {
    ring();
    KICKS.with(|cell| {
        if let Some(kicks) = cell.get() {
            kicks.pass_on(true);
        }
    });
}

/// The thread has slept. (What is passed on here saves a look at the sockets that passing it on before the next sleep
/// would cost.)
pub(super) fn after_sleep() {
    counters::IO_WAKES.add();
    KICKS.with(|cell| {
        if let Some(kicks) = cell.get() {
            kicks.pass_on(false);
        }
    });
}

/// Calls `work`, which finds out what there is for the connections of one event loop, on that loop's thread: what is noted
/// meanwhile is not rung for, since whoever calls this looks at it next.
pub fn noting<T>(work: impl FnOnce() -> T) -> T {
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            IS_NOTING.set(self.0);
        }
    }
    let _outer = Outer(IS_NOTING.replace(true));
    work()
}

/// Notifies: on an I/O thread a little later, elsewhere at once.
pub(super) fn notify(notify: Arc<dyn Notify>) {
    notify.note();
    if IS_NOTING.get() {
        return;
    }
    if KICKS.with(|cell| cell.get().is_none()) {
        notify.ring();
        return;
    }
    let many = NOTED.with_borrow_mut(|noted| {
        noted.push(notify);
        noted.len() >= MANY
    });
    if many {
        ring();
    }
}

/// Rings for everything that was noted on this thread.
pub(super) fn ring() {
    POLLS.set(0);
    let noted = NOTED.take();
    for notify in &noted {
        notify.ring();
    }
    NOTED.with_borrow_mut(|now| {
        if now.is_empty() && noted.capacity() <= MANY {
            *now = noted;
            now.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Rung(AtomicBool);

    impl Wake for Rung {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    #[test]
    fn a_sleeping_thread_is_roused_once_a_batch() {
        let (kicks, rouse, task) = (Kicks::default(), Arc::new(Rung::default()), Arc::new(Rung::default()));
        kicks.set_rouse(&Waker::from(rouse.clone()));
        kicks.kick(task.clone().into());
        assert!(!rouse.0.load(Ordering::Acquire), "it is awake");
        kicks.pass_on(true);
        assert!(task.0.swap(false, Ordering::AcqRel));
        kicks.kick(task.clone().into());
        assert!(rouse.0.swap(false, Ordering::AcqRel), "it sleeps, though something was woken on its way");
        kicks.kick(task.clone().into());
        assert!(!rouse.0.load(Ordering::Acquire), "it has been roused");
        kicks.pass_on(false);
        assert!(task.0.load(Ordering::Acquire));
    }
}
