//! The end of a session: what it was worth, and what follows.

use std::time::{Duration, Instant};

use super::{Action, Loss, Session, State, Traffic};
use crate::error::{Error, ErrorKind};

/// A token whose socket was open for so long had been accepted.
const ACCEPTED_AFTER: Duration = Duration::from_secs(10);
/// A session that ended in the regular way sooner than this, without an answer to anything, is not replaced at once: a
/// server that accepts and then closes would be dialled at full speed.
const SHORT_LIVED: Duration = Duration::from_secs(1);
/// The least time from the opening of a session to that of the next one, however well it ended, once
/// [`MAX_QUICK`] in a row had less: a server that answers whatever comes, and closes, would be dialled as often as there
/// is something to send.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The number of sessions in a row that may be as short as they like.
const MAX_QUICK: u32 = 10;

impl Session {
    /// Takes stock of a session that has ended.
    pub(super) fn settle(&mut self, now: Instant, traffic: Traffic) {
        let lived_for = self.lived_for(now);
        let stable = lived_for >= self.backoff.policy().stable_after;
        if traffic.answered || stable || lived_for >= ACCEPTED_AFTER {
            self.refused = false;
        }
        if traffic.answered || stable {
            self.backoff.start_over();
        }
    }

    pub(super) fn lived_for(&self, now: Instant) -> Duration {
        self.opened_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// Counts the sessions in a row that were of no use. Answers the error with which to give up.
    fn count_fruit(&mut self, is_fruitless: bool, last: &Error) -> Option<Error> {
        if !is_fruitless {
            self.backoff.fruitful();
            return None;
        }
        if self.backoff.fruitless() {
            return None;
        }
        let count = self.backoff.policy().max_fruitless.unwrap_or_default();
        let message = format!(
            "given up after {count} sessions in a row without a result (max_fruitless); the last one: {}",
            last.message
        );
        Some(last.clone().with_message(message))
    }

    /// A session that ended in another way than it should have.
    pub(super) fn count_loss(&mut self, now: Instant, traffic: Traffic, last: &Error) -> Option<Error> {
        let stable = self.lived_for(now) >= self.backoff.policy().stable_after;
        self.count_fruit(!traffic.received && !stable, last)
    }

    pub(super) fn refused_session(
        &mut self,
        now: Instant,
        jitter: f64,
        error: Error,
        traffic: Traffic,
    ) -> Vec<Action> {
        self.settle(now, traffic);
        match self.count_loss(now, traffic, &error) {
            Some(error) => self.finish(error),
            None => self.refuse(now, jitter, error),
        }
    }

    pub(super) fn lost(
        &mut self,
        now: Instant,
        jitter: f64,
        loss: Loss,
        unsent: bool,
        traffic: Traffic,
    ) -> Vec<Action> {
        if self.config.raw && !self.over {
            // 1005: a close frame without a code, which is what `close()` of many libraries sends.
            if matches!(loss, Loss::Close { code: 1000 | 1005, .. }) {
                self.state = State::Closed;
                return vec![Action::Finish(None)];
            }
            return self.reconnect(now, jitter, loss.into_error(), traffic);
        }
        match loss {
            _ if self.over => self.ended(now, jitter, unsent, traffic),
            Loss::Close { code: 1000, .. } => self.ended(now, jitter, unsent, traffic),
            Loss::Close { code: 1008, reason } => {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let message = format!("the server refused the session (close code 1008{why})");
                self.refused_session(now, jitter, Error::new(ErrorKind::Authentication, message), traffic)
            }
            loss => self.reconnect(now, jitter, loss.into_error(), traffic),
        }
    }

    /// A session was lost: open another, if the policy is to.
    fn reconnect(&mut self, now: Instant, jitter: f64, error: Error, traffic: Traffic) -> Vec<Action> {
        self.settle(now, traffic);
        let is_final = error.close().is_some_and(|(code, _)| self.config.finals.codes.contains(&code));
        if self.config.reconnect.is_none() || is_final {
            return self.finish(error);
        }
        match self.count_loss(now, traffic, &error) {
            Some(error) => self.finish(error),
            None => self.wait(now, jitter, error),
        }
    }

    /// A session has ended as sessions do. `unsent`: messages wait for the next one.
    fn ended(&mut self, now: Instant, jitter: f64, unsent: bool, traffic: Traffic) -> Vec<Action> {
        self.settle(now, traffic);
        let mut actions = Vec::new();
        if self.config.streaming {
            actions.push(Action::EndStream);
        }
        // Of no use though there was something to do. Whatever it said unasked counts for nothing.
        let is_fruitless = unsent && !traffic.wrote;
        if is_fruitless || traffic.received {
            let reason = "the server closes every session before it has taken a message";
            if let Some(error) = self.count_fruit(is_fruitless, &Error::closed(1006, reason)) {
                actions.extend(self.finish(error));
                return actions;
            }
        }
        let is_earned = traffic.answered || self.lived_for(now) >= SHORT_LIVED;
        self.quick = if self.lived_for(now) < MIN_INTERVAL { self.quick.saturating_add(1) } else { 0 };
        self.not_before = if !is_earned {
            now.checked_add(self.backoff.delay(jitter))
        } else if self.quick > MAX_QUICK {
            self.opened_at.and_then(|at| at.checked_add(MIN_INTERVAL))
        } else {
            None
        };
        if unsent {
            actions.extend(self.open_again(now));
        } else {
            self.state = State::Idle;
        }
        actions
    }
}
