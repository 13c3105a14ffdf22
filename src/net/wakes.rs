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
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

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

/// How long after it was spared a message the thread is roused for the next one: whoever sends many, on one connection or
/// on many, is not to write them one by one.
const SPARED: Duration = Duration::from_micros(20);

/// The way into one I/O thread.
#[derive(Debug)]
pub(super) struct Kicks {
    pending: Mutex<Pending>,
    any: AtomicBool,
    /// As [`Pending::asleep`], for those who only want to know.
    asleep: AtomicBool,
    since: Instant,
    /// Until when it is not spared another message, in nanoseconds from `since`.
    spared_until: AtomicU64,
}

impl Default for Kicks {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            any: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            since: Instant::now(),
            spared_until: AtomicU64::new(0),
        }
    }
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
            self.asleep.store(false, Ordering::Relaxed);
            let rouse = pending.rouse.clone();
            drop(pending);
            if let Some(rouse) = rouse {
                rouse.wake();
            }
        }
    }

    /// Whether the thread sleeps and was not spared a message just now.
    pub(super) fn may_be_spared(&self, now: Instant) -> bool {
        self.asleep.load(Ordering::Relaxed) && self.nanos(now) >= self.spared_until.load(Ordering::Relaxed)
    }

    /// Somebody has just done the thread's work.
    pub(super) fn was_spared(&self, now: Instant) {
        self.spared_until.store(self.nanos(now + SPARED), Ordering::Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
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
            self.asleep.store(before_sleep, Ordering::Relaxed);
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
    KICKS.with(|cell| {
        if let Some(kicks) = cell.get() {
            kicks.pass_on(false);
        }
    });
}

/// Notifies: on an I/O thread a little later, elsewhere at once.
pub(super) fn notify(notify: Arc<dyn Notify>) {
    notify.note();
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
    #[test]
    fn a_thread_is_spared_a_message_while_it_sleeps_and_not_another_one_at_once() {
        let (kicks, now) = (Kicks::default(), Instant::now());
        let task = Waker::from(Arc::new(Rung::default()));
        assert!(!kicks.may_be_spared(now), "it is awake");
        kicks.pass_on(true);
        assert!(kicks.may_be_spared(now));
        kicks.was_spared(now);
        assert!(!kicks.may_be_spared(now + SPARED / 2), "one is followed by another");
        assert!(kicks.may_be_spared(now + SPARED));
        kicks.kick(task);
        assert!(!kicks.may_be_spared(now + SPARED), "it was roused");
        kicks.pass_on(true);
        kicks.pass_on(false);
        assert!(!kicks.may_be_spared(now + SPARED), "it has woken by itself");
    }
}
