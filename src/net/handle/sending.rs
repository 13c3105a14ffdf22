//! Messages on their way out, as the callers' threads give them.

use std::{sync::Arc, time::Instant};

use super::{Connection, Interest, Offered, opening::run_wakeup};
use crate::{
    core::{
        message::Outgoing,
        outbox::{Accepted, Lane},
        session::State,
    },
    error::{Error, ErrorKind, Result},
    net::{driven::Side, link::Work, shared::tell, wakeups},
};

/// The stream that the message was meant for is over; it would begin another one.
fn stream_ended() -> Error {
    let why = "the stream ended before this input, which was not sent: take what it gave with recv() or iteration, up to \
               its end; the next input then begins another one";
    Error::new(ErrorKind::StreamEnded, why).unprocessed()
}

impl Connection {
    /// Takes a message on its way. The first one opens the connection.
    pub fn offer(self: &Arc<Self>, message: Outgoing, lane: Lane) -> Result<Offered> {
        self.take_on(message, lane, false).map(|(offered, _)| offered)
    }

    /// Takes a message that others follow at once. Answers also whether it waits for them: if none comes,
    /// [`Connection::uncork`] is to be called.
    pub fn offer_more(self: &Arc<Self>, message: Outgoing, lane: Lane) -> Result<(Offered, bool)> {
        self.take_on(message, lane, true)
    }

    fn take_on(self: &Arc<Self>, message: Outgoing, lane: Lane, more: bool) -> Result<(Offered, bool)> {
        let now = Instant::now();
        let mut inner = self.shared.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error().unprocessed());
        }
        // Without what its opening says a session may be of no use to what is still to be sent.
        if !(matches!(lane, Lane::Opening(_)) && inner.outbox.is_opening()) {
            inner.check_not_finishing().map_err(Error::unprocessed)?;
        }
        if inner.stream_ended && inner.inbox.has_end() {
            return Err(stream_ended());
        }
        let request = message.request;
        let mut waits = false;
        match inner.outbox.accept(now, message, lane) {
            Err(message) => return Ok((Offered::Full(message), false)),
            Ok(Accepted::Held) => {}
            Ok(Accepted::Queued(displaced)) => {
                inner.outbox.cork(now, more);
                for key in displaced {
                    inner.inbox.requests.fail_displaced(key);
                }
                if let Some(key) = request {
                    inner.inbox.requests.set_accepted(key);
                }
                waits = inner.state == State::Active && inner.outbox.corked_until().is_some();
            }
        }
        // What is sent in an opening is written at once; all else that is sent meanwhile waits.
        let is_active = inner.state == State::Active || inner.outbox.is_opening();
        let wakeup = if is_active { Ok(None) } else { self.wake_to_open(&mut inner, false) };
        let told = inner.inbox.requests.any_settled().then(|| inner.tell(Interest::ANSWERS)).flatten();
        drop(inner);
        if let Some(notify) = told {
            wakeups::notify(notify);
        }
        run_wakeup(wakeup?);
        if waits {
            self.wait_for_more();
        } else if is_active {
            self.write_soon();
        }
        Ok((Offered::Accepted, waits))
    }

    /// Nothing newer will come: what the throttle holds need not wait for its time.
    pub fn release_throttled(&self) {
        let mut inner = self.shared.lock();
        for key in inner.outbox.release(Instant::now()) {
            inner.inbox.requests.fail_displaced(key);
        }
        inner.outbox.uncork();
        let kind = if inner.inbox.requests.any_settled() { Interest::ANSWERS } else { Interest::NONE };
        tell(inner, kind);
        self.drive(Work::WRITE, Side::Caller);
    }

    /// Nothing follows that the messages of the last moment should wait for.
    pub fn uncork(self: &Arc<Self>) {
        if self.check_process().is_err() {
            return;
        }
        let mut inner = self.shared.lock();
        let waits = inner.outbox.corked_until().is_some();
        inner.outbox.uncork();
        drop(inner);
        if waits {
            self.write_soon();
        }
    }

    /// Somebody who waited for room has given up.
    pub fn forget_refused(&self) {
        self.shared.lock().outbox.forget_refused();
    }
}
