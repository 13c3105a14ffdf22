//! Requests: messages whose answers go to who sent them.

use std::sync::atomic::Ordering;

use super::Connection;
use crate::{
    core::{
        inbox::{Item, Numbered, Unmatched},
        message::RequestKey,
    },
    error::Result,
    net::{driven::Side, link::Work, shared::tell},
};

impl Connection {
    /// Registers a request, to be followed by [`Connection::offer`] of its message.
    pub fn add_request(&self, id: &str) -> Result<RequestKey> {
        let mut inner = self.shared.lock();
        let key = inner.boxes.add_request(id)?;
        self.shared.expects_answers.store(true, Ordering::Release);
        // For a request reading goes on, or fails it: its message may have to wait for room in the outbox, which a
        // server that writes may not make before it is read from.
        let is_paused = inner.boxes.inbox.is_paused();
        drop(inner);
        if is_paused {
            self.drive(Work::WRITE, Side::Caller);
        }
        Ok(key)
    }

    /// The number of results that belong to no request: how many more while one waits tells why it has no answer.
    pub fn unmatched(&self) -> Unmatched {
        self.shared.lock().boxes.inbox.unmatched()
    }

    /// Whether it is settled that a request has no answer, though its message may still wait for room.
    pub fn has_failed(&self, key: RequestKey) -> bool {
        self.shared.lock().boxes.inbox.requests.has_failed(key)
    }

    /// Takes the outcome of a request, if it is there.
    pub fn take_answer(&self, key: RequestKey) -> Option<Result<Numbered<Item>>> {
        self.taking(|inbox| inbox.take_answer(key))
    }

    /// Forgets a request for which nobody waits any more. Answers whether its message may have been written.
    pub fn forget_request(&self, key: RequestKey) -> bool {
        let mut inner = self.shared.lock();
        let (was_sent, kind) = inner.boxes.forget_request(key);
        tell(inner, kind);
        was_sent
    }
}
