//! The end of a connection: why it is over, and who has been told.

use super::Connection;
use crate::error::{Error, ErrorKind};

impl Connection {
    /// Why the connection is over, for somebody who is told; `None` while it is not, or when that is no failure.
    pub fn failure(&self) -> Option<Error> {
        self.shared.lock().boxes.tell_failure()
    }

    /// The error for somebody who wants something of a connection that is over, or being closed.
    pub fn closed_error(&self) -> Error {
        self.shared.lock().boxes.closed_error()
    }

    /// Whether the end that a receiver is told of is an ordinary one.
    pub fn is_normal_end(&self, error: &Error) -> bool {
        matches!(error.kind, ErrorKind::Closed { code, .. } if self.is_normal_code(code))
    }

    /// Whether an end with this code is an ordinary one: the caller's own, or that of a server that closed normally.
    pub fn is_normal_code(&self, code: u16) -> bool {
        self.shared.lock().boxes.is_normal_code(code)
    }

    /// Why the connection is over, if nobody was told.
    pub fn untold_failure(&self) -> Option<Error> {
        self.shared.lock().boxes.untold_failure()
    }

    /// The oldest error that waits between the results to be taken, and how many do.
    pub fn waiting_errors(&self) -> Option<(Error, usize)> {
        let inner = self.shared.lock();
        inner.boxes.inbox.waiting_errors().map(|(error, count)| (error.clone(), count))
    }

    /// Notes that an error that came between the results was raised. One that ended the session may be why the
    /// connection ends: then that is told, too.
    pub fn has_raised(&self, error: &Error) {
        self.shared.lock().boxes.has_raised(error);
    }

    /// The error for a receiver when the connection is over and everything was taken.
    pub fn end(&self) -> Option<Error> {
        self.shared.lock().boxes.end()
    }
}
