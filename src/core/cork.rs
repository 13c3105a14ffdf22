//! Messages that follow each other at once wait for each other, so that they leave together: with small ones it is the
//! system call that costs, on both ends of the connection.
//!
//! Named after TCP's `TCP_CORK`. What waits leaves when there is enough of it, when whoever sends stops or takes
//! longer, and after [`MAX_CORK_TIME`] in any case.

use std::time::{Duration, Instant};

/// From this many messages on nothing waits for more. Fewer make more system calls, more leave the other end idle:
/// decision 6 has the measurement.
const COALESCE_MESSAGES: usize = 12;
/// From this many bytes on nothing waits for more.
const COALESCE_BYTES: usize = 16 << 10;
/// The longest gap between messages that wait for each other.
const COALESCE_WINDOW: Duration = Duration::from_micros(15);
/// The longest time that a message waits. Timers count milliseconds, so that it may be twice as long.
pub const MAX_CORK_TIME: Duration = Duration::from_millis(1);

/// Says whether the messages in a queue wait for more.
#[derive(Debug, Default)]
pub struct Cork {
    /// When it was put in; `None` while it is out.
    since: Option<Instant>,
    /// What waits.
    messages: usize,
    bytes: usize,
    /// When the last message was queued.
    last: Option<Instant>,
}

impl Cork {
    /// A message was queued, `first` of all that are. `more`: others will follow at once, or the cork will be pulled.
    pub fn queued(&mut self, now: Instant, bytes: usize, first: bool, more: bool) {
        let last = self.last.replace(now);
        let follows = last.is_some_and(|last| now.saturating_duration_since(last) <= COALESCE_WINDOW);
        if !(more && follows) {
            self.since = None;
            return;
        }
        if first {
            self.since = Some(now);
            self.messages = 0;
            self.bytes = 0;
        }
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.messages >= COALESCE_MESSAGES || self.bytes >= COALESCE_BYTES {
            self.since = None;
        }
    }

    /// Nothing waits any longer.
    pub fn pull(&mut self) {
        self.since = None;
    }

    /// Until when what is queued waits, unless more comes or the cork is pulled; `None`: it does not.
    pub fn until(&self) -> Option<Instant> {
        self.since.map(|since| since + MAX_CORK_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT_GAP: Duration = Duration::from_micros(1);

    /// Queues messages of `bytes` one after the other, `apart` from each other, behind one that has left already.
    fn burst(count: usize, bytes: usize, apart: Duration, more: bool) -> (Cork, Instant) {
        let (mut cork, mut now) = (Cork::default(), Instant::now());
        cork.queued(now, bytes, true, more);
        for number in 0..count {
            now += apart;
            cork.queued(now, bytes, number == 0, more);
        }
        (cork, now)
    }

    #[test]
    fn a_message_alone_does_not_wait() {
        let (cork, _) = burst(0, 100, SHORT_GAP, true);
        assert_eq!(cork.until(), None);
    }

    #[test]
    fn what_waits_and_what_does_not() {
        for (count, bytes, apart, more, waits) in [
            (1, 100, SHORT_GAP, true, true),
            (COALESCE_MESSAGES - 1, 100, SHORT_GAP, true, true),
            (COALESCE_MESSAGES, 100, SHORT_GAP, true, false),
            (1, COALESCE_BYTES - 1, SHORT_GAP, true, true),
            (1, COALESCE_BYTES, SHORT_GAP, true, false),
            (3, COALESCE_BYTES / 3, SHORT_GAP, true, true),
            (4, COALESCE_BYTES / 3, SHORT_GAP, true, false),
            (2, 100, COALESCE_WINDOW, true, true),
            (2, 100, COALESCE_WINDOW + SHORT_GAP, true, false),
            (2, 100, SHORT_GAP, false, false),
        ] {
            let (cork, _) = burst(count, bytes, apart, more);
            assert_eq!(cork.until().is_some(), waits, "{count} of {bytes}, {apart:?} apart, more: {more}");
        }
    }

    #[test]
    fn a_sender_that_takes_longer_sends_what_waits() {
        let (mut cork, now) = burst(2, 100, SHORT_GAP, true);
        cork.queued(now + COALESCE_WINDOW * 2, 100, false, true);
        assert_eq!(cork.until(), None);
    }

    #[test]
    fn behind_one_that_does_not_wait_none_does() {
        let (mut cork, now) = burst(0, 100, SHORT_GAP, true);
        cork.queued(now + SHORT_GAP, 100, false, true);
        assert_eq!(cork.until(), None);
    }

    #[test]
    fn patience_counts_from_the_first_that_waits() {
        let (cork, last) = burst(3, 100, SHORT_GAP, true);
        assert_eq!(cork.until().map(|until| until + SHORT_GAP * 2), Some(last + MAX_CORK_TIME));
    }

    #[test]
    fn a_pulled_cork_stays_out_until_the_queue_begins_anew() {
        let (mut cork, now) = burst(2, 100, SHORT_GAP, true);
        cork.pull();
        cork.queued(now + SHORT_GAP, 100, false, true);
        assert_eq!(cork.until(), None);
        cork.queued(now + SHORT_GAP * 2, 100, true, true);
        assert!(cork.until().is_some());
    }
}
