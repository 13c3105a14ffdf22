//! Requests: messages whose answers go to who sent them.

use std::sync::atomic::Ordering;

use super::{Connection, Interest};
use crate::{
    core::{
        inbox::{Item, Numbered, unread_before},
        message::RequestKey,
        session::State,
    },
    error::{Error, Result},
    net::{driven::Side, link::Work, shared::tell},
};

impl Connection {
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
}
