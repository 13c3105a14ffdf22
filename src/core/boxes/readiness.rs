//! The readiness of a connection: who waits is told of what is there, once for each time that it says what it waits
//! for.

use super::{Boxes, Interest};
use crate::core::{message::RequestKey, session::State};

/// The readiness of a connection: what is there for those who wait, at one instant.
#[derive(Debug)]
pub struct Readiness {
    /// The state of the connection.
    pub state: State,
    /// How often it has become active.
    pub openings: u64,
    /// There are results, errors between them, or an end.
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

impl Boxes {
    /// The readiness at this instant.
    pub fn readiness(&mut self) -> Readiness {
        let requests = &mut self.inbox.requests;
        let settled = if requests.any_settled() { requests.take_settled() } else { Vec::new() };
        Readiness {
            state: self.state,
            openings: self.openings,
            has_items: self.inbox.has_items(),
            has_room: self.state == State::Closed || self.outbox.has_room_for_refused(),
            is_drained: self.outbox.pending() == 0,
            is_finished: self.commands.finish && self.is_finished(),
            settled,
        }
    }

    /// Waits for `interest` from now on; the wake that came has been seen. Answers whether any of `check` is
    /// there already, or the state is no longer `seen`: then there will be no wake for it.
    pub fn arm(&mut self, interest: Interest, check: Interest, seen: State) -> bool {
        self.interest = interest;
        self.notified = false;
        let there = |kind: Interest, is_there: bool| check.intersects(kind) && is_there;
        let over = self.state == State::Closed;
        let ready = there(Interest::ITEMS, self.inbox.has_items())
            || there(Interest::NOTICES, self.inbox.has_notices())
            || there(Interest::ANSWERS, self.inbox.requests.any_settled())
            || there(Interest::ROOM, over || self.outbox.has_room_for_refused())
            || there(Interest::DRAINED, over || self.outbox.pending() == 0)
            || (check.intersects(Interest::FINISHED) && self.is_finished())
            || there(Interest::STATE, self.state != seen);
        // From here on it is as if the wake had come: whoever armed takes what is there.
        self.notified = ready;
        ready
    }

    /// Waits for `interest` from now on, without having taken what is there. Answers whether items or notices, as far
    /// as they are in `check`, are there already, or the connection is closed; there will be a wake for what comes,
    /// whatever the answer.
    pub fn listen(&mut self, interest: Interest, check: Interest) -> bool {
        self.interest = interest;
        self.notified = false;
        self.state == State::Closed
            || (check.intersects(Interest::ITEMS) && self.inbox.has_items())
            || (check.intersects(Interest::NOTICES) && self.inbox.has_notices())
    }

    /// Tells of something of `kind`. Answers whether the caller's side is to be told: it waits for that, and was not
    /// told yet.
    pub fn tells(&mut self, kind: Interest) -> bool {
        if self.notified || !(self.interest.intersects(kind) || self.finishes()) {
            return false;
        }
        self.notified = true;
        true
    }

    /// Whether somebody waits for the end of what is under way, and that is it. What brings it about is of many kinds.
    fn finishes(&self) -> bool {
        self.interest.intersects(Interest::FINISHED) && self.is_finished()
    }
}
