//! The state of a connection behind its one lock. Lies below all that share it: the link, the driver task, the callers'
//! handle.

use std::{
    sync::{Arc, atomic::AtomicBool},
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    io_thread::Io,
    redact::SentSecrets,
    settings::Settings,
    totals::Membership,
    wakeups::{self, Notify},
};
use crate::{
    core::{
        inbox::{Inbox, Notice},
        outbox::Outbox,
        session::{State, Traffic},
    },
    error::Error,
    sync::{Mutex, MutexGuard},
};

mod counting;
mod ending;
mod interest;
mod link_lost;
mod notifying;
mod receiving;

pub use interest::Interest;

/// The boxes of a connection behind their lock, and what never changes. Lies below all that share it.
pub(super) struct Shared {
    pub(super) settings: Settings,
    inner: Mutex<SharedState>,
    /// Requests wait, as the link is to know before it reads: the message of one may have left without it.
    pub(super) expects_answers: AtomicBool,
    /// So much will probably be read at once that it is better done without the GIL. The link says so.
    pub(super) reads_much: AtomicBool,
    /// A session is being opened in which the caller's hook sends before all others.
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

/// The state that the driver and the caller's threads share.
pub(super) struct SharedState {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) state: State,
    /// Why the connection is over, when it was not the caller's wish.
    pub(super) failure: Option<Error>,
    /// Somebody was told of it.
    pub(super) failure_is_told: bool,
    /// What the newest error said that was raised in its place between the results.
    pub(super) raised: Option<String>,
    pub(super) reconnects: u64,
    /// Attempts to open that failed.
    pub(super) opening_failures: u64,
    /// Of the messages that failed, so many were told to somebody who drained.
    pub(super) told_failures: u64,
    /// How often it has become active.
    pub(super) openings: u64,
    /// The newest stream ended while it was being sent.
    pub(super) stream_ended: bool,
    /// Messages that the session which has just ended left unanswered, of which nobody has been told.
    pub(super) left: u64,
    /// Messages without an answer, at most, whose sessions were lost while the connection was finishing.
    pub(in crate::net) lost_while_finishing: u64,
    /// So many wait for the end of what is under way, and will tell what is lost meanwhile.
    pub(super) finishers: usize,
    /// What they will tell: the errors that nobody else is told of.
    withheld: Vec<Error>,
    /// So many wait for the opening, and will tell why it failed.
    pub(super) openers: usize,
    /// What they will tell.
    withheld_end: Option<Error>,
    /// The error with which it ended was given to somebody: that tells of these messages too.
    pub(super) end_is_told: bool,
    /// Why the newest attempt or session failed.
    pub(super) last_error: Option<Error>,
    /// How the newest session that is over was closed.
    pub(super) last_close: Option<(u16, String)>,
    /// The code and the reason of our close frame.
    pub(super) close_frame: (u16, Box<str>),
    /// The subprotocol of the newest session.
    pub(super) subprotocol: Option<String>,
    /// How long the newest pong took.
    pub(super) latency: Option<Duration>,
    /// Results that had come when the session began.
    received_before: u64,
    /// A session is a stream.
    streaming: bool,
    pub(super) commands: Commands,
    /// The driver sleeps and is to be woken with this.
    pub(super) parked: Option<Waker>,
    pub(super) routes: Routes,
    pub(super) sent_secrets: SentSecrets,
    pub(super) io: Option<Io>,
    /// The caller has it no longer.
    pub(super) is_let_go: bool,
    /// What it is counted in.
    memberships: Vec<Membership>,
    interest: Interest,
    pub(super) notify: Option<Arc<dyn Notify>>,
    notified: bool,
}

/// The waker of a driver that slept.
pub(super) struct Unpark(Io, Waker);

impl Unpark {
    /// Wakes it. Not to be done with the lock.
    pub(super) fn wake(self) {
        self.0.wake(self.1);
    }
}

/// The commands of the caller to the driver.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Commands {
    pub(super) open: Option<bool>,
    pub(super) close: bool,
    /// Nothing more is accepted: what was accepted is to be written and answered.
    pub(super) finish: bool,
}

