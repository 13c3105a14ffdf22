//! The caller wants no more: what was accepted is written, or answered, or the connection is closed.

use super::{Connection, Interest};
use crate::{
    core::session::State,
    error::{Error, ErrorKind, Result},
    net::shared::tell,
};

impl Connection {
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
}
