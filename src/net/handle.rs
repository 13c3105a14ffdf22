//! A connection as the caller's threads see it: the boxes behind one short lock, shared with the actor.
//!
//! No method waits, calls Python, or takes any other lock while it holds this one.

use std::{sync::Arc, task::Waker, time::Instant};

use parking_lot::Mutex;

use super::{
    actor,
    runtime::{self, Io},
    settings::Settings,
};
use crate::{
    core::{
        inbox::{Inbox, Item, Next, Notice, Numbered, RequestKey},
        outbox::{Accepted, Lane, Outbox, Outgoing},
        session::State,
        stats::Stats,
    },
    error::{Error, ErrorKind, Result},
};

/// Wakes whoever takes from a connection. Called on the I/O thread: must not block and must not take the GIL.
pub trait Notify: Send + Sync {
    /// Something that was asked for is there.
    fn notify(&self);
}

/// What the caller's side waits for; a set of flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Results, errors in their place, the end.
    pub const ITEMS: Self = Self(1);
    /// Notices for callbacks.
    pub const NOTICES: Self = Self(2);
    /// Outcomes of requests.
    pub const ANSWERS: Self = Self(4);
    /// Room in the outgoing ring.
    pub const ROOM: Self = Self(8);
    /// Nothing pending on the way out.
    pub const DRAINED: Self = Self(16);
    /// A change of state.
    pub const STATE: Self = Self(32);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether they have something in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where a connection stands, told apart from where it stood before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: State,
    /// How many sockets were opened so far. An opening has succeeded when this has grown: whoever waits for it may look
    /// only after the socket is gone again.
    pub sockets: u64,
}

impl Standing {
    /// That of a new connection.
    pub const NEW: Self = Self { state: State::Idle, sockets: 0 };
}

/// What [`Connection::look`] sees.
#[derive(Debug)]
pub struct Look {
    /// Where the connection stands.
    pub standing: Standing,
    /// [`Connection::pop`] has something.
    pub has_items: bool,
    /// An offered message would be accepted.
    pub has_room: bool,
    /// Nothing is pending on the way out.
    pub is_drained: bool,
    /// The requests that were settled since the last look.
    pub settled: Vec<RequestKey>,
}

/// What happens to an offered message.
#[derive(Debug)]
pub enum Offered {
    /// It was accepted.
    Accepted,
    /// There is no room; here it is again.
    Full(Outgoing),
}

/// What the actor and the caller's threads share.
pub(super) struct Inner {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) state: State,
    /// Why the connection is over, when it was not the caller's wish.
    pub(super) failure: Option<Error>,
    /// How many sockets were opened so far.
    pub(super) sockets: u64,
    pub(super) commands: Commands,
    /// The actor sleeps and is to be woken with this.
    pub(super) parked: Option<Waker>,
    pub(super) routes: Routes,
    io: Option<Io>,
    interest: Interest,
    notify: Option<Arc<dyn Notify>>,
    notified: bool,
}

/// What the caller wants of the actor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Commands {
    pub(super) open: Option<bool>,
    pub(super) close: bool,
}

/// Which callbacks there are: what nobody asked for is not kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Routes {
    /// Errors go to `on_error`, not between the results.
    pub errors: bool,
    /// There is an `on_timings`.
    pub timings: bool,
    /// There is an `on_state_change`.
    pub states: bool,
}

impl Inner {
    fn standing(&self) -> Standing {
        Standing { state: self.state, sockets: self.sockets }
    }

    /// Sleeps no more. The waker is to be kicked after the lock is released.
    fn unpark(&mut self) -> Option<Kick> {
        let waker = self.parked.take()?;
        Some(Kick::Wake(self.io.clone()?, waker))
    }

