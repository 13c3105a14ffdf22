//! An attempt has failed, or the credentials were refused: whether, and when, there is another.

use std::time::{Duration, Instant};

use super::{Action, Session, State};
use crate::error::{Error, ErrorKind};

impl Session {
    /// Waits as long as the back-off says; a server that named a time is not asked before it.
    pub(super) fn wait(&mut self, now: Instant, jitter: f64, error: Error) -> Vec<Action> {
        let mut delay = self.backoff.delay(jitter).max(error.retry_after().unwrap_or_default());
        if let Some(left) = self.time_left(now) {
            delay = delay.min(left);
        }
        self.last = Some(error.clone());
        self.state = State::Waiting;
        vec![Action::Wait { delay, reason: error }]
    }

    /// How long the first opening is still tried; `None` once there has been one.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        let since = self.opening_since.filter(|_| !self.established)?;
        Some(self.config.open_timeout.saturating_sub(now.saturating_duration_since(since)))
    }

    pub(super) fn is_too_late(&self, now: Instant) -> bool {
        self.time_left(now).is_some_and(|left| left.is_zero())
    }

    /// An attempt opened nothing: try again, if that may help and nobody would rather be told.
    pub(super) fn retry(&mut self, now: Instant, jitter: f64, error: Error) -> Vec<Action> {
        let another = self.backoff.failed();
        let first = !self.established;
        let would_rather_be_told = self.eager && !self.is_worth_waiting(now, &error);
        let told = first && (would_rather_be_told || self.is_too_late(now));
        if told || !another || self.config.reconnect.is_none() || self.is_final(&error) {
            // That the last of many attempts was cut short says less than why the others failed.
            let cut_short = error.kind == ErrorKind::Timeout && self.is_too_late(now);
            let error = self.last.take().filter(|_| cut_short).unwrap_or(error);
            return self.finish(error);
        }
        self.wait(now, jitter, error)
    }

    /// Whether the server has said when it can be asked again, and that is in time for whoever waits for the first
    /// opening.
    fn is_worth_waiting(&self, now: Instant, error: &Error) -> bool {
        error.retry_after().zip(self.time_left(now)).is_some_and(|(wait, left)| wait < left)
    }

    /// Whether trying again is of no use. What a network says (that there is no such host, say) may change as long as
    /// the address was good once.
    fn is_final(&self, error: &Error) -> bool {
        let first = !self.established;
        match error.kind {
            // A token provider that fails at the start will fail again; later on, it may just have a bad moment.
            ErrorKind::Authentication => first || !error.transient,
            ErrorKind::Handshake { status: Some(status) } => self.config.finals.has(status, error),
            ErrorKind::Api { status, .. } if status > 0 => self.config.finals.has(status, error),
            _ => first && !error.transient,
        }
    }

    /// The credentials were refused: once, try a fresh token.
    pub(super) fn refuse(&mut self, now: Instant, jitter: f64, error: Error) -> Vec<Action> {
        if self.config.use_token && !self.refused {
            self.refused = true;
            self.stale = true;
            return self.wait(now, jitter, error);
        }
        if let ErrorKind::Handshake { status: Some(status) } = error.kind
            && self.config.finals.statuses.is_some()
            && !self.config.finals.has(status, &error)
        {
            return self.retry(now, jitter, error);
        }
        self.finish(error.with_kind(ErrorKind::Authentication))
    }
}

pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind == ErrorKind::Authentication
        || matches!(error.kind, ErrorKind::Handshake { status: Some(401 | 403) })
}

pub(super) fn refused_in_band() -> Error {
    Error::new(
        ErrorKind::Authentication,
        "the server refused the credentials (Unauthorized); check that the key is valid and may use this app",
    )
}
