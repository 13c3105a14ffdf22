//! The caller wants no more: what was accepted is written, or answered, or the connection is closed.

use super::{Boxes, Interest};
use crate::{
    core::session::State,
    error::{Error, ErrorKind},
};

impl Boxes {
    /// Closes with this code: what is queued and a close frame are sent if a socket is open, everything else is given
    /// up. `None`, and nothing is done, if it was closed before: the first code counts.
    pub fn close(&mut self, code: u16, reason: &str) -> Option<Interest> {
        if self.is_over_for_caller() {
            return None;
        }
        self.commands.close = true;
        self.close_frame = (code, reason.into());
        // From here on this is how it was closed, whatever the server answers, or whether it does.
        self.last_close = Some((code, reason.to_owned()));
        self.outbox.uncork();
        self.outbox.cancel_throttled();
        if self.state != State::Active {
            // Nothing is open, so there is nothing to wait for; the driver, if there is one, follows.
            return Some(self.finish(None));
        }
        // What was throttled may have been all that was pending.
        Some(self.set_state(State::Closing, None).and(self.drained_now()))
    }

    /// Whether the connection is closed, or the caller has closed it.
    pub fn is_over_for_caller(&self) -> bool {
        self.state == State::Closed || self.commands.close
    }

    /// Whether the caller has closed the connection.
    pub fn is_closed_by_caller(&self) -> bool {
        self.commands.close
    }

    /// The code and the reason of our close frame.
    pub fn close_frame(&self) -> &(u16, Box<str>) {
        &self.close_frame
    }

    /// Notes how a session was closed. Where the caller closed, that was first.
    pub fn session_closed(&mut self, code: u16, reason: &str) {
        if !self.commands.close {
            self.last_close = Some((code, reason.to_owned()));
        }
    }

    /// How the caller closed the connection; else how the newest session that is over was closed.
    pub fn last_close(&self) -> Option<&(u16, String)> {
        self.last_close.as_ref()
    }

    /// Begins a wait for everything that was accepted, after which nothing more is, until [`Boxes::end_finish`].
    pub fn begin_finish(&mut self) {
        self.commands.finish = true;
        self.finishers += 1;
    }

    /// Ends such a wait. `tells`: what was lost meanwhile has been told.
    pub fn end_finish(&mut self, tells: bool) -> Interest {
        self.finishers = self.finishers.saturating_sub(1);
        if tells {
            self.withheld.clear();
        }
        if self.finishers > 0 {
            return Interest::NONE;
        }
        let errors = std::mem::take(&mut self.withheld);
        errors.into_iter().fold(Interest::NONE, |kind, error| kind.and(self.push_error(error)))
    }

    /// Whether everything accepted is written, and what was written is answered or will not be.
    pub fn is_finished(&self) -> bool {
        self.state == State::Closed || (self.outbox.pending() == 0 && self.in_flight() == 0)
    }

    /// Counts what a lost session had no answer to, if the connection is finishing: the caller will want to know.
    pub(super) fn count_lost_while_finishing(&mut self) {
        if self.commands.finish {
            self.lost_while_finishing += self.in_flight();
        }
    }

    /// How many messages, at most, had no answer when their sessions were lost while the connection was finishing.
    pub fn lost_while_finishing(&self) -> u64 {
        self.lost_while_finishing
    }

    /// Fails when nothing is accepted, though the connection is not closed.
    pub(super) fn check_not_finishing(&self) -> Result<(), Error> {
        if !self.commands.finish {
            return Ok(());
        }
        let why = "the connection takes no more inputs: finish() was called";
        Err(Error::new(ErrorKind::Closed { code: 1000, reason: String::new() }, why))
    }
}