    /// Something of `kind` is there. The notification is to be sent after the lock is released.
    pub(super) fn tell(&mut self, kind: Interest) -> Option<Arc<dyn Notify>> {
        if self.notified || !self.interest.meets(kind) {
            return None;
        }
        let notify = self.notify.clone()?;
        self.notified = true;
        Some(notify)
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

    pub(super) fn set_state(&mut self, state: State) -> Interest {
        // The caller's close comes first: the actor learns of it a little later.
        let closing = self.state == State::Closing && state != State::Closed;
        if self.state == state || self.state == State::Closed || closing {
            return Interest::NONE;
        }
        self.state = state;
        if !self.routes.states {
            return Interest::STATE;
        }
        self.inbox.push_notice(Notice::State(state));
        Interest::STATE.and(Interest::NOTICES)
    }

    /// The connection is over: what was not sent fails, and whoever waits is told.
    pub(super) fn finish(&mut self, failure: Option<Error>) -> Interest {
        let mut kind = self.set_state(State::Closed);
        self.outbox.fail_all();
        let reason = failure.clone().unwrap_or_else(|| Error::closed(1000, ""));
        self.inbox.requests.fail_waiting(|_| true, &reason);
        if let Some(error) = &failure
            && self.routes.errors
        {
            kind = kind.and(self.push_error(error.clone()));
        }
        self.failure = failure;
        kind.and(Interest::ITEMS).and(Interest::ANSWERS).and(Interest::ROOM).and(Interest::DRAINED)
    }

    /// Why nothing can be sent any more.
    fn closed_error(&self) -> Error {
        match &self.failure {
            Some(failure) => match &failure.kind {
                ErrorKind::Closed { .. } => failure.clone(),
                _ => Error::closed(1006, failure.message.clone()),
            },
            None => Error::closed(1000, ""),
        }
    }
}

/// A connection.
pub struct Connection {
    pub(super) settings: Settings,
    inner: Mutex<Inner>,
    process: u32,
}

impl Connection {
    /// A connection in the state `idle`. Opens nothing.
    pub fn new(settings: Settings) -> Arc<Self> {
        let inner = Inner {
            outbox: Outbox::new(settings.throttle_interval, settings.max_buffering),
            inbox: Inbox::new(settings.max_buffering),
            state: State::Idle,
            failure: None,
            sockets: 0,
            commands: Commands::default(),
            parked: None,
            routes: Routes::default(),
            io: None,
            interest: Interest::NONE,
            notify: None,
            notified: false,
        };
        Arc::new(Self { settings, inner: Mutex::new(inner), process: runtime::process() })
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connection belongs to this process.
    pub fn check_process(&self) -> Result<()> {
        if self.process == runtime::process() { Ok(()) } else { Err(runtime::forked()) }
    }

    /// The shared half, for the actor.
    pub(super) fn shared(&self) -> &Mutex<Inner> {
        &self.inner
    }

    /// Says who is to be woken.
    pub fn set_notify(&self, notify: Arc<dyn Notify>) {
        self.inner.lock().notify = Some(notify);
    }

    /// Says which callbacks there are.
    pub fn set_routes(&self, routes: Routes) {
        self.inner.lock().routes = routes;
    }

    /// The wake that came has been seen; `interest` is waited for from now on. Answers whether any of `check` is
    /// there already, or it stands elsewhere than `seen`: then there will be no wake for it.
    pub fn arm(&self, interest: Interest, check: Interest, seen: Standing) -> bool {
        let mut inner = self.inner.lock();
        inner.interest = interest;
        inner.notified = false;
        let there = |kind: Interest, is_there: bool| check.meets(kind) && is_there;
        let over = inner.state == State::Closed;
        let ready = there(Interest::ITEMS, inner.inbox.has_items())
            || there(Interest::NOTICES, inner.inbox.has_notices())
            || there(Interest::ANSWERS, inner.inbox.requests.any_settled())
            || there(Interest::ROOM, over || inner.outbox.has_room_for_refused())
            || there(Interest::DRAINED, over || inner.outbox.pending() == 0)
            || there(Interest::STATE, inner.standing() != seen);
        // From here on it is as if the wake had come: whoever armed takes what is there.
        inner.notified = ready;
        ready
    }

    /// Opens, if it is not open. `eager`: somebody waits for it.
    pub fn open(self: &Arc<Self>, eager: bool) -> Result<()> {
        let mut inner = self.inner.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error());
        }
        self.wake_to_open(&mut inner, eager).map(|kick| {
            drop(inner);
            run_kick(kick);
        })
    }

    /// Makes sure that an actor runs and opens.
    fn wake_to_open(self: &Arc<Self>, inner: &mut Inner, eager: bool) -> Result<Option<Kick>> {
        if inner.state == State::Active {
            return Ok(inner.unpark());
        }
        let before = inner.commands.open.unwrap_or(false);
        inner.commands.open = Some(before || eager);
        if inner.io.is_some() {
            return Ok(inner.unpark());
        }
        let io = runtime::io().inspect_err(|error| {
            // What was accepted will not be sent.
            inner.finish(Some(error.clone()));
        })?;
        inner.io = Some(io.clone());
        Ok(Some(Kick::Start(io, self.clone())))
    }

