//! The end of a connection: what fails, why, and who has been told.

use super::{Boxes, Interest};
use crate::{
    core::session::State,
    error::{Error, ErrorKind},
};

impl Boxes {
    /// Ends the connection: what was not sent fails, and whoever waits is told.
    pub fn finish(&mut self, failure: Option<Error>) -> Interest {
        let mut kind = self.set_state(State::Closed, failure.clone());
        self.outbox.fail_all();
        let reason = failure.clone().unwrap_or_else(|| self.closed_normally());
        self.failure_is_told = self.inbox.requests.fail_waiting(|_| true, &reason) > 0;
        // Where results go to a callback, nobody would hear of it by receiving.
        if let Some(error) = failure.clone()
            && !self.failure_is_told
            && (self.routes.errors || self.routes.results)
        {
            if self.openers > 0 {
                self.withheld_end = Some(error);
            } else {
                kind = kind.and(self.tell_error(error));
            }
            self.failure_is_told = true;
        }
        self.failure = failure;
        kind.and(Interest::ITEMS).and(Interest::ANSWERS).and(Interest::ROOM).and(Interest::DRAINED)
    }

    /// Begins a wait for the opening, until [`Boxes::end_open`].
    pub fn begin_open(&mut self) {
        self.openers += 1;
    }

    /// Ends a wait for the opening. `tells`: that call raises why it failed, if it did.
    pub fn end_open(&mut self, tells: bool) -> Interest {
        self.openers = self.openers.saturating_sub(1);
        if tells {
            self.withheld_end = None;
        }
        if self.openers > 0 {
            return Interest::NONE;
        }
        self.withheld_end.take().map_or(Interest::NONE, |error| self.tell_error(error))
    }

    /// Tells of an error that no call raises, unless somebody waits for the end: that call does.
    pub(super) fn tell_error(&mut self, error: Error) -> Interest {
        if self.finishers > 0 {
            self.withheld.push(error);
            return Interest::NONE;
        }
        self.push_error(error)
    }

    /// Why the connection is over, for somebody who is told; `None` while it is not, or when that is no failure.
    pub fn tell_failure(&mut self) -> Option<Error> {
        self.failure_is_told |= self.failure.is_some();
        self.failure.clone()
    }

    /// Counts the failure as told: nobody is left who must know.
    pub fn failure_was_told(&mut self) {
        self.failure_is_told = true;
    }

    /// Why the connection is over, if nobody was told.
    pub fn untold_failure(&self) -> Option<Error> {
        let repeats =
            |failure: &Error| self.raised.as_ref().is_some_and(|told| failure.message.contains(told));
        self.failure.clone().filter(|failure| !self.failure_is_told && !repeats(failure))
    }

    /// Notes that an error that came between the results was raised. One that ended the session may be why the
    /// connection ends: then that is told, too.
    pub fn has_raised(&mut self, error: &Error) {
        self.raised = Some(error.message.clone()).filter(|message| !message.is_empty());
    }

    /// Why nothing can be sent or received any more, for somebody who is told.
    pub fn closed_error(&mut self) -> Error {
        self.failure_is_told = true;
        self.failure.clone().unwrap_or_else(|| self.closed_normally())
    }

    /// The error for a receiver when the connection is over and everything was taken.
    pub fn end(&mut self) -> Option<Error> {
        let over = self.state == State::Closed && !self.inbox.has_items();
        over.then(|| self.closed_error())
    }

    /// Whether an end with this code is an ordinary one: the caller's own, or that of a server that closed normally.
    pub fn is_normal_code(&self, code: u16) -> bool {
        let is_over = || self.state == State::Closed && self.failure.is_none();
        code == 1000 || (is_over() && self.last_close.as_ref().is_some_and(|(own, _)| *own == code))
    }

    /// Whether everything is written, for a waiter who began at `told_before`: `None` while something is pending, an
    /// error when messages have failed that nobody who drained was told of before that.
    pub fn drained(&mut self, told_before: u64) -> Option<Result<(), Error>> {
        if self.outbox.pending() > 0 {
            return None;
        }
        let failed = self.outbox.failed();
        if failed <= told_before {
            return Some(Ok(()));
        }
        self.told_failures = failed;
        self.failure_is_told |= self.failure.is_some();
        let (count, over) = (failed - told_before, self.state == State::Closed);
        let inputs = if count == 1 { "1 input was".to_owned() } else { format!("{count} inputs were") };
        let (why, code, reason) = match &self.failure {
            Some(failure) => {
                let (code, reason) = failure.close().unwrap_or((1006, &failure.message));
                (failure.message.clone(), code, reason.to_owned())
            }
            None if over || self.commands.close => {
                let (code, reason) = self.normal_close();
                ("the connection was closed".to_owned(), code, reason)
            }
            None => ("the socket was lost while it was written".to_owned(), 1006, String::new()),
        };
        let message = format!("{inputs} not written: {why}");
        Some(Err(Error::new(ErrorKind::Closed { code, reason }, message)))
    }

    /// The number of failed messages that somebody was told of: where whoever drains begins.
    pub fn told_failures(&self) -> u64 {
        self.told_failures
    }

    fn closed_normally(&self) -> Error {
        let (code, reason) = self.normal_close();
        Error::closed(code, reason)
    }

    /// The code and the reason of an end that is no failure: the caller's, else those of the server that closed.
    fn normal_close(&self) -> (u16, String) {
        self.last_close.clone().unwrap_or((1000, String::new()))
    }
}
