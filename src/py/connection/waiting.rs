//! Who waits for what, and what the network layer is told of it.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use pyo3::prelude::*;

use super::Connection;
use crate::{
    core::{message::RequestKey, session::State},
    net::handle::Interest,
    py::{
        decoding::Decoding,
        line::{Crowd, Line},
    },
};

/// Who waits for what. Never locked while Python code runs.
pub(in crate::py) struct Waiting {
    pub(in crate::py) receivers: Line,
    pub(in crate::py) senders: Line,
    pub(in crate::py) requests: BTreeMap<RequestKey, Py<PyAny>>,
    /// They wait for a state, or for nothing to be pending; each looks for itself.
    pub(in crate::py) openers: Crowd,
    pub(in crate::py) closers: Crowd,
    pub(in crate::py) drainers: Crowd,
    pub(in crate::py) finishers: Crowd,
    /// The result in an asynchronous decoder; the next one is received after it.
    pub(in crate::py) decoding: Option<Decoding>,
    /// The asynchronous callback that is running; delivery goes on after it.
    pub(in crate::py) running: Option<Py<PyAny>>,
    /// Callbacks are being called, further up the stack.
    pub(in crate::py) calling: bool,
    /// The loop is going to call the callbacks.
    pub(in crate::py) scheduled: bool,
    /// The state that was last seen.
    pub(in crate::py) seen: State,
    /// The openings that were last seen.
    pub(in crate::py) seen_openings: u64,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            receivers: Line::new(),
            senders: Line::new(),
            requests: BTreeMap::new(),
            openers: Crowd::new(),
            closers: Crowd::new(),
            drainers: Crowd::new(),
            finishers: Crowd::new(),
            decoding: None,
            running: None,
            calling: false,
            scheduled: false,
            seen: State::Idle,
            seen_openings: 0,
        }
    }

    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let lines = self.receivers.iter().chain(self.senders.iter());
        let crowds = self.openers.iter().chain(self.closers.iter()).chain(self.drainers.iter());
        let crowds = crowds.chain(self.finishers.iter());
        let others = self.requests.values().chain(&self.running);
        for future in lines.chain(crowds).chain(others) {
            visit.call(future)?;
        }
        self.decoding.as_ref().map_or(Ok(()), |decoding| decoding.visit(visit))
    }
}

/// So many operations in a row need not wait; then the loop's other tasks have a turn. A peer that is as fast as the caller
/// would else keep them from running.
const AT_ONCE: u32 = 256;

impl Connection {
    /// Counts an operation that need not wait. True when it is the loop's turn.
    pub(in crate::py) fn has_done_enough(&self) -> bool {
        let enough = self.at_once.fetch_add(1, Ordering::Relaxed) >= AT_ONCE;
        if enough {
            self.loop_has_turn();
        }
        enough
    }

    /// An operation waits, so that the loop has a turn.
    pub(in crate::py) fn loop_has_turn(&self) {
        self.at_once.store(0, Ordering::Relaxed);
    }

    /// The turn in a line goes on to the next.
    pub(in crate::py) fn hand_on(&self, line: impl FnOnce(&mut Waiting) -> &mut Line) {
        let mut waiting = self.waiting.lock();
        let line = line(&mut waiting);
        line.hand_on();
        let somebody_waits = line.is_waiting();
        drop(waiting);
        // At the end nothing more will come that would wake the next one.
        if somebody_waits && (self.arm() || self.base.state() == State::Closed) {
            self.look_again();
        }
    }

    /// What is waited for has changed. If some of it is there already, the loop is made to look again.
    pub(in crate::py) fn rearm(&self) {
        if self.arm() {
            self.look_again();
        }
    }

    /// Tells the network layer what is waited for; answers whether some of it is there already.
    pub(in crate::py) fn arm(&self) -> bool {
        let (has_on_result, wants_notices) = (self.base.has_on_result(), self.base.wants_notices());
        let waiting = self.waiting.lock();
        let mut interest = Interest::NONE;
        let decoder = waiting.decoding.as_ref().map(|decoding| decoding.is_done);
        let at_work = decoder == Some(false);
        let idle = waiting.running.is_none() && !waiting.calling && !(has_on_result && at_work);
        let receiving = waiting.receivers.is_waiting() && !at_work;
        let is_decoded = decoder == Some(true) && (receiving || (has_on_result && idle));
        for (wanted, kind) in [
            (receiving || (has_on_result && idle), Interest::ITEMS),
            ((wants_notices || has_on_result) && idle, Interest::NOTICES),
            (!waiting.requests.is_empty(), Interest::ANSWERS),
            (waiting.senders.is_waiting(), Interest::ROOM),
            (!waiting.drainers.is_empty(), Interest::DRAINED),
            (!waiting.finishers.is_empty(), Interest::FINISHED),
            // The end of the connection is nothing in the ring, and may come while a receiver begins to wait.
            (receiving, Interest::STATE),
            (!waiting.openers.is_empty() || !waiting.closers.is_empty(), Interest::STATE),
        ] {
            if wanted {
                interest = interest.and(kind);
            }
        }
        let seen = waiting.seen;
        drop(waiting);
        self.base.net.arm(interest, interest, seen) || is_decoded
    }
}
