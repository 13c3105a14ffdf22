//! A result in the caller's asynchronous decoder.

use pyo3::{intern, prelude::*};

use super::{base::decoder_failed, facade};
use crate::core::inbox::{Item, Numbered};

/// A decoder at work, in a task of its own: whoever waits for its outcome may be cancelled, and the decoder goes on.
pub(super) struct Decoding {
    task: Py<PyAny>,
    item: Numbered<Item>,
    /// The loop has called back.
    pub(super) is_done: bool,
}

/// The outcome for a result in a decoder.
pub(super) enum Decoded {
    /// The decoder's object, or the error that it raised: in either case the result is delivered.
    Outcome(PyResult<Py<PyAny>>),
    /// The task was cancelled, or left by an exit. Nobody got the result.
    Cancelled(Numbered<Item>, PyErr),
}

impl Decoding {
    /// Starts the task on `event_loop`, which calls `on_done` with it. On failure the item comes back.
    pub(super) fn start(
        event_loop: &Bound<'_, PyAny>,
        awaitable: &Bound<'_, PyAny>,
        item: Numbered<Item>,
        on_done: &Bound<'_, PyAny>,
    ) -> Result<Self, (Numbered<Item>, PyErr)> {
        let py = event_loop.py();
        let started = || {
            let running = facade::get(py, "Running")?.call1((awaitable,))?;
            let task = running.call_method1(intern!(py, "start"), (event_loop, true))?;
            // A task that is started eagerly may have ended already.
            let is_done = task.call_method0(intern!(py, "done"))?.is_truthy()?;
            if !is_done {
                task.call_method1(intern!(py, "add_done_callback"), (on_done,))?;
            }
            Ok((task.unbind(), is_done))
        };
        match started() {
            Ok((task, is_done)) => Ok(Self { task, item, is_done }),
            Err(error) => Err((item, error)),
        }
    }

    /// Whether this is the task.
    pub(super) fn is(&self, task: &Bound<'_, PyAny>) -> bool {
        self.task.is(task)
    }

    /// The outcome, once it is done.
    pub(super) fn outcome(self, py: Python<'_>) -> Decoded {
        match self.task.call_method0(py, intern!(py, "result")) {
            Ok(object) => Decoded::Outcome(Ok(object)),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
                Decoded::Outcome(Err(decoder_failed(py, error)))
            }
            Err(error) => Decoded::Cancelled(self.item, error),
        }
    }

    /// Cancels the task, whose outcome nobody wants any more.
    pub(super) fn cancel(self, py: Python<'_>) {
        if let Err(error) = self.task.call_method0(py, intern!(py, "cancel")) {
            error.write_unraisable(py, Some(self.task.bind(py)));
        }
    }

    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.task)
    }
}
