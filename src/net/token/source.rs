//! The source of tokens, which the default mint and token providers are.

use std::{future::Future, pin::Pin, time::Duration};

use crate::error::{Error, Result};

/// The source of tokens: the default mint, or a caller's token provider.
pub trait TokenSource: Send + Sync {
    /// Fetches a fresh token. Dropping the future cancels the fetch.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>>;

    /// How long after its arrival a token expires; `None`: never, and it is not refreshed.
    fn expiration(&self) -> Option<Duration>;

    /// Why the newest attempt of a fetch that goes on failed, or what it waits for.
    fn last_failure(&self) -> Option<Error> {
        None
    }
}
