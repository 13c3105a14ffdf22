//! Back-off: how long to wait before trying again, and when to stop trying.
//!
//! ```
//! use std::time::Duration;
//! use fal_realtime::core::backoff::{Backoff, BackoffPolicy};
//!
//! let mut backoff = Backoff::new(BackoffPolicy { max_attempts: Some(2), ..BackoffPolicy::default() });
//! // With the greatest jitter a delay is the bound itself: 0.5 s, and twice that the next time.
//! assert_eq!(backoff.delay(1.0), Duration::from_millis(500));
//! assert_eq!(backoff.delay(1.0), Duration::from_secs(1));
//! assert_eq!(backoff.delay(0.0), Duration::ZERO);
//! assert!(backoff.failed(), "there may be a second attempt");
//! assert!(!backoff.failed(), "and no third one");
//! ```

use std::time::Duration;

#[cfg(test)]
mod tests;

/// The policy of reconnecting: when, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct BackoffPolicy {
    /// Upper bound of the first delay. Default 0.5 s.
    pub initial: Duration,
    /// Upper bound of every delay. Default 30 s.
    pub cap: Duration,
    /// What the bound is multiplied by after each attempt. Default 2.
    pub factor: f64,
    /// How long a session must have lived to count as good whatever it brought. Default 60 s.
    ///
    /// A successful handshake is not enough: a server that accepts and then drops would be dialled
    /// at full speed.
    pub stable_after: Duration,
    /// How many attempts in a row may open nothing; `None`, the default, is without end.
    pub max_attempts: Option<u32>,
    /// How many sessions in a row may be fruitless, see [`Backoff::fruitless`]. Default 5; `None` is without end.
    pub max_fruitless: Option<u32>,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            factor: 2.0,
            stable_after: Duration::from_secs(60),
            max_attempts: None,
            max_fruitless: Some(5),
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

    /// The upper bound of the delay after `delays` delays.
    pub fn bound(&self, delays: u32) -> Duration {
        let exponent = i32::try_from(delays).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        // Overflows to infinity after some thousand attempts: the cap, then.
        Duration::try_from_secs_f64(seconds).map_or(self.cap, |bound| bound.min(self.cap))
    }
}

/// Exponential back-off with full jitter: each delay is uniform between zero and a bound that grows.
///
/// Full jitter spreads a thousand connections that were lost together over the whole interval. Beside the delays it
/// counts what is limited: attempts in a row that opened nothing, and sessions in a row that brought nothing.
#[derive(Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    delays: u32,
    failed: u32,
    fruitless: u32,
}

impl Backoff {
    /// Nothing has been tried yet.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, delays: 0, failed: 0, fruitless: 0 }
    }

    /// The policy.
    pub fn policy(&self) -> &BackoffPolicy {
        &self.policy
    }

    /// The delay before the next attempt, which is thereby counted. `jitter` is a random number from 0 to 1.
    pub fn delay(&mut self, jitter: f64) -> Duration {
        let delay = scale(self.policy.bound(self.delays), unit(jitter));
        self.delays = self.delays.saturating_add(1);
        delay
    }

    /// The delays start over: a session was of use, or lived for long.
    pub fn start_over(&mut self) {
        self.delays = 0;
    }

    /// How many delays there were since they last started over.
    pub fn delays(&self) -> u32 {
        self.delays
    }

    /// An attempt opened a session.
    pub fn opened(&mut self) {
        self.failed = 0;
    }

    /// An attempt opened nothing. Answers whether another one may be made.
    pub fn failed(&mut self) -> bool {
        self.failed = self.failed.saturating_add(1);
        self.policy.max_attempts.is_none_or(|max| self.failed < max)
    }

    /// A session brought nothing, though it was not meant to end. Answers whether another one may be opened: somebody
    /// pays for each of them.
    pub fn fruitless(&mut self) -> bool {
        self.fruitless = self.fruitless.saturating_add(1);
        self.policy.max_fruitless.is_none_or(|max| self.fruitless < max)
    }

    /// A session brought something.
    pub fn fruitful(&mut self) {
        self.fruitless = 0;
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
