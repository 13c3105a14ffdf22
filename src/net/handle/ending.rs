//! The end of a connection: why it is over, and who has been told.

use super::Connection;
use crate::{
    core::session::State,
    error::{Error, ErrorKind},
};

impl Connection {
    /// Why the connection is over, for somebody who is told; `None` while it is not, or when that is no failure.
    pub fn failure(&self) -> Option<Error> {
        let mut inner = self.shared.lock();
        inner.failure_is_told |= inner.failure.is_some();
        inner.failure.clone()
    }

    /// The error for somebody who wants something of a connection that is over, or being closed.
    pub fn closed_error(&self) -> Error {
        self.shared.lock().closed_error()
    }

    /// Whether the end that a receiver is told of is an ordinary one.
    pub fn is_normal_end(&self, error: &Error) -> bool {
        matches!(error.kind, ErrorKind::Closed { code, .. } if self.is_normal_code(code))
    }

    /// Whether an end with this code is an ordinary one: the caller's own, or that of a server that closed normally.
    pub fn is_normal_code(&self, code: u16) -> bool {
        let inner = self.shared.lock();
        let is_over = || inner.state == State::Closed && inner.failure.is_none();
        code == 1000 || (is_over() && inner.last_close.as_ref().is_some_and(|(own, _)| *own == code))
    }

    /// Why the connection is over, if nobody was told.
    pub fn untold_failure(&self) -> Option<Error> {
        let inner = self.shared.lock();
        let repeats =
            |failure: &Error| inner.raised.as_ref().is_some_and(|told| failure.message.contains(told));
        inner.failure.clone().filter(|failure| !inner.failure_is_told && !repeats(failure))
    }

    /// An error that came between the results was raised. One that ended the session may be why the connection ends:
    /// then that is told, too.
    pub fn has_raised(&self, error: &Error) {
        self.shared.lock().raised = Some(error.message.clone()).filter(|message| !message.is_empty());
    }

    /// The error for a receiver when the connection is over and everything was taken.
    pub fn end(&self) -> Option<Error> {
        let mut inner = self.shared.lock();
        let over = inner.state == State::Closed && !inner.inbox.has_items();
        over.then(|| inner.closed_error())
    }
}
