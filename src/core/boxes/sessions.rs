//! The session that is open: its beginning, what is under way in it, and its end as far as the server has said so.

use std::time::Instant;

use super::{Boxes, Interest};
use crate::{core::session::Traffic, error::Error};

impl Boxes {
    /// A socket is open: a session begins.
    pub fn session_began(&mut self, now: Instant) {
        for key in self.outbox.session_began(now) {
            self.inbox.requests.fail_displaced(key);
        }
        self.received_before = self.inbox.received();
        self.end_is_told = false;
        self.has_failed = false;
        self.stream_ends = false;
        self.ended_with = None;
    }

    /// The error with which the server has ended the session, if it did so; to be asked once.
    pub fn take_ended_with(&mut self) -> Option<Error> {
        self.ended_with.take()
    }

    /// The server has ended its session, which it will close. If that was a stream, what is sent from now on is for
    /// another one.
    pub(super) fn session_ends(&mut self) {
        // Where results go to a callback nobody takes an end.
        self.stream_ends = self.streaming && !self.routes.results && self.traffic().wrote;
    }

    /// The session, a stream, is over for the caller.
    pub fn end_stream(&mut self) -> Interest {
        self.stream_ends = false;
        self.stream_ended = self.traffic().wrote;
        self.inbox.push_end(Error::closed(1000, "the stream has ended"));
        Interest::ITEMS
    }

    /// The traffic of this session so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            wrote: self.outbox.session_wrote(),
            received: self.inbox.received() > self.received_before,
            answered: self.outbox.session_answered(),
        }
    }

    /// Whether everything that was written in this session has its answer, as far as can be known.
    pub fn nothing_under_way(&self) -> bool {
        !self.outbox.is_writing() && self.in_flight() == 0
    }

    /// How many messages of this session may get an answer yet: one result is the answer to one message before it. Of a
    /// stream that is open nobody knows which of its messages are done with.
    pub fn in_flight(&self) -> u64 {
        let took = self.outbox.session_took();
        if took == 0 || self.has_failed {
            return 0;
        }
        if self.streaming {
            return took;
        }
        self.outbox.session_awaits().max(self.inbox.requests.open_and_sent() as u64)
    }
}
