//! The loop binding of a connection: which event loop it belongs to, and how that is woken for it.

use std::{ptr, sync::Arc};

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*, sync::PyOnceLock};

use super::AsyncConnection;
use crate::{
    net::wakeups::Notify,
    py::{
        dispatcher::{Dispatcher, QueueSlot},
        errors::{no_running_loop, py_result},
    },
};

/// The event loop that a connection is used from, and its place in the dispatcher of that.
pub(super) struct LoopBinding {
    event_loop: Py<PyAny>,
    dispatcher: Py<Dispatcher>,
    place: Arc<QueueSlot>,
    /// The thread that ran the loop then.
    thread: usize,
}

impl LoopBinding {
    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.dispatcher)
    }
}

impl AsyncConnection {
    /// Binds the connection to the running loop, if it is not bound yet. `strict`: it must be the running one.
    pub(in crate::py) fn bind(slf: &Bound<'_, Self>, strict: bool) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        py_result(py, this.base.net.check_process())?;
        if let Some(binding) = this.binding.get() {
            if strict && !running_loop(py)?.is(&binding.event_loop) {
                return Err(PyRuntimeError::new_err(
                    "the connection belongs to another event loop: it is used from the loop of its first open or \
                     send; only send_nowait, close and stats may be called from elsewhere",
                ));
            }
            return Ok(());
        }
        let event_loop = running_loop(py)?;
        if event_loop.is_none() {
            return Err(no_running_loop());
        }
        let dispatcher = Dispatcher::of(py, &event_loop)?;
        if let Some(provider) = &this.base.provider {
            provider.get().add_loop(&event_loop)?;
        }
        if let Some(hooks) = &this.base.hooks {
            hooks.get().set_loop(&event_loop)?;
        }
        let place = Dispatcher::add(&dispatcher, slf.as_any(), hand_out)?;
        let poller = dispatcher.get().poller().cloned();
        let binding = LoopBinding {
            event_loop: event_loop.unbind(),
            dispatcher: dispatcher.unbind(),
            place: place.clone(),
            thread: this_thread(),
        };
        if let Err(late) = this.binding.set(binding) {
            // Another thread was first.
            late.dispatcher.get().remove(&late.place);
            return Self::bind(slf, strict);
        }
        if let Some(poller) = poller {
            this.base.net.set_poller(poller);
        }
        this.base.net.set_notify(place);
        this.rearm();
        Ok(())
    }

    /// The loop, once bound.
    pub(in crate::py) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.binding.get().map(|binding| binding.event_loop.bind(py).clone()).ok_or_else(no_running_loop)
    }

    /// Whether this is probably the thread of the connection's loop.
    pub(super) fn is_on_loop_thread(&self) -> bool {
        self.binding.get().is_some_and(|binding| binding.thread == this_thread())
    }

    /// Whether it belongs to another event loop than the running one.
    pub(in crate::py) fn is_elsewhere(&self, py: Python<'_>) -> PyResult<bool> {
        match self.binding.get() {
            Some(binding) => Ok(!running_loop(py)?.is(&binding.event_loop)),
            None => Ok(false),
        }
    }

    /// Whether it belongs to a loop that is closed, so that nobody can use it any more.
    pub(in crate::py) fn is_stranded(&self, py: Python<'_>) -> PyResult<bool> {
        match self.binding.get() {
            Some(binding) => binding.event_loop.bind(py).call_method0(intern!(py, "is_closed"))?.is_truthy(),
            None => Ok(false),
        }
    }

    /// Leaves its loop, which need not know it any more.
    pub(in crate::py) fn leave_loop(&self) {
        if let Some(binding) = self.binding.get() {
            binding.dispatcher.get().remove(&binding.place);
        }
    }

    /// Lets the loop hand out what is there.
    pub(in crate::py) fn wake_loop(&self) {
        if self.base.net.check_process().is_err() {
            // The queue's lock may be one that the parent's I/O thread held at the fork, for ever.
            return;
        }
        if let Some(binding) = self.binding.get() {
            binding.place.mark_ready();
            binding.place.notify();
        }
    }
}

/// Lets a connection hand out what is there. Called by the dispatcher of its loop; one that was collected is `None`.
fn hand_out(connection: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(connection) = connection.cast::<AsyncConnection>() else { return Ok(()) };
    (connection.get().hand_out)(connection)
}

/// Tells threads that live at the same time apart, at the cost of a register.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| ptr::from_ref(mark).addr())
}

/// The running event loop, or None.
pub(super) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FUNCTION.import(py, "asyncio.events", "_get_running_loop")?.call0()
}
