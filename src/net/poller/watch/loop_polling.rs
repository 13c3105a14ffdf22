//! A loop is polled: whether it comes, and whether reading beside it gets more through.

use std::time::{Duration, Instant};

use super::{FORCED_CHANGE_INTERVAL, Watch};
use crate::{
    core::{trial::Advice, watchdog::Verdict},
    net::{
        counters,
        poller::{DrivenBy, When},
        schedule,
    },
};

/// The time over which the load is measured: what happens in less says little about it.
pub(super) const LOAD_WINDOW: Duration = Duration::from_millis(25);

impl Watch<'_> {
    pub(super) fn poll_loop(&mut self, now: Instant) {
        if schedule::alternates() {
            return self.change_hands(now + FORCED_CHANGE_INTERVAL);
        }
        counters::LOOP_POLLS.add();
        let turns = self.turns();
        self.weigh(now);
        if self.poller.driven_by() != DrivenBy::Loop {
            self.dog.away(now, turns);
            return;
        }
        match self.dog.poll(now, turns, self.poller.sockets.is_ready()) {
            Verdict::Fine => {}
            Verdict::Stuck => {
                counters::TAKEN_OVER.add();
                self.poller.hand_over(DrivenBy::IoThread, When::Readable);
                self.read();
            }
            Verdict::Park => {
                let mut armed = self.poller.armed.lock();
                if self.poller.driven_by() == DrivenBy::Loop {
                    self.poller.arm(&mut armed, When::ReadableOnce);
                }
            }
        }
    }

    /// Finds out whether the I/O thread should read and write beside the loop.
    pub(super) fn weigh(&mut self, now: Instant) {
        if self.last_sample.is_some_and(|last| now < last + LOAD_WINDOW) {
            return;
        }
        self.last_sample = Some(now);
        let Some(sample) =
            self.poller.load.sample(now).filter(|_| self.poller.driven_by() != DrivenBy::IoThread)
        else {
            self.trial.interrupt();
            return;
        };
        match self.trial.sample(sample) {
            Advice::Unchanged => {}
            Advice::Both => self.poller.hand_over(DrivenBy::Both, When::Readable),
            Advice::Loop => self.poller.hand_over(DrivenBy::Loop, When::Off),
        }
    }

    /// For tests: the I/O thread takes over though the loop is well, or gives back though it does not come.
    fn change_hands(&mut self, next: Instant) {
        if self.poller.driven_by() == DrivenBy::Loop {
            counters::TAKEN_OVER.add();
            let driver = if self.turns().is_multiple_of(2) { DrivenBy::IoThread } else { DrivenBy::Both };
            self.poller.hand_over(driver, When::Readable);
            self.read();
        } else {
            self.poller.hand_over(DrivenBy::Loop, When::Off);
        }
        self.dog.poll_at(next);
    }
}
