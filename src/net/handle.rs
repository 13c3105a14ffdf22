//! A connection as the caller's threads see it.
//!
//! No method waits, calls Python, or takes any other lock while it holds this one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    driven::Side,
    driver,
    io_thread::{self, Io},
    link::Work,
    process,
    shared::{SharedState, Unpark, tell},
    wakeups::{self, Notify},
};
use crate::{
    core::{
        inbox::{Inbox, Item, Next, Notice, Numbered, unread_before},
        message::{Outgoing, RequestKey},
        session::State,
        stats::Stats,
    },
    error::{Error, ErrorKind, Result},
};

#[cfg(unix)]
mod blocking;
mod sending;

#[cfg(unix)]
pub use self::blocking::Drove;
pub use super::{
    connection::{Connection, NotRecorded},
    shared::{Interest, Routes},
};

/// The readiness of a connection: what is there for those who wait, at one instant.
#[derive(Debug)]
pub struct Readiness {
    /// Where the connection stands.
    pub state: State,
    /// How often it has become active.
    pub openings: u64,
    /// [`Connection::pop`] has something.
    pub has_items: bool,
    /// An offered message would be accepted.
    pub has_room: bool,
    /// Nothing is pending on the way out.
    pub is_drained: bool,
    /// Nothing more is accepted, and nothing is pending or without an answer.
    pub is_finished: bool,
    /// The requests that were settled since this was last asked.
    pub settled: Vec<RequestKey>,
}

/// The outcome for an offered message.
#[derive(Debug)]
pub enum Offered {
    /// It was accepted.
    Accepted,
    /// There is no room; here it is again.
    Full(Outgoing),
}

impl Connection {
    /// The connection belongs to this process.
    pub fn check_process(&self) -> Result<()> {
        if self.process() == process::number() { Ok(()) } else { Err(io_thread::forked()) }
    }

    /// Says who is to be woken.
    pub fn set_notify(&self, notify: Arc<dyn Notify>) {
        self.shared.lock().notify = Some(notify);
    }

    /// Says which callbacks there are.
    pub fn set_routes(&self, routes: Routes) {
        let mut inner = self.shared.lock();
        inner.routes = routes;
        if routes.results {
            inner.inbox.receive();
        }
    }

    /// The wake that came has been seen; `interest` is waited for from now on. Answers whether any of `check` is
    /// there already, or the state is no longer `seen`: then there will be no wake for it.
    pub fn arm(&self, interest: Interest, check: Interest, seen: State) -> bool {
        self.shared.lock().arm(interest, check, seen)
    }

    /// `interest` is waited for from now on. Answers whether items or notices, as far as they are in `check`, are there
    /// already, or the connection is closed; there will be a wake for what comes, whatever the answer.
    pub fn listen(&self, interest: Interest, check: Interest) -> bool {
        self.shared.lock().listen(interest, check)
    }

    /// The same, unless another thread, or this one, is just now with what it would look at.
    pub fn try_listen(&self, interest: Interest, check: Interest) -> Option<bool> {
        self.shared.try_lock().map(|mut inner| inner.listen(interest, check))
    }

