//! Coroutines that wait for the same thing: in a line, to be called one after the other, or in a crowd, to be called
//! all at once. Whoever is cancelled leaves with its ticket; that costs the same however many wait.

use std::collections::BTreeMap;

use pyo3::prelude::*;

/// A place in a line or a crowd. Never given out twice there.
pub(super) type Ticket = i64;

/// A first-come-first-served line of futures, and whether the first one has been called.
///
/// One at a time is called; until it has come, nobody takes anything past it. Whoever was called hands the turn on.
pub(super) struct Line<F = Py<PyAny>> {
    futures: BTreeMap<Ticket, F>,
    called: bool,
    /// The latest ticket for the front, counted downwards, and for the end.
    front: Ticket,
    end: Ticket,
}

impl<F> Line<F> {
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
    pub(super) fn hand_on(&mut self) {
        self.called = false;
    }

    /// Leaves the line. False if it had been called.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.futures.remove(&ticket).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.futures.values()
    }
}

/// Futures that are all called when it happens, in the order in which they came.
pub(super) struct Crowd<F = Py<PyAny>> {
    futures: BTreeMap<Ticket, F>,
    latest: Ticket,
}

impl<F> Crowd<F> {
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
    use super::{Crowd, Line};

    #[test]
    fn a_line_keeps_its_order_whoever_leaves_and_returns() {
        let mut line = Line::new();
        let tickets: Vec<_> = ["a", "b", "c", "d"].map(|name| line.join(name, false)).into();
        assert_eq!(line.call(), Some("a"));
        assert_eq!(line.call(), None, "one at a time");
        assert!(!line.leave(tickets[0]), "it was called");
        assert!(line.leave(tickets[1]));
        // Called in vain: back to the front, with another ticket.
        let again = line.join("a", true);
        line.hand_on();
        assert!(!line.leave(tickets[0]), "an old ticket is nobody else's");
        assert_eq!(line.iter().copied().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert!(line.leave(again));
        assert_eq!(line.call(), Some("c"));
        line.hand_on();
        assert_eq!((line.call(), line.is_waiting(), line.is_free()), (Some("d"), false, false));
        line.hand_on();
        let later = line.join("e", false);
        assert!(!tickets.contains(&later), "also when the line was empty in between");
    }

    #[test]
    fn a_crowd_is_called_in_order_without_those_who_left() {
        let mut crowd = Crowd::new();
        let tickets: Vec<_> = ["a", "b", "c"].map(|name| crowd.join(name)).into();
        crowd.leave(tickets[1]);
        assert_eq!(crowd.call().collect::<Vec<_>>(), ["a", "c"]);
        assert!(crowd.is_empty());
        crowd.leave(tickets[0]);
        crowd.join("d");
        crowd.leave(tickets[2]);
        assert_eq!(crowd.iter().copied().collect::<Vec<_>>(), ["d"], "an old ticket is nobody else's");
    }
}
