//! Messages on their way out, as the callers' threads give them.

use std::{sync::Arc, time::Instant};

use super::{Connection, Interest, Offered, displaced_error, run_kick, tell_and_kick};
use crate::{
    core::{
        outbox::{Accepted, Lane, Outgoing},
        session::State,
    },
    error::{Error, ErrorKind, Result},
    net::wakes,
};

/// The stream that the message was meant for is over; it would begin another one.
fn stream_ended() -> Error {
    let why = "the stream ended before this input, which was not sent: take what it gave with recv() or iteration, up to \
               its end; the next input then begins another one";
    Error::new(ErrorKind::StreamEnded, why)
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
        let mut inner = self.inner.lock();
        if inner.state == State::Closed || inner.commands.close {
            return Err(inner.closed_error());
        }
        if inner.stream_ended && inner.inbox.has_end() {
            return Err(stream_ended());
        }
        let request = message.request;
        let mut waits = false;
        let mut taken = None;
        let kick = match inner.outbox.accept(now, message, lane) {
            Err(message) => return Ok((Offered::Full(message), false)),
            Ok(Accepted::Held) => self.wake_to_open(&mut inner, false),
            Ok(Accepted::Queued(displaced)) => {
                let more = more && inner.looks_again();
                inner.outbox.cork(now, more);
                for key in displaced {
                    inner.inbox.requests.fail(key, displaced_error());
                }
                if let Some(key) = request {
                    inner.inbox.requests.set_accepted(key);
                }
                waits = inner.state == State::Active && inner.outbox.corked_until().is_some();
                taken = if waits { None } else { inner.take_shortcut(now) };
                if waits || taken.is_some() { Ok(None) } else { self.wake_to_open(&mut inner, false) }
            }
        };
        let told = inner.inbox.requests.any_settled().then(|| inner.tell(Interest::ANSWERS)).flatten();
        drop(inner);
        if let Some(notify) = told {
            wakes::notify(notify);
        }
        run_kick(kick?);
        if let Some(taken) = taken {
            let outcome = taken.write();
            let mut inner = self.inner.lock();
            let (kind, kick) = inner.settle_shortcut(outcome);
            tell_and_kick(inner, kind, kick);
        }
        Ok((Offered::Accepted, waits))
    }

    /// Nothing newer will come: what the throttle holds need not wait for its time.
    pub fn release_throttled(&self) {
        let mut inner = self.inner.lock();
        for key in inner.outbox.release(Instant::now()) {
            inner.inbox.requests.fail(key, displaced_error());
        }
        inner.outbox.uncork();
        let kind = if inner.inbox.requests.any_settled() { Interest::ANSWERS } else { Interest::NONE };
        let kick = inner.unpark();
        tell_and_kick(inner, kind, kick);
    }

    /// Nothing follows that the messages of the last moment should wait for.
    pub fn uncork(&self) {
        if self.check_process().is_err() {
            return;
        }
        let mut inner = self.inner.lock();
        let waits = inner.outbox.corked_until().is_some();
        inner.outbox.uncork();
        let kick = if waits { inner.unpark() } else { None };
        drop(inner);
        run_kick(kick);
    }
}
