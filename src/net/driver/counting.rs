//! The attempts to open that failed: how many there were.

use std::time::Instant;

use super::Driver;
use crate::core::session::State;

impl Driver {
    /// An attempt begins. One that was under way, and ended in another at once, has failed.
    pub(super) fn begin_attempt(&mut self) {
        if self.attempt_began.replace(Instant::now()).is_some() {
            self.connection.shared.lock().boxes.opening_failed();
        }
    }

    /// Counts the attempt that was under way, if the session has given it up. To be called before anybody is told.
    pub(super) fn count_failed_attempt(&mut self) {
        let is_under_way =
            matches!(self.session.state(), State::Authenticating | State::Connecting | State::Active);
        if is_under_way || self.attempt_began.take().is_none() {
            return;
        }
        let mut inner = self.connection.shared.lock();
        // What the caller has closed did not fail.
        if !inner.boxes.is_closed_by_caller() {
            inner.boxes.opening_failed();
        }
    }
}
