//! Waiting operations: each on a future of its own, in the place of its kind.

use pyo3::{intern, prelude::*, sync::PyOnceLock, types::PyType};

use super::{Operation, OperationKind, Stage, Step};
use crate::{
    core::message::RequestKey,
    py::{
        connection::AsyncConnection,
        waiters::{FifoWaiters, Ticket},
    },
};

/// The place where an operation waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Receivers,
    Senders,
    Request,
    Openers,
    Closers,
    Drainers,
    Finishers,
}

/// The outcome of polling an operation.
pub(super) enum Polled {
    /// It is done, with this value.
    Ready(Py<PyAny>),
    /// It waits in this place.
    Pending(Place),
}

impl Operation {
    pub(super) fn start_timer(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, AsyncConnection>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let Some(timeout) = timeout else { return Ok(()) };
        let py = slf.py();
        let event_loop = connection.get().event_loop(py)?;
        let expire = slf.getattr(intern!(py, "_expire"))?;
        let timer = event_loop.call_method1(intern!(py, "call_later"), (timeout, expire))?;
        slf.get().inner.lock().timer = Some(timer.unbind());
        Ok(())
    }

    pub(super) fn wait(slf: &Bound<'_, Self>, place: Place, returning: bool) -> PyResult<Step> {
        let (this, py) = (slf.get(), slf.py());
        let connection = this.connection.bind(py);
        // A request did so before it sent, and who opens before it opened.
        if !matches!(place, Place::Request | Place::Openers) {
            AsyncConnection::bind(connection, true)?;
        }
        let native = connection.get();
        let future = native.event_loop(py)?.call_method0(intern!(py, "create_future"))?;
        // What `await future` would do before it hands the future to the task.
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        let future = future.unbind();
        let request = this.request();
        let ticket = {
            let mut waiting = native.waiting.lock();
            if let Some(key) = request {
                waiting.requests.insert(key, future.clone_ref(py));
            }
            let waits = future.clone_ref(py);
            let ticket = match place {
                Place::Receivers => waiting.receivers.join(waits, returning),
                Place::Senders => waiting.senders.join(waits, returning),
                Place::Request => 0, // its key is its ticket
                Place::Openers => waiting.openers.join(waits),
                Place::Closers => waiting.closers.join(waits),
                Place::Drainers => waiting.drainers.join(waits),
                Place::Finishers => waiting.finishers.join(waits),
            };
            if returning {
                match place {
                    Place::Receivers => waiting.receivers.pass_turn(),
                    Place::Senders => waiting.senders.pass_turn(),
                    _ => {}
                }
            }
            ticket
        };
        this.inner.lock().stage = Stage::Waiting(future.clone_ref(py), ticket);
        native.loop_has_turn();
        if !matches!(place, Place::Request | Place::Openers) {
            native.uncork_before_waiting();
        }
        native.rearm();
        if place == Place::Openers && this.was_opened() {
            // Open and idle again before this was armed: no state has changed since then.
            wake(future.bind(py))?;
        }
        Ok(Step::Yield(future))
    }

    /// The opening that this one waits for has been, even if it is over.
    fn was_opened(&self) -> bool {
        let openings = self.connection.get().base.net.openings();
        matches!(&self.inner.lock().kind, OperationKind::Open { opening: Some(opening) } if openings > opening.openings_before())
    }

    /// The request that this operation is: it may fail wherever it waits.
    fn request(&self) -> Option<RequestKey> {
        match &self.inner.lock().kind {
            OperationKind::Request(request) => request.key,
            _ => None,
        }
    }

    /// The place in which this operation waits now.
    fn place(&self) -> Place {
        match &self.inner.lock().kind {
            OperationKind::Receive { .. } => Place::Receivers,
            OperationKind::Request(request) if request.message.is_none() && request.key.is_some() => {
                Place::Request
            }
            OperationKind::Send(_) | OperationKind::Request(_) => Place::Senders,
            OperationKind::Open { .. } => Place::Openers,
            OperationKind::Drain { .. } => Place::Drainers,
            OperationKind::Finish => Place::Finishers,
            OperationKind::Closed | OperationKind::Failed(_) => Place::Closers,
        }
    }

    /// Whether it waits, or waited, for room in the outgoing queue.
    pub(super) fn waits_for_room(&self) -> bool {
        self.place() == Place::Senders
    }

    /// Passes the turn on to whoever waits next for the same.
    pub(super) fn pass_turn(&self) {
        let native = self.connection.get();
        match self.place() {
            Place::Receivers => native.pass_turn(|waiting| &mut waiting.receivers),
            Place::Senders => native.pass_turn(|waiting| &mut waiting.senders),
            _ => {}
        }
    }

    /// Leaves the place where it waited. True when it had been called, one after the other: the turn is its own.
    pub(super) fn arrive(&self, ticket: Ticket) -> bool {
        let native = self.connection.get();
        let (place, request) = (self.place(), self.request());
        let mut waiting = native.waiting.lock();
        if let Some(key) = request {
            waiting.requests.remove(&key);
        }
        let out_of = |waiters: &mut FifoWaiters| !waiters.leave(ticket);
        match place {
            Place::Receivers => return out_of(&mut waiting.receivers),
            Place::Senders => return out_of(&mut waiting.senders),
            Place::Request => {}
            Place::Openers => waiting.openers.leave(ticket),
            Place::Closers => waiting.closers.leave(ticket),
            Place::Drainers => waiting.drainers.leave(ticket),
            Place::Finishers => waiting.finishers.leave(ticket),
        }
        false
    }
}

/// Resolves a future that says "poll again", unless it is done or cancelled.
pub(in crate::py) fn wake(future: &Bound<'_, PyAny>) -> PyResult<()> {
    static DONE_ALREADY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = future.py();
    // To ask `done()` first would be one more call for each message that is waited for.
    match future.call_method1(intern!(py, "set_result"), (py.None(),)) {
        Err(error)
            if error.matches(py, DONE_ALREADY.import(py, "asyncio.exceptions", "InvalidStateError")?)? =>
        {
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}