/// Which callbacks there are: what nobody asked for is not kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Routes {
    /// Results go to `on_result`.
    pub results: bool,
    /// Errors go to `on_error`, not between the results.
    pub errors: bool,
    /// There is an `on_timings`.
    pub timings: bool,
    /// There is an `on_state_change`.
    pub states: bool,
}

impl SharedState {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            outbox: Outbox::new(settings.throttle_interval, settings.max_buffering),
            inbox: Inbox::new(settings.max_buffering, settings.read_ahead),
            state: State::Idle,
            failure: None,
            failure_is_told: false,
            raised: None,
            reconnects: 0,
            opening_failures: 0,
            is_let_go: false,
            memberships: Vec::new(),
            told_failures: 0,
            openings: 0,
            stream_ended: false,
            last_error: None,
            last_close: None,
            close_frame: (1000, Box::default()),
            subprotocol: None,
            latency: None,
            left: 0,
            lost_while_finishing: 0,
            finishers: 0,
            withheld: Vec::new(),
            openers: 0,
            withheld_end: None,
            end_is_told: false,
            received_before: 0,
            streaming: settings.session.streaming,
            commands: Commands::default(),
            parked: None,
            routes: Routes::default(),
            sent_secrets: SentSecrets::new(&[&settings.headers[..], &settings.own_headers].concat()),
            io: None,
            interest: Interest::NONE,
            notify: None,
            notified: false,
        }
    }

    /// A socket is open: a session begins.
    pub(super) fn session_began(&mut self) {
        for key in self.outbox.session_began(Instant::now()) {
            self.inbox.requests.fail_displaced(key);
        }
        self.received_before = self.inbox.received();
        self.end_is_told = false;
    }

    /// What passed in this session.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            wrote: self.outbox.session_wrote(),
            received: self.inbox.received() > self.received_before,
            answered: self.outbox.session_answered(),
        }
    }

    /// Whether everything that was written in this session has its answer, as far as can be known.
    pub(in crate::net) fn nothing_under_way(&self) -> bool {
        !self.outbox.is_writing() && self.in_flight() == 0
    }

    /// How many messages of this session may have no answer yet: one result is the answer to one message. Of a stream
    /// that is open nobody knows which of its messages are done with.
    pub(in crate::net) fn in_flight(&self) -> u64 {
        let took = self.outbox.session_took();
        if self.streaming || took == 0 {
            return took;
        }
        let came = self.inbox.received() - self.received_before;
        took.saturating_sub(came).max(self.inbox.requests.open_and_sent() as u64)
    }

    /// Whether everything accepted is written, and what was written is answered or will not be.
    pub(in crate::net) fn is_finished(&self) -> bool {
        self.state == State::Closed || (self.outbox.pending() == 0 && self.in_flight() == 0)
    }

    /// Grows with each message in either direction.
    pub(in crate::net) fn moved(&self) -> u64 {
        self.outbox.accepted() + self.inbox.received()
    }

    /// Whether messages wait to be written.
    pub(super) fn has_unsent(&self) -> bool {
        self.outbox.pending() > 0
    }

    /// The driver sleeps no more: it is to be woken with this after the lock is released.
    pub(super) fn unpark(&mut self) -> Option<Unpark> {
        let waker = self.parked.take()?;
        Some(Unpark(self.io.clone()?, waker))
    }

    pub(super) fn push_error(&mut self, error: Error) -> Interest {
        if self.routes.errors {
            self.inbox.push_notice(Notice::Error(error));
            Interest::NOTICES
        } else {
            self.inbox.push_error(error);
            Interest::ITEMS
        }
    }

    /// `reason`: the error that led to it, if one did.
    pub(super) fn set_state(&mut self, state: State, reason: Option<Error>) -> Interest {
        // The caller's close comes first: the driver learns of it a little later.
        let closing = self.state == State::Closing && state != State::Closed;
        if self.state == state || self.state == State::Closed || closing {
            return Interest::NONE;
        }
        self.state = state;
        self.openings += u64::from(state == State::Active);
        if !self.routes.states {
            return Interest::STATE;
        }
        self.inbox.push_notice(Notice::State(state, reason.map(Box::new)));
        Interest::STATE.and(Interest::NOTICES)
    }
}
