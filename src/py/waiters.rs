//! The waiters for one thing, coroutines each: first in, first out, to be called one after the other, or for a
//! broadcast, to be called all at once. Whoever is cancelled leaves with its ticket; that costs the same however many
//! wait.

use std::collections::BTreeMap;

use pyo3::prelude::*;

/// A waiter's place among those that wait for the same. Never given out twice there.
pub(super) type Ticket = i64;

/// Futures that are called first in, first out, one at a time.
///
/// ```text
///   join --> waiting --call--> called --pass_turn--> gone; the next may be called
///               |                 `----join(returning)--> waiting, at the front
///               `--leave--> gone
/// ```
///
/// Until the one that was called has come, nobody takes anything past it. It passes the turn on.
pub(super) struct FifoWaiters<F = Py<PyAny>> {
    futures: BTreeMap<Ticket, F>,
    called: bool,
    /// The latest ticket for the front, counted downwards, and for the end.
    front: Ticket,
    end: Ticket,
}

impl<F> FifoWaiters<F> {
    pub(super) fn new() -> Self {
        Self { futures: BTreeMap::new(), called: false, front: 0, end: 0 }
    }

    /// A newcomer need not wait for others.
    pub(super) fn is_free(&self) -> bool {
        self.futures.is_empty() && !self.called
    }

    /// Somebody waits to be called, and nobody has been.
    pub(super) fn is_waiting(&self) -> bool {
        !self.futures.is_empty() && !self.called
    }

    /// Takes a place at the end, or (`returning`, called in vain) at the front.
    pub(super) fn join(&mut self, future: F, returning: bool) -> Ticket {
        let ticket = if returning { &mut self.front } else { &mut self.end };
        *ticket += if returning { -1 } else { 1 };
        self.futures.insert(*ticket, future);
        *ticket
    }

    /// Calls the first one.
    pub(super) fn call(&mut self) -> Option<F> {
        if self.called {
            return None;
        }
        let (_, future) = self.futures.pop_first()?;
        self.called = true;
        Some(future)
    }

    /// Whoever was called has come, or will not come.
    pub(super) fn pass_turn(&mut self) {
        self.called = false;
    }

    /// Leaves. False if it had been called.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.futures.remove(&ticket).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.futures.values()
    }
}

/// Futures that are all called when it happens, in the order in which they came.
pub(super) struct BroadcastWaiters<F = Py<PyAny>> {
    futures: BTreeMap<Ticket, F>,
    latest: Ticket,
}

impl<F> BroadcastWaiters<F> {
    pub(super) fn new() -> Self {
        Self { futures: BTreeMap::new(), latest: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    pub(super) fn join(&mut self, future: F) -> Ticket {
        self.latest += 1;
        self.futures.insert(self.latest, future);
        self.latest
    }

    /// Calls all.
    pub(super) fn call(&mut self) -> impl Iterator<Item = F> + use<F> {
        std::mem::take(&mut self.futures).into_values()
    }

    /// Leaves, if it was not called.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.futures.remove(&ticket);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.futures.values()
    }
}

#[cfg(test)]
mod tests {
    use super::{BroadcastWaiters, FifoWaiters};

    #[test]
    fn fifo_waiters_keep_their_order_whoever_leaves_and_returns() {
        let mut waiters = FifoWaiters::new();
        let tickets: Vec<_> = ["a", "b", "c", "d"].map(|name| waiters.join(name, false)).into();
        assert_eq!(waiters.call(), Some("a"));
        assert_eq!(waiters.call(), None, "one at a time");
        assert!(!waiters.leave(tickets[0]), "it was called");
        assert!(waiters.leave(tickets[1]));
        // Called in vain: back to the front, with another ticket.
        let again = waiters.join("a", true);
        waiters.pass_turn();
        assert!(!waiters.leave(tickets[0]), "an old ticket is nobody else's");
        assert_eq!(waiters.iter().copied().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert!(waiters.leave(again));
        assert_eq!(waiters.call(), Some("c"));
        waiters.pass_turn();
        assert_eq!((waiters.call(), waiters.is_waiting(), waiters.is_free()), (Some("d"), false, false));
        waiters.pass_turn();
        let later = waiters.join("e", false);
        assert!(!tickets.contains(&later), "also when nobody waited in between");
    }

    #[test]
    fn broadcast_waiters_are_called_in_order_without_those_who_left() {
        let mut waiters = BroadcastWaiters::new();
        let tickets: Vec<_> = ["a", "b", "c"].map(|name| waiters.join(name)).into();
        waiters.leave(tickets[1]);
        assert_eq!(waiters.call().collect::<Vec<_>>(), ["a", "c"]);
        assert!(waiters.is_empty());
        waiters.leave(tickets[0]);
        waiters.join("d");
        waiters.leave(tickets[2]);
        assert_eq!(waiters.iter().copied().collect::<Vec<_>>(), ["d"], "an old ticket is nobody else's");
    }
}
