//! What a connection has counted, and where its durations are counted with those of others.

use std::time::Duration;

use super::SharedState;
use crate::{
    core::{histogram::Histogram, stats::Stats},
    net::totals::{Latencies, Membership},
};

impl SharedState {
    /// The counters, at one instant.
    pub(in crate::net) fn stats(&self) -> Stats {
        let mut stats = Stats {
            reconnects: self.reconnects,
            openings: self.openings,
            opening_failures: self.opening_failures,
            ..Stats::default()
        };
        self.outbox.report(&mut stats);
        self.inbox.report(&mut stats);
        stats
    }

    /// Counts a duration in one of the histograms of each of the totals that it belongs to.
    pub(in crate::net) fn record(&self, which: impl Fn(&Latencies) -> &Histogram, duration: Duration) {
        for membership in &self.memberships {
            which(membership.latencies()).record(duration);
        }
    }

    pub(in crate::net) fn joined(&mut self, membership: Membership) {
        self.memberships.push(membership);
    }

    /// It is counted nowhere any more. What it was counted in.
    pub(in crate::net) fn leave(&mut self) -> Vec<Membership> {
        std::mem::take(&mut self.memberships)
    }
}
