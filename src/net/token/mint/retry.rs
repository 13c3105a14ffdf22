//! When a token request is tried again.

use std::{io, time::Duration};

use crate::error::{Error, ErrorKind};

/// The policy of retries: how often and after what delays a token request is tried again: after 429, 500, 502, 503, 504
/// and transport errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts follow the first one; at most one where nobody listens. Default 3.
    pub retries: u32,
    /// The delay before the first of them; each next one is twice as long. Default 1 s.
    pub base: Duration,
    /// The longest delay. Default 30 s.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 3, base: Duration::from_secs(1), cap: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// The delay before retry number `retry` (from 0), with `jitter` in -1..=1 moving it by up to 25 %.
    pub(super) fn delay(&self, retry: u32, jitter: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(retry)).min(self.cap);
        doubled.mul_f64(1.0 + 0.25 * jitter.clamp(-1.0, 1.0))
    }
}

/// How long a request waits by itself, at most, where the endpoint says how long it wants to be left alone. Of more than
/// that whoever asked is told, with the time: he may not want to wait so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn is_retried(error: &Error) -> bool {
    match error.kind {
        ErrorKind::Api { status: 0, .. } => error.transient,
        ErrorKind::Api { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

/// Whether the machine said at once that nothing listens there. Whoever waits is told soon; an opening that nobody
/// waits for has a back-off of its own.
pub(super) fn nobody_listens(error: &Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
