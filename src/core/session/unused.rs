//! The end of a session that costs and is not used.
//!
//! ```text
//!   active -- Polled: too old, or quiet for too long --> EndWhenUnused -- Unused --> SendClose -- Lost --> idle
//! ```
//!
//! How long it has been quiet is found out by polling now and then, so that no message costs anything.

use std::time::{Duration, Instant};

use super::{Action, Session, State};

/// A quiet session is polled so often within the time after which it is ended.
const POLLS_IN_IDLE_TIME: u32 = 4;
/// The least time between polls of a quiet session.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The use of the newest session, as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Use {
    moved: u64,
    /// Nothing has passed since.
    quiet_since: Option<Instant>,
    polled_at: Option<Instant>,
    /// It will end when it is unused.
    is_too_old: bool,
}

impl Use {
    /// A session begins.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self { quiet_since: Some(now), polled_at: Some(now), ..Self::default() };
    }
}

impl Session {
    /// When [`Input::Polled`](super::Input::Polled) is to be given; `None` while it would say nothing.
    pub fn poll_at(&self) -> Option<Instant> {
        if self.state != State::Active || self.over {
            return None;
        }
        let too_old = self.config.max_session.filter(|_| !self.used.is_too_old);
        let too_old = too_old.and_then(|limit| self.opened_at?.checked_add(limit));
        let quiet = self.config.idle_close.map(|limit| (limit / POLLS_IN_IDLE_TIME).max(MIN_POLL_INTERVAL));
        let quiet = quiet.and_then(|wait| self.used.polled_at?.checked_add(wait));
        [too_old, quiet].into_iter().flatten().min()
    }

    pub(super) fn polled(&mut self, now: Instant, moved: u64, is_used: bool) -> Vec<Action> {
        if self.over {
            return Vec::new();
        }
        self.used.polled_at = Some(now);
        if !self.used.is_too_old && self.config.max_session.is_some_and(|limit| self.lived_for(now) >= limit)
        {
            self.used.is_too_old = true;
            return vec![Action::EndWhenUnused { later: true }];
        }
        let Some(limit) = self.config.idle_close else { return Vec::new() };
        let since = self.used.quiet_since.filter(|_| !is_used && moved == self.used.moved);
        self.used.moved = moved;
        let since = *self.used.quiet_since.insert(since.unwrap_or(now));
        // Once it is too old, that moment will come by itself.
        if self.used.is_too_old || now.saturating_duration_since(since) < limit {
            return Vec::new();
        }
        // Should it be used again by then, it has not been quiet.
        self.used.quiet_since = Some(now);
        vec![Action::EndWhenUnused { later: false }]
    }

    /// Nothing is under way, and nothing more is written: as if the server had said that its session is over.
    pub(super) fn unused(&mut self) -> Vec<Action> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        self.is_given_up = true;
        vec![Action::SendClose]
    }
}
