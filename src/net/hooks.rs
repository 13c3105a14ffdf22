//! The hooks of an opening: what the caller wants to be asked in its course.

use std::{fmt, future::Future, pin::Pin};

use http::{HeaderName, HeaderValue};

use crate::{
    core::token::Token,
    error::{Error, Result},
};

/// An answer that will come.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// An attempt to open a socket that is about to be made.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// 1 for the first one since the connection was last open.
    pub number: u64,
    /// Why the one before, or the last session, failed.
    pub last: Option<Error>,
}

/// The changes that an attempt is to make. All of it may be secret.
#[derive(Default)]
pub struct Changes {
    /// The headers of the caller's own.
    pub headers: Option<Vec<(HeaderName, HeaderValue)>>,
    /// The parameters of the caller's own.
    pub query: Option<Vec<(String, String)>>,
    /// The token, in the place of one that would be fetched.
    pub token: Option<Token>,
    /// The connection is to end, for this reason.
    pub stop: Option<String>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// The caller's hooks.
pub trait Hooks: Send + Sync {
    /// Asks before an attempt is made; `None`: there is nobody to ask. Dropping the future cancels the hook.
    fn before_attempt(&self, attempt: Attempt) -> Option<Asked<Changes>>;

    /// Lets the caller send on a socket that has just opened, before all others; `None`: he has nothing to send. Fails
    /// only where the hook could not be called.
    fn on_open(&self, socket: u64) -> Option<Asked<()>>;
}
