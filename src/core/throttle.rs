//! Rate limiting of a stream of inputs of which only the newest matters.
//!
//! The leading call passes at once, the trailing call always comes out, and in between the latest wins.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fal_realtime::core::throttle::{Offer, Throttle};
//!
//! let (start, interval) = (Instant::now(), Duration::from_millis(128));
//! let mut throttle = Throttle::new(interval);
//! assert_eq!(throttle.offer(start, "first"), Offer::Pass("first"));
//! assert_eq!(throttle.offer(start, "second"), Offer::Held);
//! assert_eq!(throttle.offer(start, "third"), Offer::Replaced("second"));
//! assert_eq!(throttle.due(start), None);
//! assert_eq!(throttle.due(start + interval), Some("third"));
//! ```

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The outcome for an offered item.
#[must_use = "an item that passes must be moved on, one that is replaced must be counted"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer<T> {
    /// Move it on now.
    Pass(T),
    /// It waits until [`Throttle::deadline`].
    Held,
    /// It waits in the place of this older one, which is thereby coalesced.
    Replaced(T),
}

/// Lets an item pass at most once an interval and holds the latest of the others.
///
/// The deadline does not move when a newer item takes the slot: a steady stream can't starve itself.
#[derive(Debug)]
pub struct Throttle<T> {
    interval: Duration,
    last_pass: Option<Instant>,
    slot: Option<T>,
}

impl<T> Throttle<T> {
    /// A century: long enough for "never", short enough to be added to any [`Instant`].
    const MAX_INTERVAL: Duration = Duration::from_secs(100 * 365 * 86_400);

    /// A throttle that has let nothing pass yet. An interval of zero turns it off: everything passes.
    pub fn new(interval: Duration) -> Self {
        Self { interval: interval.min(Self::MAX_INTERVAL), last_pass: None, slot: None }
    }

    /// Offers an item: it passes if nothing is held and the last pass is an interval ago.
    pub fn offer(&mut self, now: Instant, item: T) -> Offer<T> {
        if let Some(older) = self.slot.take() {
            // Even when the older one is due: nobody took it, so the latest wins and is due instead.
            self.slot = Some(item);
            return Offer::Replaced(older);
        }
        if self.interval_over(now) {
            self.last_pass = Some(now);
            return Offer::Pass(item);
        }
        self.slot = Some(item);
        Offer::Held
    }

    /// Holds an item whatever the time is; nothing can be moved on.
    pub fn hold(&mut self, item: T) -> Offer<T> {
        self.slot.replace(item).map_or(Offer::Held, Offer::Replaced)
    }

    /// Whether everything passes.
    pub fn is_off(&self) -> bool {
        self.interval.is_zero()
    }

    /// Takes the held item if its time has come, and counts that as a pass at `now`.
    pub fn due(&mut self, now: Instant) -> Option<T> {
        if !self.peek_due(now) {
            return None;
        }
        self.last_pass = Some(now);
        self.slot.take()
    }

    /// The held item.
    pub fn peek(&self) -> Option<&T> {
        self.slot.as_ref()
    }

    /// Takes the held item before its time, and counts that as a pass at `now`.
    pub fn release(&mut self, now: Instant) -> Option<T> {
        let item = self.slot.take()?;
        self.last_pass = Some(now);
        Some(item)
    }

    /// Whether [`due`](Self::due) would give an item.
    pub fn peek_due(&self, now: Instant) -> bool {
        self.slot.is_some() && self.interval_over(now)
    }

    /// When the held item may pass; `None` when nothing is held.
    pub fn deadline(&self) -> Option<Instant> {
        self.slot.as_ref()?;
        self.last_pass.map(|last| last + self.interval)
    }

    /// Gives the held item up.
    pub fn cancel(&mut self) -> Option<T> {
        self.slot.take()
    }

    /// Whether an item is held.
    pub fn held(&self) -> bool {
        self.slot.is_some()
    }

    /// Puts back an item that passed but couldn't move on; its next chance comes an interval after that pass.
    ///
    /// If a newer one is held by now, that one stays and the restored one comes back: it is coalesced.
    #[must_use = "an item that is given back is coalesced and must be counted"]
    pub fn restore(&mut self, item: T) -> Option<T> {
        if self.slot.is_some() {
            return Some(item);
        }
        self.slot = Some(item);
        None
    }

    fn interval_over(&self, now: Instant) -> bool {
        self.last_pass.is_none_or(|last| now.saturating_duration_since(last) >= self.interval)
    }
}
