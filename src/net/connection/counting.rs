//! The totals that a connection is counted in, until it is gone and beyond.

use std::sync::Arc;

use super::Connection;
use crate::{
    core::{session::State, stats::Stats},
    net::{
        process,
        totals::{Counted, Totals},
    },
};

impl Connection {
    /// Counts it in these totals, below `app`: what it has counted so far, and from now on its durations.
    pub fn count_in(self: &Arc<Self>, totals: &Arc<Totals>, app: &str) {
        if self.process == process::number() {
            let itself: Arc<dyn Counted> = self.clone();
            let membership = Totals::current(totals).add(app, &itself);
            self.shared.lock().joined(membership);
        }
    }

    /// Notes that the caller has it no longer; its driver may for a while.
    pub fn let_go(&self) {
        if self.process == process::number() {
            self.shared.lock().is_let_go = true;
        }
    }
}

impl Counted for Connection {
    fn counted(&self) -> (Option<State>, Stats) {
        let inner = self.shared.lock();
        if inner.is_let_go {
            (None, inner.boxes.stats().of_let_go())
        } else {
            (Some(inner.boxes.state()), inner.boxes.stats())
        }
    }
}

impl Drop for Connection {
    /// The counts of a connection that is gone stay in the totals. A forked child leaves those of its parent alone.
    fn drop(&mut self) {
        if self.process != process::number() {
            return;
        }
        let mut inner = self.shared.lock();
        let (memberships, stats) = (inner.leave(), inner.boxes.stats());
        drop(inner);
        for membership in memberships {
            membership.end(&stats);
        }
    }
}
