//! The watchdog of an event loop: whether it comes to read its sockets, found out by polling now and then.
//!
//! ```text
//!            woken: there is something to read          poll: a turn was begun, or nothing is readable
//!   parked ------------------------------------> suspicious ------------------------------> content
//!     ^                                            |   ^  poll: readable, turns as before     |  |
//!     |                                            |   +--------------------------------------+  |
//!     |                                            | poll: readable and no turn since            |
//!     |                                            v                                             |
//!     |                                         the loop is stuck: take over                     |
//!     +------------------------------------------------------------------------------------------+
//!                                  poll: nothing is readable, no turn was begun
//! ```
//!
//! Takes the time, how many turns the loop has begun and whether something is readable; says when to poll next. A poll
//! is a wake of a thread, tens of microseconds on a virtual machine: while all is well there are few.

use std::time::{Duration, Instant};

/// The time after which a loop that has not come to what is readable is stuck, or so busy that it is as good as stuck.
pub const SUSPICION_DELAY: Duration = Duration::from_millis(5);
/// The time between polls while the loop is well. With [`SUSPICION_DELAY`] this is the longest that something may have
/// to wait for.
pub const POLL_INTERVAL: Duration = Duration::from_millis(45);
/// The time between polls while another thread than the loop's reads: the loop may have come back.
pub const AWAY_POLL_INTERVAL: Duration = Duration::from_millis(30);

/// The verdict on a loop that a poll comes to.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The loop is well, or not yet known not to be.
    Fine,
    /// Nothing happens: sleep until something is readable, then say [`Watchdog::woken`].
    Park,
    /// The loop does not come.
    Stuck,
}

/// Watches one event loop.
#[derive(Debug, Default)]
pub struct Watchdog {
    next_poll: Option<Instant>,
    /// The turns that the loop had begun at the last poll.
    turns: u64,
    /// Something was readable at the last poll.
    suspicious: bool,
}

impl Watchdog {
    /// When to poll next; `None` while it is parked.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_poll
    }

    /// Something is readable while it was parked.
    pub fn woken(&mut self, now: Instant, turns: u64) {
        self.suspicious = true;
        self.turns = turns;
        self.next_poll = Some(now + SUSPICION_DELAY);
    }

    /// Polls then, whatever is known of the loop.
    pub fn poll_at(&mut self, next: Instant) {
        self.next_poll = Some(next);
    }

    /// Another thread reads, or has just begun to: it is to be polled whether the loop has come back.
    pub fn away(&mut self, now: Instant, turns: u64) {
        self.suspicious = false;
        self.turns = turns;
        self.next_poll = Some(now + AWAY_POLL_INTERVAL);
    }

    /// Polls the loop, `readable` saying whether something waits to be read.
    pub fn poll(&mut self, now: Instant, turns: u64, readable: bool) -> Verdict {
        let came = turns != std::mem::replace(&mut self.turns, turns);
        let was_suspicious = std::mem::replace(&mut self.suspicious, readable);
        if readable {
            if was_suspicious && !came {
                self.next_poll = Some(now + AWAY_POLL_INTERVAL);
                return Verdict::Stuck;
            }
            // A busy loop looks like this, too: after one that has come, the next poll has time.
            self.next_poll = Some(now + if was_suspicious { POLL_INTERVAL } else { SUSPICION_DELAY });
            self.suspicious = !was_suspicious;
            return Verdict::Fine;
        }
        if !came {
            self.next_poll = None;
            return Verdict::Park;
        }
        self.next_poll = Some(now + POLL_INTERVAL);
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_loop_that_does_not_come_is_found_out_at_the_second_poll() {
        let (mut dog, now) = (Watchdog::default(), Instant::now());
        assert_eq!(dog.deadline(), None, "parked");
        dog.woken(now, 7);
        assert_eq!(dog.deadline(), Some(now + SUSPICION_DELAY));
        assert_eq!(dog.poll(now + SUSPICION_DELAY, 7, true), Verdict::Stuck);
    }

    #[test]
    fn a_loop_that_comes_is_polled_seldom_and_left_alone_when_nothing_happens() {
        let (mut dog, mut now) = (Watchdog::default(), Instant::now());
        dog.woken(now, 0);
        now += SUSPICION_DELAY;
        assert_eq!(dog.poll(now, 1, false), Verdict::Fine);
        assert_eq!(dog.deadline(), Some(now + POLL_INTERVAL));
        now += POLL_INTERVAL;
        assert_eq!(dog.poll(now, 1, false), Verdict::Park);
        assert_eq!(dog.deadline(), None);
    }

    proptest! {
        /// Whatever a loop did before: if it does not come from some moment on and something is readable, that is found
        /// out within the time that is promised. A loop that comes between two polls is never called stuck.
        #[test]
        fn a_stuck_loop_is_found_out_in_time_and_a_running_one_never(
            history in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..20)
        ) {
            let (mut dog, mut now, mut turns) = (Watchdog::default(), Instant::now(), 0);
            dog.woken(now, turns);
            for (comes, readable) in history {
                let Some(next) = dog.deadline() else { dog.woken(now, turns); continue };
                now = next;
                turns += u64::from(comes);
                let verdict = dog.poll(now, turns, readable);
                prop_assert!(!comes || verdict != Verdict::Stuck);
                if verdict == Verdict::Stuck {
                    dog.away(now, turns);
                }
            }
            let since = now;
            if dog.deadline().is_none() {
                dog.woken(now, turns);
            }
            loop {
                now = dog.deadline().expect("it watches");
                prop_assert!(now - since <= POLL_INTERVAL + 2 * SUSPICION_DELAY, "{:?}", now - since);
                if dog.poll(now, turns, true) == Verdict::Stuck {
                    break;
                }
            }
        }
    }
}