    /// Takes a message on its way. The first one opens the connection.
    pub fn offer(self: &Arc<Self>, message: Outgoing, lane: Lane) -> Result<Offered> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error());
        }
        let kick = match inner.outbox.accept(now, message, lane) {
            Err(message) => return Ok(Offered::Full(message)),
            Ok(Accepted::Held) => self.wake_to_open(&mut inner, false),
            Ok(Accepted::Queued(displaced)) => {
                for key in displaced {
                    inner.inbox.requests.fail(key, displaced_error());
                }
                self.wake_to_open(&mut inner, false)
            }
        };
        let told = inner.inbox.requests.any_settled().then(|| inner.tell(Interest::ANSWERS)).flatten();
        drop(inner);
        if let Some(notify) = told {
            notify.notify();
        }
        run_kick(kick?);
        Ok(Offered::Accepted)
    }

    /// Registers a request, to be followed by [`Connection::offer`] of its message.
    pub fn add_request(&self, id: &str) -> Result<RequestKey> {
        let mut inner = self.inner.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error());
        }
        inner.inbox.requests.add(id)
    }

    /// Takes the outcome of a request, if it is there.
    pub fn take_answer(&self, key: RequestKey) -> Option<Result<Numbered<Item>>> {
        self.taking(|inbox| inbox.take_answer(key))
    }

    /// What is there for those who wait, at one instant.
    pub fn look(&self) -> Look {
        let mut inner = self.inner.lock();
        Look {
            standing: inner.standing(),
            has_items: inner.inbox.has_items(),
            has_room: inner.state == State::Closed || inner.outbox.has_room_for_refused(),
            is_drained: inner.outbox.pending() == 0,
            settled: if inner.inbox.requests.any_settled() {
                inner.inbox.requests.take_settled()
            } else {
                Vec::new()
            },
        }
    }

    /// Nobody waits for this request any more.
    pub fn forget_request(&self, key: RequestKey) {
        let mut inner = self.inner.lock();
        inner.inbox.forget_request(key);
        let told = inner.inbox.has_items().then(|| inner.tell(Interest::ITEMS)).flatten();
        drop(inner);
        if let Some(notify) = told {
            notify.notify();
        }
    }

    /// The oldest result, error or end.
    pub fn pop(&self) -> Option<Numbered<Item>> {
        self.taking(Inbox::pop)
    }

    /// The oldest notice.
    pub fn pop_notice(&self) -> Option<Notice> {
        self.taking(Inbox::pop_notice)
    }

    /// The oldest of both.
    pub fn pop_any(&self) -> Option<Next> {
        self.taking(Inbox::pop_any)
    }

    /// Takes back what [`Connection::pop`] gave.
    pub fn unpop(&self, item: Numbered<Item>) {
        let mut inner = self.inner.lock();
        inner.inbox.unpop(item);
        let told = inner.tell(Interest::ITEMS);
        drop(inner);
        if let Some(notify) = told {
            notify.notify();
        }
    }

    fn taking<T>(&self, take: impl FnOnce(&mut Inbox) -> T) -> T {
        let mut inner = self.inner.lock();
        let taken = take(&mut inner.inbox);
        // The reader waits for room: this may have made it.
        let kick = if inner.inbox.is_paused() && !inner.inbox.should_pause() { inner.unpark() } else { None };
        drop(inner);
        run_kick(kick);
        taken
    }

    /// Closes: sends what is queued and a close frame if the socket is open, gives up everything else. Idempotent.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Closed || inner.commands.close {
            return;
        }
        inner.commands.close = true;
        inner.outbox.cancel_throttled();
        let mut told = None;
        if inner.io.is_none() {
            let kind = inner.finish(None);
            told = inner.tell(kind);
        } else if inner.state == State::Active {
            let kind = inner.set_state(State::Closing);
            told = inner.tell(kind);
        } else {
            // Nothing is open, so there is nothing to wait for; the actor follows.
            let kind = inner.finish(None);
            told = inner.tell(kind).or(told);
        }
        let kick = inner.unpark();
        drop(inner);
        if let Some(notify) = told {
            notify.notify();
        }
        run_kick(kick);
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.inner.lock().state
    }

    /// Where it stands, and how often it was open.
    pub fn standing(&self) -> Standing {
        self.inner.lock().standing()
    }

    /// Why the connection is over; `None` while it is not, or when the caller closed it.
    pub fn failure(&self) -> Option<Error> {
        self.inner.lock().failure.clone()
    }

    /// The error for a receiver when the connection is over and everything was taken.
    pub fn end(&self) -> Option<Error> {
        let inner = self.inner.lock();
        let over = inner.state == State::Closed && !inner.inbox.has_items();
        over.then(|| inner.failure.clone().unwrap_or_else(|| Error::closed(1000, "")))
    }

    /// Whether nothing is pending on the way out.
    pub fn is_drained(&self) -> bool {
        self.inner.lock().outbox.pending() == 0
    }

    /// The counters, at one instant.
    pub fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        let mut stats = Stats { reconnects: inner.sockets.saturating_sub(1), ..Stats::default() };
        inner.outbox.report(&mut stats);
        inner.inbox.report(&mut stats);
        stats
    }
}

/// What sets the actor in motion, once the lock is released.
enum Kick {
    Wake(Io, Waker),
    Start(Io, Arc<Connection>),
}

fn run_kick(kick: Option<Kick>) {
    match kick {
        Some(Kick::Wake(io, waker)) => io.kick(waker),
        // On a thread that is being stopped the actor is dropped at once, and takes the lock to say so.
        Some(Kick::Start(io, connection)) => io.spawn(actor::run(connection, io.clone())),
        None => {}
    }
}

fn displaced_error() -> Error {
    Error::new(
        ErrorKind::BufferFull,
        "the request was displaced by newer messages before it could be sent (max_buffering)",
    )
}
