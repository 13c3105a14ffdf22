//! The caller wants no more: what was accepted is written, or answered, or the connection is closed.

use super::Connection;
use crate::{core::session::State, error::Result, net::shared::tell};

impl Connection {
    /// Closes with code 1000, see [`Connection::close_with`].
    pub fn close(&self) {
        self.close_with(1000, "");
    }

    /// Closes: sends what is queued and a close frame if the socket is open, gives up everything else. Idempotent: the
    /// first code counts.
    pub fn close_with(&self, code: u16, reason: &str) {
        let mut inner = self.shared.lock();
        let Some(kind) = inner.boxes.close(code, reason) else { return };
        let unpark = inner.unpark();
        let is_over = inner.boxes.state() == State::Closed;
        tell(inner, kind);
        if is_over {
            self.end_recording();
        }
        if let Some(driver) = unpark {
            driver.wake();
        }
    }

    /// Begins a wait for everything that was accepted, after which nothing more is, until [`Connection::end_finish`].
    /// What the throttle holds need not wait for its time.
    pub fn begin_finish(&self) {
        self.shared.lock().boxes.begin_finish();
        self.release_throttled();
    }

    /// Ends a wait that began with [`Connection::begin_finish`]. `tells`: what was lost meanwhile is told
    /// there; else it is told now, as at any other time.
    pub fn end_finish(&self, tells: bool) {
        let mut inner = self.shared.lock();
        let kind = inner.boxes.end_finish(tells);
        tell(inner, kind);
    }

    /// Whether the caller has closed it.
    pub fn is_closed_by_caller(&self) -> bool {
        self.shared.lock().boxes.is_closed_by_caller()
    }

    /// `text`, which the server said, without the secrets that it was told.
    pub fn without_secrets(&self, text: &str) -> String {
        self.shared.lock().secrets.quote(text)
    }

    /// Whether everything accepted is written, and what was written is answered or will not be; see
    /// [`Connection::in_flight`].
    pub fn is_finished(&self) -> bool {
        self.shared.lock().boxes.is_finished()
    }

    /// How many messages of this session may have no answer yet: as many as have been written more than results have
    /// come, and at least its open requests; of a stream, all.
    pub fn in_flight(&self) -> u64 {
        self.shared.lock().boxes.in_flight()
    }

    /// How many messages, at most, had no answer when their sessions were lost while the connection was finishing.
    pub fn lost_while_finishing(&self) -> u64 {
        self.shared.lock().boxes.lost_while_finishing()
    }

    /// Whether everything is written, for a waiter who began at `told_before`: `None` while something is pending, an
    /// error when messages have failed that nobody who drained was told of before that.
    pub fn drained(&self, told_before: u64) -> Option<Result<()>> {
        self.shared.lock().boxes.drained(told_before)
    }

    /// The number of failed messages that somebody was told of: where whoever drains begins.
    pub fn told_failures(&self) -> u64 {
        self.shared.lock().boxes.told_failures()
    }
}
