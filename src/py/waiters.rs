//! The waiters for one thing, coroutines each: first in, first out, to be called one after the other, or for a
//! broadcast, to be called all at once. Whoever is cancelled leaves with its ticket; that costs the same however many
//! wait.
//!
//! A connection has many kinds of waiters, and mostly none of most: those that nobody has ever waited for are a null
//! pointer. There are gateways with thousands of connections.

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
pub(super) struct FifoWaiters<F = Py<PyAny>>(Option<Box<Fifo<F>>>);

struct Fifo<F> {
    futures: BTreeMap<Ticket, F>,
    called: bool,
    /// The latest ticket for the front, counted downwards, and for the end.
    front: Ticket,
    end: Ticket,
}

impl<F> FifoWaiters<F> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// A newcomer need not wait for others.
    pub(super) fn is_free(&self) -> bool {
        self.0.as_ref().is_none_or(|fifo| fifo.futures.is_empty() && !fifo.called)
    }

    /// Whether somebody waits to be called, and nobody has been.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|fifo| !fifo.futures.is_empty() && !fifo.called)
    }

    /// Takes a place at the end, or (`returning`, called in vain) at the front.
    pub(super) fn join(&mut self, future: F, returning: bool) -> Ticket {
        let new = || Box::new(Fifo { futures: BTreeMap::new(), called: false, front: 0, end: 0 });
        let fifo = self.0.get_or_insert_with(new);
        let ticket = if returning { &mut fifo.front } else { &mut fifo.end };
        *ticket += if returning { -1 } else { 1 };
        fifo.futures.insert(*ticket, future);
        *ticket
    }

    /// Calls the first one.
    pub(super) fn call(&mut self) -> Option<F> {
        let fifo = self.0.as_mut().filter(|fifo| !fifo.called)?;
        let (_, future) = fifo.futures.pop_first()?;
        fifo.called = true;
        Some(future)
    }

    /// Whoever was called has come, or will not come.
    pub(super) fn pass_turn(&mut self) {
        if let Some(fifo) = &mut self.0 {
            fifo.called = false;
        }
    }

    /// Leaves. False if it had been called.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.0.as_mut().is_some_and(|fifo| fifo.futures.remove(&ticket).is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.0.iter().flat_map(|fifo| fifo.futures.values())
    }
}

/// Futures that are all called when it happens, in the order in which they came.
pub(super) struct BroadcastWaiters<F = Py<PyAny>>(Option<Box<Broadcast<F>>>);

struct Broadcast<F> {
    futures: BTreeMap<Ticket, F>,
    latest: Ticket,
}

impl<F> BroadcastWaiters<F> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|all| all.futures.is_empty())
    }

    pub(super) fn join(&mut self, future: F) -> Ticket {
        let all = self.0.get_or_insert_with(|| Box::new(Broadcast { futures: BTreeMap::new(), latest: 0 }));
        all.latest += 1;
        all.futures.insert(all.latest, future);
        all.latest
    }

    /// Calls all.
    pub(super) fn call(&mut self) -> impl Iterator<Item = F> + use<F> {
        self.0
            .as_mut()
            .map(|all| std::mem::take(&mut all.futures))
            .into_iter()
            .flat_map(BTreeMap::into_values)
    }

    /// Leaves, if it was not called.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(all) = &mut self.0 {
            all.futures.remove(&ticket);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.0.iter().flat_map(|all| all.futures.values())
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
