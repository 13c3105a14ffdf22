//! `_core.CallbackQueue`: blocking connections, as the threads that call their callbacks take them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use pyo3::prelude::*;

use super::{
    events::Events,
    turns::{CallbackTurn, Left, Listener, NextStep, Turns},
};
use crate::{net::exit_gate, sync::Mutex};

/// The events of a connection, and a weak reference to whatever calls back.
type Source = (Py<Events>, Py<PyAny>);

/// The connections whose callbacks are to be called, for the threads that do so.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(in crate::py) struct CallbackQueue {
    turns: Arc<Turns>,
    sources: Mutex<HashMap<u64, Source>>,
}

impl CallbackQueue {
    /// Waits for a connection whose turn it is.
    fn next_turn(&self) -> Option<CallbackTurn> {
        let mut has_driven = false;
        loop {
            match self.turns.next(has_driven)? {
                NextStep::Take(turn) => return Some(turn),
                NextStep::DriveSocket(number) => {
                    let found =
                        self.sources.lock().get(&number).map(|(events, _)| events.get().shared.clone());
                    if let Some(shared) = found {
                        shared.drive_socket(|| self.turns.drives_socket());
                    }
                    has_driven = true;
                }
            }
        }
    }
}

#[pymethods]
impl CallbackQueue {
    #[new]
    fn new() -> Self {
        Self { turns: Arc::default(), sources: Mutex::default() }
    }

    fn reserve(&self) -> (u64, bool) {
        self.turns.reserve()
    }

    fn give_up(&self, number: u64) {
        self.turns.give_up(number);
    }

    fn add(&self, number: u64, events: Py<Events>, reference: Py<PyAny>) {
        let shared = events.get().shared.clone();
        self.sources.lock().insert(number, (events, reference));
        shared.listen_with(Listener {
            turns: self.turns.clone(),
            number,
            net: Arc::downgrade(&shared.base.net),
            takes_results: AtomicBool::new(shared.base.has_on_result()),
        });
        self.turns.begin(number);
        // What was there before is found by polling.
        self.turns.push(number);
    }

    fn arrive(&self) {
        self.turns.arrive();
    }

    fn has_no_thread(&self) {
        self.turns.has_no_thread();
    }

    fn next(&self, py: Python<'_>) -> Option<(Py<Events>, Py<PyAny>, u64, bool)> {
        loop {
            let (turn, inside) = py.detach(|| {
                let turn = self.next_turn();
                let inside = exit_gate::enter();
                while inside.is_none() {
                    // The interpreter is leaving, and cuts off daemon threads.
                    std::thread::park();
                }
                (turn, inside)
            });
            drop(inside);
            let turn = turn?;
            let found = self
                .sources
                .lock()
                .get(&turn.number)
                .map(|(events, reference)| (events.clone_ref(py), reference.clone_ref(py)));
            if let Some((events, reference)) = found {
                return Some((events, reference, turn.number, turn.is_alone));
            }
            self.turns.done(turn.number, Left::End);
        }
    }

    #[pyo3(signature = (number, *, has_more, is_over))]
    fn done(&self, number: u64, has_more: bool, is_over: bool) {
        if is_over {
            let source = self.sources.lock().remove(&number);
            // Outside of the lock: this may run Python code.
            drop(source);
        }
        let left = match (is_over, has_more) {
            (true, _) => Left::End,
            (false, true) => Left::More,
            (false, false) => Left::Nothing,
        };
        self.turns.done(number, left);
    }
}
