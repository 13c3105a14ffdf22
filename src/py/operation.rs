//! Operations, which `send`, `recv`, `request`, `open`, `drain` and `wait_closed` return: native coroutines.
//!
//! When what it wants is there already, awaiting it costs neither a future nor a turn of the loop. Otherwise it
//! waits on a future that carries nothing, and is polled again when it is woken.

use pyo3::{
    exceptions::{PyRuntimeError, PyStopIteration},
    intern,
    prelude::*,
};

use super::{connection::AsyncConnection, errors::ends_the_loop, waiters::Ticket, warning};
use crate::sync::Mutex;

mod am_send;
mod decoding;
mod kind;
mod polling;
mod receiving;
mod waiting;

pub(super) use am_send::install as install_am_send;
use kind::Request;
pub(super) use kind::{OperationKind, Wanted};
pub(super) use polling::not_open_again;
pub(super) use receiving::nothing_came;
pub(super) use waiting::wake;

/// A native coroutine.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Operation {
    connection: Py<AsyncConnection>,
    inner: Mutex<OperationState>,
}

struct OperationState {
    kind: OperationKind,
    stage: Stage,
    /// The deadline of a request or a receiver with a timeout, and of an opening after the first.
    timer: Option<Py<PyAny>>,
    expired: bool,
}

enum Stage {
    Fresh,
    /// It waits on this future, in the place that belongs to its kind, which it leaves with this ticket.
    Waiting(Py<PyAny>, Ticket),
    /// A step is being taken.
    Running,
    Done,
}

/// The outcome of a step.
enum Step {
    Done(Py<PyAny>),
    Yield(Py<PyAny>),
}

#[pymethods]
impl Operation {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        yielded(Self::resume(slf)?)
    }

    fn send(slf: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        yielded(Self::resume(slf)?)
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        this.cancel(py)?;
        let error = match value {
            Some(value)
                if !value.is_none() && value.is_instance_of::<pyo3::exceptions::PyBaseException>() =>
            {
                value.clone()
            }
            Some(value) if !value.is_none() => kind.call1((value,))?,
            _ if kind.is_instance_of::<pyo3::types::PyType>() => kind.call0()?,
            _ => kind.clone(),
        };
        if let Some(traceback) = traceback
            && !traceback.is_none()
        {
            error.setattr(intern!(py, "__traceback__"), traceback)?;
        }
        Err(PyErr::from_value(error))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.cancel(py)
    }

    /// The timeout of a request, a receiver or an opening. Called by the loop.
    fn _expire(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.lock().expired = true;
        self.wake(py)
    }

    /// The asynchronous decoder of a request's answer is done. Called by the loop.
    fn _decoded(&self, py: Python<'_>, _task: &Bound<'_, PyAny>) -> PyResult<()> {
        if let OperationKind::Request(request) = &mut self.inner.lock().kind
            && let Some(decoding) = &mut request.decoding
        {
            decoding.is_done = true;
        }
        self.wake(py)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.connection)?;
        if let Some(inner) = self.inner.try_lock() {
            if let Stage::Waiting(future, _) = &inner.stage {
                visit.call(future)?;
            }
            if let OperationKind::Request(request) = &inner.kind
                && let Some(decoding) = &request.decoding
            {
                decoding.visit(&visit)?;
            }
            if let Some(timer) = &inner.timer {
                visit.call(timer)?;
            }
        }
        Ok(())
    }
}

