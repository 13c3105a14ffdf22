//! What nobody was told of when a connection is dropped, or the process leaves.

use std::sync::atomic::Ordering;

use super::Base;
use crate::error::Error;

/// An error that nobody was told of, and why not.
pub(in crate::py) struct Untold {
    pub(in crate::py) error: Error,
    pub(in crate::py) why: String,
}

impl Base {
    /// The oldest of the errors that wait to be received, which stands for all of them; once.
    pub(in crate::py) fn take_untaken(&self) -> Option<Untold> {
        let (error, count) = self.net.waiting_errors()?;
        if self.reported.swap(true, Ordering::AcqRel) {
            return None;
        }
        let others = match count - 1 {
            0 => String::new(),
            1 => ", nor the error behind it".to_owned(),
            more => format!(", nor the {more} errors behind it"),
        };
        let why = format!("there is no on_error, and no call took it{others}");
        Some(Untold { error, why })
    }

    /// Why the connection is over, if nobody was told; once.
    pub(in crate::py) fn take_untold_end(&self) -> Option<Untold> {
        let error = self.net.untold_failure().filter(|_| !self.gives_reason())?;
        self.net.failure(); // from here on it is told
        let why = "it ended the connection, and nobody was told: there is no on_error, and no call that could raise it";
        Some(Untold { error, why: why.to_owned() })
    }
}
