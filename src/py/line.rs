//! A first-come-first-served line of coroutines that wait for the same thing.

use std::collections::VecDeque;

use pyo3::prelude::*;

/// The futures of those who wait, and whether the first one has been called.
///
/// One at a time is called; until it has come, nobody takes anything past it. Whoever was called hands the turn on.
#[derive(Default)]
pub(super) struct Line {
    futures: VecDeque<Py<PyAny>>,
    called: bool,
}

impl Line {
    /// A newcomer need not wait for others.
    pub(super) fn is_free(&self) -> bool {
        self.futures.is_empty() && !self.called
    }

    /// Somebody waits to be called, and nobody has been.
    pub(super) fn is_waiting(&self) -> bool {
        !self.futures.is_empty() && !self.called
    }

    /// Takes a place at the end, or (`returning`, called in vain) at the front.
    pub(super) fn join(&mut self, future: Py<PyAny>, returning: bool) {
        if returning {
            self.futures.push_front(future);
        } else {
            self.futures.push_back(future);
        }
    }

    /// Calls the first one.
    pub(super) fn call(&mut self) -> Option<Py<PyAny>> {
        if self.called {
            return None;
        }
        let future = self.futures.pop_front()?;
        self.called = true;
        Some(future)
    }

    /// A newcomer took something and is not done with it.
    pub(super) fn occupy(&mut self) {
        self.called = true;
    }

    /// Whoever was called has come, or will not come.
    pub(super) fn hand_on(&mut self) {
        self.called = false;
    }

    /// Leaves the line. False if it had been called.
    pub(super) fn leave(&mut self, future: &Py<PyAny>) -> bool {
        match self.futures.iter().position(|other| other.is(future)) {
            Some(place) => self.futures.remove(place).is_some(),
            None => false,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.futures.iter()
    }
}