    /// Opens, if it is not open. `eager`: somebody waits for it.
    pub fn open(self: &Arc<Self>, eager: bool) -> Result<()> {
        let mut inner = self.shared.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error());
        }
        self.wake_to_open(&mut inner, eager).map(|wakeup| {
            drop(inner);
            run_wakeup(wakeup);
        })
    }

    /// Makes sure that a driver runs and opens.
    fn wake_to_open(self: &Arc<Self>, inner: &mut SharedState, eager: bool) -> Result<Option<Wakeup>> {
        if inner.state == State::Active {
            return Ok(inner.unpark().map(Wakeup::Wake));
        }
        let before = inner.commands.open.unwrap_or(false);
        inner.commands.open = Some(before || eager);
        if inner.io.is_some() {
            return Ok(inner.unpark().map(Wakeup::Wake));
        }
        let io = match self.poller() {
            Some(poller) => poller.io(io_thread::io),
            None => io_thread::io(),
        };
        let io = io.inspect_err(|error| {
            // What was accepted will not be sent, and whoever waits is to know.
            let kind = inner.finish(Some(error.clone()));
            if let Some(notify) = inner.tell(kind) {
                wakeups::notify(notify);
            }
        })?;
        inner.io = Some(io.clone());
        Ok(Some(Wakeup::Start(io, self.clone())))
    }

    /// Registers a request, to be followed by [`Connection::offer`] of its message.
    pub fn add_request(&self, id: &str) -> Result<RequestKey> {
        let mut inner = self.shared.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error().unprocessed());
        }
        // Else its message is refused, unless it belongs to the opening.
        if !inner.outbox.is_opening() {
            inner.check_not_finishing().map_err(Error::unprocessed)?;
        }
        if inner.inbox.is_full() {
            return Err(unread_before().unprocessed());
        }
        let added = inner.inbox.requests.add(id);
        self.shared.expects_answers.store(true, Ordering::Release);
        // For a request reading goes on, or fails it: its message may have to wait for room in the outbox, which a
        // server that writes may not make before it is read from.
        let is_paused = inner.inbox.is_paused();
        drop(inner);
        if is_paused {
            self.drive(Work::WRITE, Side::Caller);
        }
        added
    }

    /// Results that came without a `request_id`: how many more while a request waits tells why it has no answer.
    pub fn unmarked(&self) -> u64 {
        self.shared.lock().inbox.unmarked()
    }

    /// Whether it is settled that a request has no answer, though its message may still wait for room.
    pub fn has_failed(&self, key: RequestKey) -> bool {
        self.shared.lock().inbox.requests.has_failed(key)
    }

    /// Takes the outcome of a request, if it is there.
    pub fn take_answer(&self, key: RequestKey) -> Option<Result<Numbered<Item>>> {
        self.taking(|inbox| inbox.take_answer(key))
    }

    /// What is there for those who wait, at one instant.
    pub fn readiness(&self) -> Readiness {
        let mut inner = self.shared.lock();
        Readiness {
            state: inner.state,
            openings: inner.openings,
            has_items: inner.inbox.has_items(),
            has_room: inner.state == State::Closed || inner.outbox.has_room_for_refused(),
            is_drained: inner.outbox.pending() == 0,
            is_finished: inner.commands.finish && inner.is_finished(),
            settled: if inner.inbox.requests.any_settled() {
                inner.inbox.requests.take_settled()
            } else {
                Vec::new()
            },
        }
    }

    /// Somebody who waited for room has given up.
    pub fn forget_refused(&self) {
        self.shared.lock().outbox.forget_refused();
    }

    /// Nobody waits for this request any more. Answers whether its message may have been written.
    pub fn forget_request(&self, key: RequestKey) -> bool {
        let mut inner = self.shared.lock();
        let kind = if inner.outbox.withdraw(key) {
            let drained = if inner.outbox.pending() == 0 { Interest::DRAINED } else { Interest::NONE };
            drained.and(Interest::ROOM)
        } else {
            Interest::NONE
        };
        let was_sent = inner.inbox.forget_request(key);
        tell(inner, kind);
        was_sent
    }

    /// The newest result; older ones are dropped. An error or end that came before it comes first.
    pub fn pop_newest(&self) -> Option<Numbered<Item>> {
        self.taking(Inbox::pop_newest)
    }

    /// The oldest result, error or end.
    pub fn pop(&self) -> Option<Numbered<Item>> {
        self.taking(Inbox::pop)
    }

    /// Whether [`Connection::pop`] has something.
    pub fn has_items(&self) -> bool {
        self.shared.lock().inbox.has_items()
    }

    /// How many items, and how many notices, wait to be taken.
    pub fn left(&self) -> (usize, usize) {
        let inner = self.shared.lock();
        (inner.inbox.items(), inner.inbox.notices())
    }

    /// The oldest notice.
    pub fn pop_notice(&self) -> Option<Notice> {
        self.taking(Inbox::pop_notice)
    }

    /// The oldest of both.
    pub fn pop_any(&self) -> Option<Next> {
        self.taking(Inbox::pop_any)
    }

    /// The result that was popped last is not delivered yet: it is in a decoder.
    pub fn hold(&self) {
        self.shared.lock().inbox.hold();
    }

    /// The result that was held is delivered.
    pub fn deliver_held(&self) {
        self.shared.lock().inbox.deliver_held();
    }

    /// Takes back what [`Connection::pop`] gave.
    pub fn unpop(&self, item: Numbered<Item>) {
        let mut inner = self.shared.lock();
        inner.inbox.unpop(item);
        tell(inner, Interest::ITEMS);
    }

    fn taking<T>(&self, take: impl FnOnce(&mut Inbox) -> T) -> T {
        let mut inner = self.shared.lock();
        let taken = take(&mut inner.inbox);
        // The reader waits for room: this may have made it.
        let goes_on = inner.inbox.is_paused() && !inner.inbox.should_pause();
        drop(inner);
        if goes_on {
            self.drive(Work::WRITE, Side::Caller);
        }
        taken
    }

    /// Closes with code 1000, see [`Connection::close_with`].
    pub fn close(&self) {
        self.close_with(1000, "");
    }

    /// Closes: sends what is queued and a close frame if the socket is open, gives up everything else. Idempotent: the
    /// first code counts.
    pub fn close_with(&self, code: u16, reason: &str) {
        let mut inner = self.shared.lock();
        if inner.state == State::Closed || inner.commands.close {
            return;
        }
        inner.commands.close = true;
        inner.close_frame = (code, reason.into());
        // From here on this is how it was closed, whatever the server answers, or whether it does.
        inner.last_close = Some((code, reason.to_owned()));
        inner.outbox.uncork();
        inner.outbox.cancel_throttled();
        let kind = if inner.state == State::Active {
            let kind = inner.set_state(State::Closing, None);
            // What was throttled may have been all that was pending.
            if inner.outbox.pending() == 0 { kind.and(Interest::DRAINED) } else { kind }
        } else {
            // Nothing is open, so there is nothing to wait for; the driver, if there is one, follows.
            inner.finish(None)
        };
        let unpark = inner.unpark();
        let is_over = inner.state == State::Closed;
        tell(inner, kind);
        if is_over {
            self.end_recording();
        }
        if let Some(driver) = unpark {
            driver.wake();
        }
    }

    /// Accepts nothing more, and somebody waits for what was accepted, until [`Connection::end_finish`]. What the
    /// throttle holds need not wait for its time.
    pub fn begin_finish(&self) {
        let mut inner = self.shared.lock();
        inner.commands.finish = true;
        inner.finishers += 1;
        drop(inner);
        self.release_throttled();
    }

    /// Somebody who waited since [`Connection::begin_finish`] does so no more. `tells`: what was lost meanwhile is told
    /// there; else it is told now, as at any other time.
    pub fn end_finish(&self, tells: bool) {
        let mut inner = self.shared.lock();
        let kind = inner.end_finish(tells);
        tell(inner, kind);
    }

    /// The caller has closed it.
    pub fn is_closed_by_caller(&self) -> bool {
        self.shared.lock().commands.close
    }

    /// Whether everything accepted is written, and what was written is answered or will not be; see
    /// [`Connection::in_flight`].
    pub fn is_finished(&self) -> bool {
        self.shared.lock().is_finished()
    }

    /// How many messages of this session may have no answer yet: as many as have been written more than results have
    /// come, and at least its open requests; of a stream, all.
    pub fn in_flight(&self) -> u64 {
        self.shared.lock().in_flight()
    }

    /// How many messages, at most, had no answer when their sessions were lost while the connection was finishing.
    pub fn lost_while_finishing(&self) -> u64 {
        self.shared.lock().lost_while_finishing
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.shared.lock().state
    }

    /// How often it has become active. Who waits for the opening must not miss it when it is over at once.
    pub fn openings(&self) -> u64 {
        self.shared.lock().openings
    }

    /// Why the newest attempt to open, or session, failed. A session that opens does not clear it.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.lock().last_error.clone()
    }

    /// The code and the reason with which the caller closed the connection; else those of the newest session that is
    /// over, 1006 without a close frame.
    pub fn last_close(&self) -> Option<(u16, String)> {
        self.shared.lock().last_close.clone()
    }

    /// The subprotocol that the server chose for the newest session; `None` before the first, and where it chose none.
    pub fn subprotocol(&self) -> Option<String> {
        self.shared.lock().subprotocol.clone()
    }

    /// How long after the newest answered ping its pong came; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        self.shared.lock().latency
    }

    /// Why the connection is over, for somebody who is told; `None` while it is not, or when that is no failure.
    pub fn failure(&self) -> Option<Error> {
        let mut inner = self.shared.lock();
        inner.failure_is_told |= inner.failure.is_some();
        inner.failure.clone()
    }

    /// The error for somebody who wants something of a connection that is over, or being closed.
    pub fn closed_error(&self) -> Error {
        self.shared.lock().closed_error()
    }

    /// Whether the end that a receiver is told of is an ordinary one.
    pub fn is_normal_end(&self, error: &Error) -> bool {
        matches!(error.kind, ErrorKind::Closed { code, .. } if self.is_normal_code(code))
    }

    /// Whether an end with this code is an ordinary one: the caller's own, or that of a server that closed normally.
    pub fn is_normal_code(&self, code: u16) -> bool {
        let inner = self.shared.lock();
        let is_over = || inner.state == State::Closed && inner.failure.is_none();
        code == 1000 || (is_over() && inner.last_close.as_ref().is_some_and(|(own, _)| *own == code))
    }

    /// Why the connection is over, if nobody was told.
    pub fn untold_failure(&self) -> Option<Error> {
        let inner = self.shared.lock();
        let repeats =
            |failure: &Error| inner.raised.as_ref().is_some_and(|told| failure.message.contains(told));
        inner.failure.clone().filter(|failure| !inner.failure_is_told && !repeats(failure))
    }

    /// An error that came between the results was raised. One that ended the session may be why the connection ends:
    /// then that is told, too.
    pub fn has_raised(&self, error: &Error) {
        self.shared.lock().raised = Some(error.message.clone()).filter(|message| !message.is_empty());
    }

    /// The error for a receiver when the connection is over and everything was taken.
    pub fn end(&self) -> Option<Error> {
        let mut inner = self.shared.lock();
        let over = inner.state == State::Closed && !inner.inbox.has_items();
        over.then(|| inner.closed_error())
    }

    /// Whether everything is written, for a waiter who began at `told_before`: `None` while something is pending, an
    /// error when messages have failed that nobody who drained was told of before that.
    pub fn drained(&self, told_before: u64) -> Option<Result<()>> {
        let mut inner = self.shared.lock();
        if inner.outbox.pending() > 0 {
            return None;
        }
        let failed = inner.outbox.failed();
        if failed <= told_before {
            return Some(Ok(()));
        }
        inner.told_failures = failed;
        inner.failure_is_told |= inner.failure.is_some();
        let (count, over) = (failed - told_before, inner.state == State::Closed);
        let inputs = if count == 1 { "1 input was".to_owned() } else { format!("{count} inputs were") };
        let (why, code, reason) = match &inner.failure {
            Some(failure) => {
                let (code, reason) = match &failure.kind {
                    ErrorKind::Closed { code, reason } => (*code, reason.clone()),
                    _ => (1006, failure.message.clone()),
                };
                (failure.message.clone(), code, reason)
            }
            None if over || inner.commands.close => {
                let (code, reason) = inner.normal_close();
                ("the connection was closed".to_owned(), code, reason)
            }
            None => ("the socket was lost while it was written".to_owned(), 1006, String::new()),
        };
        let message = format!("{inputs} not written: {why}");
        Some(Err(Error::new(ErrorKind::Closed { code, reason }, message)))
    }

    /// Where somebody who drains begins: what failed before that was told to another.
    pub fn told_failures(&self) -> u64 {
        self.shared.lock().told_failures
    }

    /// The counters, at one instant.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }
}

/// The wakeup that sets the driver in motion, once the lock is released.
enum Wakeup {
    Wake(Unpark),
    Start(Io, Arc<Connection>),
}

fn run_wakeup(wakeup: Option<Wakeup>) {
    match wakeup {
        Some(Wakeup::Wake(driver)) => driver.wake(),
        // On a thread that is being stopped the driver is dropped at once, and takes the lock to say so.
        Some(Wakeup::Start(io, connection)) => io.spawn(driver::run(connection, io.clone())),
        None => {}
    }
}
