//! Messages and requests on their way out: taken from the caller, withdrawn, accounted for when they are written.

use std::time::Instant;

use super::{Boxes, Interest};
use crate::{
    core::{
        inbox::unread_before,
        message::{Outgoing, RequestKey},
        outbox::{Accepted, Lane, Written},
        session::State,
    },
    error::{Error, ErrorKind},
};

/// The outcome for an offered message.
#[derive(Debug)]
pub enum Offered {
    /// It was accepted.
    Accepted,
    /// There is no room; here it is again.
    Full(Outgoing),
}

impl Boxes {
    /// Takes a message on its way. `more`: others follow at once; answers also whether it waits for them.
    pub fn offer(
        &mut self,
        now: Instant,
        message: Outgoing,
        lane: Lane,
        more: bool,
    ) -> Result<(Offered, bool), Error> {
        if self.is_over_for_caller() {
            return Err(self.closed_error().unprocessed());
        }
        // Without what its opening says a session may be of no use to what is still to be sent.
        if !(matches!(lane, Lane::Opening(_)) && self.outbox.is_opening()) {
            self.check_not_finishing().map_err(Error::unprocessed)?;
        }
        if self.stream_ends || (self.stream_ended && self.inbox.has_end()) {
            return Err(stream_ended());
        }
        let request = message.request;
        let mut waits = false;
        match self.outbox.accept(now, message, lane) {
            Err(message) => return Ok((Offered::Full(message), false)),
            Ok(Accepted::Held) => {}
            Ok(Accepted::Queued(displaced)) => {
                self.outbox.cork(now, more);
                self.fail_displaced(displaced);
                if let Some(key) = request {
                    self.inbox.requests.set_accepted(key);
                }
                waits = self.state == State::Active && self.outbox.corked_until().is_some();
            }
        }
        Ok((Offered::Accepted, waits))
    }

    /// Whether what is sent now is written at once. In an opening that is what is sent there; all else that is sent
    /// meanwhile waits.
    pub fn is_writable(&self) -> bool {
        self.state == State::Active || self.outbox.is_opening()
    }

    /// Lets go what the throttle holds, whose time has come, if there is room.
    pub fn release_due(&mut self, now: Instant) -> Interest {
        let displaced = self.outbox.tick(now);
        self.fail_displaced(displaced);
        self.settled()
    }

    /// Lets go what the throttle holds, and what waits for more: nothing newer will come.
    pub fn release_throttled(&mut self, now: Instant) -> Interest {
        let displaced = self.outbox.release(now);
        self.fail_displaced(displaced);
        self.outbox.uncork();
        self.settled()
    }

    /// Accounts for what has been handed to the socket.
    pub fn wrote(&mut self, written: Written) -> Interest {
        self.outbox.wrote(written.messages, written.bytes);
        self.drained_now()
    }

    /// Registers a request, to be followed by [`Boxes::offer`] of its message.
    pub fn add_request(&mut self, id: &str) -> Result<RequestKey, Error> {
        if self.is_over_for_caller() {
            return Err(self.closed_error().unprocessed());
        }
        // Else its message is refused, unless it belongs to the opening.
        if !self.outbox.is_opening() {
            self.check_not_finishing().map_err(Error::unprocessed)?;
        }
        if self.inbox.is_full() {
            return Err(unread_before().unprocessed());
        }
        self.inbox.requests.add(id)
    }

    /// Forgets a request for which nobody waits any more. Answers whether its message may have been written, and who is
    /// to be told.
    pub fn forget_request(&mut self, key: RequestKey) -> (bool, Interest) {
        let kind =
            if self.outbox.withdraw(key) { self.drained_now().and(Interest::ROOM) } else { Interest::NONE };
        (self.inbox.forget_request(key), kind)
    }

    fn fail_displaced(&mut self, displaced: Vec<RequestKey>) {
        for key in displaced {
            self.inbox.requests.fail_displaced(key);
        }
    }

    /// The interest of those who wait for outcomes of requests, if there are any outcomes.
    pub fn settled(&self) -> Interest {
        if self.inbox.requests.any_settled() { Interest::ANSWERS } else { Interest::NONE }
    }

    /// The interest of those who wait until everything is written, if it is.
    pub(super) fn drained_now(&self) -> Interest {
        if self.outbox.pending() == 0 { Interest::DRAINED } else { Interest::NONE }
    }
}

/// The stream that the message was meant for is over; it would begin another one.
fn stream_ended() -> Error {
    let why = "the stream ended before this input, which was not sent: take what it gave with recv() or iteration, up to \
               its end; the next input then begins another one";
    Error::new(ErrorKind::StreamEnded, why).unprocessed()
}
