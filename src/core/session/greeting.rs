//! The opening of a session in which the caller sends before all others.
//!
//! ```text
//!   connecting -- Opened --> connecting (Greet) -- Greeted --> active
//!                             |-- GreetFailed, or the socket is gone: an attempt that opened nothing, and a session that
//!                             |   was of no use
//! ```

use std::time::Instant;

use super::{Action, Loss, Session, State, Traffic};
use crate::error::Error;

impl Session {
    /// The socket is open, and the caller has not sent yet what he wants to send first.
    pub fn is_greeting(&self) -> bool {
        self.is_greeting && self.state == State::Connecting
    }

    /// A socket is open.
    pub(super) fn opened(&mut self, now: Instant) -> Vec<Action> {
        self.over = false;
        self.is_given_up = false;
        self.opened_at = Some(now);
        self.last = None;
        self.backoff.opened();
        if self.config.greets {
            self.is_greeting = true;
            return vec![Action::Greet { socket: self.socket }];
        }
        self.activate(now)
    }

    /// Messages flow.
    pub(super) fn activate(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Active;
        self.is_greeting = false;
        self.established = true;
        self.eager = false;
        self.used.begin(now);
        Vec::new()
    }

    /// What the caller wanted to send first could not be sent, or not in time.
    pub(super) fn greet_failed(
        &mut self,
        now: Instant,
        jitter: f64,
        error: Error,
        traffic: Traffic,
    ) -> Vec<Action> {
        let mut actions = vec![Action::Abandon];
        actions.extend(self.opened_nothing(now, jitter, error, traffic));
        actions
    }

    /// The socket is gone before that.
    pub(super) fn lost_in_greeting(
        &mut self,
        now: Instant,
        jitter: f64,
        loss: Loss,
        unsent: bool,
        traffic: Traffic,
    ) -> Vec<Action> {
        let is_refusal = matches!(loss, Loss::Close { code: 1008, .. }) && !self.config.raw && !self.over;
        if self.established || is_refusal {
            self.is_greeting = false;
            return self.lost(now, jitter, loss, unsent, traffic);
        }
        // Whoever waits for the first opening is told of its end.
        self.opened_nothing(now, jitter, loss.into_error().transient(), traffic)
    }

    /// An attempt of which somebody pays the session, and which opened nothing.
    fn opened_nothing(&mut self, now: Instant, jitter: f64, error: Error, traffic: Traffic) -> Vec<Action> {
        self.is_greeting = false;
        self.settle(now, traffic);
        if error.close().is_some_and(|(code, _)| self.config.finals.codes.contains(&code)) {
            return self.finish(error);
        }
        match self.count_loss(now, traffic, &error) {
            Some(error) => self.finish(error),
            None => self.retry(now, jitter, error),
        }
    }
}
