//! How long to wait before trying again.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// When and how often to reconnect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffPolicy {
    /// Upper bound of the first delay. Default 0.5 s.
    pub initial: Duration,
    /// Upper bound of every delay. Default 30 s.
    pub cap: Duration,
    /// What the bound is multiplied by after each attempt. Default 2.
    pub factor: f64,
    /// How long a connection must have been open for the delays to start over. Default 10 s.
    ///
    /// A successful handshake is not enough: a server that accepts and then drops would be dialled
    /// at full speed.
    pub stable_after: Duration,
    /// How many attempts in a row are made; `None`, the default, is without end.
    pub max_attempts: Option<u32>,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            factor: 2.0,
            stable_after: Duration::from_secs(10),
            max_attempts: None,
        }
    }
}

impl BackoffPolicy {
    /// Says which field is not acceptable, and what would be.
    pub fn validate(&self) -> Result<(), String> {
        if self.initial.is_zero() {
            return Err("the initial delay must be greater than 0 s".to_owned());
        }
        if self.cap < self.initial {
            return Err(format!(
                "the cap of the delay must not be below the initial delay ({:?}), got {:?}",
                self.initial, self.cap
            ));
        }
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(format!("the factor must be a number of at least 1, got {}", self.factor));
        }
        Ok(())
    }

    /// The upper bound of the delay after `attempts` attempts.
    fn bound(&self, attempts: u32) -> Duration {
        let exponent = i32::try_from(attempts).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        // Overflows to infinity after some thousand attempts: the cap, then.
        Duration::try_from_secs_f64(seconds).map_or(self.cap, |bound| bound.min(self.cap))
    }
}

/// Exponential back-off with full jitter: each delay is uniform between zero and a bound that grows.
///
/// Full jitter spreads a thousand connections that were lost together over the whole interval.
#[derive(Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    attempts: u32,
    opened_at: Option<Instant>,
}

impl Backoff {
    /// No attempt has been made yet.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, attempts: 0, opened_at: None }
    }

    /// The delay before the next attempt, which is thereby counted; `None` when the attempts are exhausted.
    /// `jitter` is a random number from 0 to 1.
    pub fn next(&mut self, jitter: f64) -> Option<Duration> {
        if self.policy.max_attempts.is_some_and(|max| self.attempts >= max) {
            return None;
        }
        let delay = scale(self.policy.bound(self.attempts), unit(jitter));
        self.attempts = self.attempts.saturating_add(1);
        Some(delay)
    }

    /// The connection is open.
    pub fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }

    /// The connection, if it was open, no longer is. The attempts start over if it had been stable.
    pub fn lost(&mut self, now: Instant) {
        if let Some(opened_at) = self.opened_at.take()
            && now.saturating_duration_since(opened_at) >= self.policy.stable_after
        {
            self.attempts = 0;
        }
    }

    /// How many attempts were made since the last stable connection.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// A duration around `base`: uniform within plus and minus `fraction` of it, for a `jitter` from 0 to 1.
pub fn spread(base: Duration, fraction: f64, jitter: f64) -> Duration {
    scale(base, 1.0 + unit(fraction) * (2.0 * unit(jitter) - 1.0))
}

/// The number brought into 0..=1; what is no number becomes 1, the longest wait.
fn unit(number: f64) -> f64 {
    if number.is_nan() { 1.0 } else { number.clamp(0.0, 1.0) }
}

fn scale(duration: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * by).unwrap_or(Duration::MAX)
}
