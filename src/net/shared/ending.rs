//! The end of a connection, or of what is under way: what fails, and who is told.

use super::{Interest, SharedState};
use crate::{
    core::session::State,
    error::{Error, ErrorKind, Result},
};

impl SharedState {
    /// Nothing is accepted, though the connection is not closed.
    pub(in crate::net) fn check_not_finishing(&self) -> Result<()> {
        if !self.commands.finish {
            return Ok(());
        }
        let why = "the connection takes no more inputs: finish() was called";
        Err(Error::new(ErrorKind::Closed { code: 1000, reason: String::new() }, why))
    }

    /// An error that no call raises, unless somebody waits for the end: that call does.
    pub(in crate::net) fn tell_error(&mut self, error: Error) -> Interest {
        if self.finishers > 0 {
            self.withheld.push(error);
            return Interest::NONE;
        }
        self.push_error(error)
    }

    /// Nobody, or one less, waits for the end. `tells`: what was lost meanwhile has been told.
    pub(in crate::net) fn end_finish(&mut self, tells: bool) -> Interest {
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

    /// One less waits for the opening. `tells`: that call raises why it failed, if it did.
    pub(in crate::net) fn end_open(&mut self, tells: bool) -> Interest {
        self.openers = self.openers.saturating_sub(1);
        if tells {
            self.withheld_end = None;
        }
        if self.openers > 0 {
            return Interest::NONE;
        }
        self.withheld_end.take().map_or(Interest::NONE, |error| self.tell_error(error))
    }

    /// The connection is over: what was not sent fails, and whoever waits is told.
    pub(in crate::net) fn finish(&mut self, failure: Option<Error>) -> Interest {
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

    /// Why nothing can be sent or received any more, for somebody who is told.
    pub(in crate::net) fn closed_error(&mut self) -> Error {
        self.failure_is_told = true;
        self.failure.clone().unwrap_or_else(|| self.closed_normally())
    }

    fn closed_normally(&self) -> Error {
        let (code, reason) = self.normal_close();
        Error::closed(code, reason)
    }

    /// The code and the reason of an end that is no failure: the caller's, else those of the server that closed.
    pub(in crate::net) fn normal_close(&self) -> (u16, String) {
        self.last_close.clone().unwrap_or((1000, String::new()))
    }
}