impl Operation {
    pub(super) fn new<'py>(
        connection: &Bound<'py, AsyncConnection>,
        kind: OperationKind,
    ) -> PyResult<Bound<'py, Self>> {
        let inner = OperationState { kind, stage: Stage::Fresh, timer: None, expired: false };
        Bound::new(
            connection.py(),
            Self { connection: connection.clone().unbind(), inner: Mutex::new(inner) },
        )
    }

    /// Takes a step. With its end, or an error, the operation is over.
    fn resume(slf: &Bound<'_, Self>) -> PyResult<Step> {
        let (this, py) = (slf.get(), slf.py());
        let (stage, is_often_done_at_once) = {
            let mut inner = this.inner.lock();
            let stage = std::mem::replace(&mut inner.stage, Stage::Running);
            (stage, matches!(inner.kind, OperationKind::Send(_) | OperationKind::Receive { .. }))
        };
        let step = match stage {
            Stage::Done | Stage::Running => {
                this.inner.lock().stage = Stage::Done;
                return Err(awaited_already());
            }
            // The loop's other tasks have a turn first.
            Stage::Fresh if is_often_done_at_once && this.connection.get().should_yield() => {
                this.inner.lock().stage = Stage::Fresh;
                // What `asyncio.sleep(0)` yields.
                return Ok(Step::Yield(py.None()));
            }
            Stage::Fresh => Self::poll(slf, false),
            Stage::Waiting(_, ticket) => {
                // Woken by the future, or by somebody who drives coroutines by hand: it is polled either way.
                let came = this.arrive(ticket);
                Self::poll(slf, came)
            }
        };
        this.ended(py, step)
    }

    /// Wakes the coroutine, if it waits.
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let future = match &self.inner.lock().stage {
            Stage::Waiting(future, _) => future.clone_ref(py),
            _ => return Ok(()),
        };
        wake(future.bind(py))
    }

    /// Ends the operation, if this step does.
    fn ended(&self, py: Python<'_>, step: PyResult<Step>) -> PyResult<Step> {
        if !matches!(step, Ok(Step::Yield(_))) {
            self.end(py)?;
        }
        step
    }

    /// It is over. The error is what the handler of a signal raised (Ctrl-C) while Python code of the loop ran: it must
    /// not be lost.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let (timer, opening) = {
            let mut inner = self.inner.lock();
            inner.stage = Stage::Done;
            let opening = match &mut inner.kind {
                OperationKind::Open { opening } => opening.take(),
                _ => None,
            };
            (inner.timer.take(), opening)
        };
        // If nobody was told why it failed, callbacks are now.
        drop(opening);
        if let Some(timer) = timer {
            timer.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// Gives up the outcome, for which nobody waits any more: nothing is taken, and whoever is next gets the turn.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let stage = std::mem::replace(&mut self.inner.lock().stage, Stage::Running);
        let native = self.connection.get();
        if native.base.net.check_process().is_err() {
            // The lock may be one that the parent's I/O thread held at the fork, for ever.
            return self.end(py);
        }
        match stage {
            Stage::Waiting(_, ticket) => {
                let was_called = self.arrive(ticket);
                let waited_for_room = self.waits_for_room();
                if waited_for_room {
                    native.base.net.forget_refused();
                }
                if was_called {
                    self.pass_turn();
                } else if waited_for_room {
                    native.rearm();
                }
            }
            Stage::Fresh | Stage::Running | Stage::Done => {}
        }
        self.forget_request(py);
        self.end(py)
    }
}

fn awaited_already() -> PyErr {
    PyRuntimeError::new_err("this operation was awaited already")
}

/// The answer of a step in the iterator protocol.
fn yielded(step: Step) -> PyResult<Py<PyAny>> {
    match step {
        Step::Yield(object) => Ok(object),
        Step::Done(value) => Err(PyStopIteration::new_err((value,))),
    }
}

impl Drop for Operation {
    /// As with coroutines: what was never awaited was never done, which is a mistake that should be seen.
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        if matches!(inner.stage, Stage::Fresh) {
            let name = inner.kind.name();
            let _ = Python::try_attach(|py| warning::never_awaited(py, name));
        }
        // A coroutine that nobody will resume is closed; else it would be called when its turn comes, and never come.
        if matches!(inner.stage, Stage::Waiting(..)) {
            let _ = Python::try_attach(|py| {
                // Of a timer that is garbage with it nothing else is worth being told.
                if let Err(error) = self.cancel(py)
                    && ends_the_loop(py, &error)
                {
                    error.write_unraisable(py, None);
                }
            });
        }
    }
}
