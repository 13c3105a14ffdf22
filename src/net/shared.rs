//! The state of a connection behind its one lock. Lies below all that share it: the link, the driver task, the callers'
//! handle.

use std::{
    sync::{Arc, atomic::AtomicBool},
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    io_thread::Io,
    redact::KnownSecrets,
    settings::Settings,
    totals::{Latencies, Membership},
    wakeups::{self, Notify},
};
use crate::{
    core::{
        boxes::{Boxes, Interest, Limits},
        histogram::Histogram,
        inbound::Inbound,
    },
    error::Error,
    sync::{Mutex, MutexGuard},
};

/// The boxes of a connection behind their lock, and what never changes. Lies below all that share it.
pub(super) struct Shared {
    pub(super) settings: Settings,
    inner: Mutex<SharedState>,
    /// Whether requests wait, as the link is to know before it reads: the message of one may have left without it.
    pub(super) expects_answers: AtomicBool,
    /// Whether so much will probably be read at once that it is better done without the GIL. The link says so.
    pub(super) reads_much: AtomicBool,
    /// Whether a session is being opened in which the caller's hook sends before all others.
    pub(super) is_greeting: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let inner = Mutex::new(SharedState::new(&settings));
        Self {
            settings,
            inner,
            expects_answers: AtomicBool::new(false),
            reads_much: AtomicBool::new(false),
            is_greeting: AtomicBool::new(false),
        }
    }

    /// The lock, if nobody has it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, SharedState>> {
        self.inner.try_lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.inner.lock()
    }
}

/// Releases the lock, and tells whoever waits for something of `kind`.
pub(super) fn tell(mut inner: MutexGuard<'_, SharedState>, kind: Interest) {
    let told = inner.tell(kind);
    drop(inner);
    if let Some(notify) = told {
        wakeups::notify(notify);
    }
}

/// The state that the driver and the caller's threads share: the boxes, and what those must not know.
pub(super) struct SharedState {
    pub(super) boxes: Boxes,
    /// The driver sleeps and is to be woken with this.
    pub(super) parked: Option<Waker>,
    /// The thread of the driver, once there is one.
    pub(super) io: Option<Io>,
    /// The caller's side, which is told.
    pub(super) notify: Option<Arc<dyn Notify>>,
    pub(super) secrets: KnownSecrets,
    /// Why the newest attempt or session failed.
    pub(super) last_error: Option<Error>,
    /// The same where no session has opened since: why there is none.
    pub(super) not_open: Option<Error>,
    /// The subprotocol of the newest session.
    pub(super) subprotocol: Option<String>,
    /// How long the newest pong took.
    pub(super) latency: Option<Duration>,
    /// The caller has it no longer.
    pub(super) is_let_go: bool,
    /// The totals that it is counted in.
    memberships: Vec<Membership>,
}

/// The waker of a driver that slept.
pub(super) struct Unpark(Io, Waker);

impl Unpark {
    /// Wakes it. Not to be done with the lock.
    pub(super) fn wake(self) {
        self.0.wake(self.1);
    }
}

impl SharedState {
    fn new(settings: &Settings) -> Self {
        let limits = Limits {
            throttle_interval: settings.throttle_interval,
            max_buffering: settings.max_buffering,
            read_ahead: settings.read_ahead,
            streaming: settings.session.streaming,
        };
        Self {
            boxes: Boxes::new(limits),
            parked: None,
            io: None,
            notify: None,
            secrets: KnownSecrets::new(settings.secrets.clone()),
            last_error: None,
            not_open: None,
            subprotocol: None,
            latency: None,
            is_let_go: false,
            memberships: Vec::new(),
        }
    }

    /// Takes everything that has arrived, in order; it was read `at`. Answers what is there now.
    pub(super) fn receive(&mut self, inbound: &mut Inbound, at: Option<Instant>) -> Interest {
        let Self { boxes, secrets, memberships, .. } = self;
        let answered = |duration| record_in(memberships, |durations| &durations.request, duration);
        boxes.receive(inbound, at, |error| secrets.without(error), answered)
    }

    /// Notes why an attempt or a session failed.
    pub(super) fn failed(&mut self, error: &Error) {
        self.last_error = Some(error.clone());
        self.not_open = Some(error.clone());
    }

    /// Whom to notify of something of `kind`, if it is waited for. The notification is to be sent after the lock is
    /// released.
    pub(super) fn tell(&mut self, kind: Interest) -> Option<Arc<dyn Notify>> {
        let notify = self.notify.as_ref()?;
        self.boxes.tells(kind).then(|| notify.clone())
    }

    /// Wakes the driver, if it sleeps; the waker is to be used after the lock is released.
    pub(super) fn unpark(&mut self) -> Option<Unpark> {
        let waker = self.parked.take()?;
        Some(Unpark(self.io.clone()?, waker))
    }

    /// Counts a duration in one of the histograms of each of the totals that it belongs to.
    pub(super) fn record(&self, which: impl Fn(&Latencies) -> &Histogram, duration: Duration) {
        record_in(&self.memberships, which, duration);
    }

    /// Counts its durations in these totals from now on.
    pub(super) fn joined(&mut self, membership: Membership) {
        self.memberships.push(membership);
    }

    /// Counts it nowhere any more, and gives what it was counted in.
    pub(super) fn leave(&mut self) -> Vec<Membership> {
        std::mem::take(&mut self.memberships)
    }
}

fn record_in(memberships: &[Membership], which: impl Fn(&Latencies) -> &Histogram, duration: Duration) {
    for membership in memberships {
        which(membership.latencies()).record(duration);
    }
}
