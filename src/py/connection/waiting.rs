//! The waiters of a connection, and what the network layer is told of them.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use pyo3::prelude::*;

use super::AsyncConnection;
use crate::{
    core::{message::RequestKey, session::State},
    net::handle::Interest,
    py::{
        decoding::Decoding,
        waiters::{BroadcastWaiters, FifoWaiters},
    },
};

/// The waiters of a connection: who waits for what. Never locked while Python code runs.
pub(in crate::py) struct Waiting {
    pub(in crate::py) receivers: FifoWaiters,
    pub(in crate::py) senders: FifoWaiters,
    pub(in crate::py) requests: BTreeMap<RequestKey, Py<PyAny>>,
    /// They wait for a state, or for nothing to be pending; each finds out by itself.
    pub(in crate::py) openers: BroadcastWaiters,
    pub(in crate::py) closers: BroadcastWaiters,
    pub(in crate::py) drainers: BroadcastWaiters,
    pub(in crate::py) finishers: BroadcastWaiters,
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
            receivers: FifoWaiters::new(),
            senders: FifoWaiters::new(),
            requests: BTreeMap::new(),
            openers: BroadcastWaiters::new(),
            closers: BroadcastWaiters::new(),
            drainers: BroadcastWaiters::new(),
            finishers: BroadcastWaiters::new(),
            decoding: None,
            running: None,
            calling: false,
            scheduled: false,
            seen: State::Idle,
            seen_openings: 0,
        }
    }

    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let fifo = self.receivers.iter().chain(self.senders.iter());
        let broadcast = self.openers.iter().chain(self.closers.iter()).chain(self.drainers.iter());
        let broadcast = broadcast.chain(self.finishers.iter());
        let others = self.requests.values().chain(&self.running);
        for future in fifo.chain(broadcast).chain(others) {
            visit.call(future)?;
        }
        self.decoding.as_ref().map_or(Ok(()), |decoding| decoding.visit(visit))
    }
}

/// The most operations in a row that need not wait; then the loop's other tasks have a turn. A peer that is as fast as
/// the caller would else keep them from running.
const MAX_UNYIELDING_OPERATIONS: u32 = 256;

impl AsyncConnection {
    /// Counts an operation that need not wait. True when it is the loop's turn.
    pub(in crate::py) fn should_yield(&self) -> bool {
        let is_due = self.unyielding.fetch_add(1, Ordering::Relaxed) >= MAX_UNYIELDING_OPERATIONS;
        if is_due {
            self.loop_has_turn();
        }
        is_due
    }

    /// An operation waits, so that the loop has a turn.
    pub(in crate::py) fn loop_has_turn(&self) {
        self.unyielding.store(0, Ordering::Relaxed);
    }

    /// Passes the turn on to the next of these waiters.
    pub(in crate::py) fn pass_turn(&self, waiters: impl FnOnce(&mut Waiting) -> &mut FifoWaiters) {
        let mut waiting = self.waiting.lock();
        let waiters = waiters(&mut waiting);
        waiters.pass_turn();
        let somebody_waits = waiters.is_waiting();
        drop(waiting);
        // At the end nothing more will come that would wake the next one.
        if somebody_waits && (self.arm() || self.base.state() == State::Closed || self.base.has_on_result()) {
            self.wake_loop();
        }
    }

    /// Says anew what is waited for. If some of it is there already, the loop is woken.
    pub(in crate::py) fn rearm(&self) {
        if self.arm() {
            self.wake_loop();
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
