//! `_core.SyncConnection`: the same connection in blocking form, for any thread.
//!
//! Every wait is done without the GIL and checks for signals twenty times a second, so that Ctrl-C works.

use std::sync::Arc;

use pyo3::{exceptions::PyStopIteration, intern, prelude::*, types::PyDict};

use super::{
    arguments::{self, Given, is_plain_request},
    base::{Base, Callbacks},
    client::Client,
    errors::{py_result, queue_full, to_py},
    facade,
    stats::PyTotals,
};
use crate::{core::outbox::Lane, net::handle::Offered};

mod abandoned;
mod callbacks;
mod events;
mod messages;
mod notifier;
mod shared;
mod turns;
mod waiting;

pub(super) use callbacks::CallbackQueue;
pub(super) use events::Events;
use notifier::Notifier;
use shared::{Deadline, SharedConnection};

/// A connection in blocking form; the public class derives from it.
#[pyclass(frozen, subclass, weakref, module = "fal_realtime._core")]
pub(super) struct SyncConnection {
    shared: Arc<SharedConnection>,
}

#[pymethods]
impl SyncConnection {
    #[new]
    #[pyo3(signature = (client, **options))]
    fn new(py: Python<'_>, client: &Client, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let base = Base::new(py, client, options.unwrap_or(&empty), None)?;
        let notifier = Arc::new(Notifier::default());
        base.net.set_notify(notifier.clone());
        Ok(Self { shared: Arc::new(SharedConnection { base, notifier }) })
    }

    /// The app id with its path, such as `fal-ai/fast-lcm-diffusion/realtime`; in raw mode the URL without its query.
    #[getter]
    fn app(&self) -> &str {
        &self.shared.base.app
    }

    /// The state of the connection: a `ConnectionState`.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        py_result(py, self.shared.base.net.check_process())?;
        Ok(self.shared.base.state().name())
    }

    /// Why the newest attempt to open, or session, failed; a session that opens does not clear it.
    #[getter]
    fn last_error(&self, py: Python<'_>) -> Option<PyErr> {
        self.shared.base.last_error(py)
    }

    /// The close code (RFC 6455, section 7.4): the caller's own; else that of the newest session that is over, 1006
    /// without a close frame.
    #[getter]
    fn close_code(&self) -> Option<u16> {
        self.shared.base.net.last_close().map(|(code, _)| code)
    }

    /// The close reason that belongs to it.
    #[getter]
    fn close_reason(&self) -> Option<String> {
        self.shared.base.net.last_close().map(|(_, reason)| reason)
    }

    /// The subprotocol that the server chose for the newest session; None before the first, or if it chose none.
    #[getter]
    fn subprotocol(&self) -> Option<String> {
        self.shared.base.net.subprotocol()
    }

    /// Seconds from the newest answered ping to its pong, in this session or an earlier one; None before the first.
    #[getter]
    fn latency(&self) -> Option<f64> {
        self.shared.base.net.latency().map(|latency| latency.as_secs_f64())
    }

    /// How many messages of this session may have no answer yet.
    #[getter]
    fn in_flight(&self, py: Python<'_>) -> PyResult<u64> {
        py_result(py, self.shared.base.net.check_process())?;
        Ok(self.shared.base.net.in_flight())
    }

    /// Why it is not open yet, while it is being opened, as far as that is known.
    #[getter]
    fn _why_not_open(&self, py: Python<'_>) -> Option<PyErr> {
        self.shared.base.why_not_open(py)
    }

    /// How many messages, at most, had no answer when their sessions were lost during `finish`.
    #[getter]
    fn _lost_while_finishing(&self) -> u64 {
        self.shared.base.net.lost_while_finishing()
    }

    /// The connection has given up, and nobody was told.
    #[getter]
    fn _has_untold_end(&self) -> bool {
        self.shared.base.net.untold_failure().is_some()
    }

    /// Why the connection has given up, for `finish`, which raises it.
    fn _failure(&self, py: Python<'_>) -> Option<PyErr> {
        self.shared.base.failure(py)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.shared.base.stats(py)
    }

    /// Counts it in these totals, too.
    fn _count_in(&self, totals: &PyTotals) {
        self.shared.base.count_in(totals);
    }

    /// Lets its hooks know it.
    fn _introduce(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().shared.base.introduce(slf.as_any())
    }

    #[pyo3(signature = (*, on_result, on_error, on_timings, on_state_change))]
    fn set_callbacks(
        &self,
        py: Python<'_>,
        on_result: Option<Py<PyAny>>,
        on_error: Option<Py<PyAny>>,
        on_timings: Option<Py<PyAny>>,
        on_state_change: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        py_result(py, self.shared.base.net.check_process())?;
        // Whoever calls them knows the context.
        let callbacks = Callbacks::checked(py, on_result, on_error, on_timings, on_state_change, None)?;
        self.shared.base.set_callbacks(callbacks);
        self.shared.listen_anew();
        Ok(())
    }

    fn send_nowait(&self, py: Python<'_>, input: &Bound<'_, PyAny>) -> PyResult<()> {
        let base = &self.shared.base;
        py_result(py, base.net.check_process())?;
        let message = base.encode(py, input)?;
        match py_result(py, base.net.offer(message, base.lane(py, Lane::Throttled)?))? {
            Offered::Accepted => Ok(()),
            Offered::Full(_) => Err(to_py(py, &queue_full())),
        }
    }

    #[pyo3(signature = (input, timeout = None))]
    fn send(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let base = &self.shared.base;
        py_result(py, base.net.check_process())?;
        let timeout = arguments::timeout(timeout)?;
        let deadline = Deadline::after(timeout);
        let mut message = Some(base.encode(py, input)?);
        if self.offer(py, &mut message, base.send_lane, &deadline)? {
            return Ok(());
        }
        Err(to_py(py, &self.too_late("there was no room in the outgoing queue", timeout).unprocessed()))
    }

    #[pyo3(signature = (input, timeout = None, *, retries = Given::LEFT_OUT, idempotent = Given::LEFT_OUT))]
    #[pyo3(text_signature = "($self, input, timeout=None, *, retries=0, idempotent=False)")]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
        retries: Given<'py>,
        idempotent: Given<'py>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if is_plain_request(&retries, &idempotent)? {
            return slf.get().request_once(py, input, arguments::timeout(timeout)?);
        }
        let again = facade::get(py, "request_blocking")?;
        let (retries, idempotent) = (retries.or_else(py, 0)?, idempotent.or_else(py, false)?);
        again.call1((slf, input, timeout, retries, idempotent)).map(Bound::unbind)
    }

    #[pyo3(signature = (timeout = None))]
    fn recv(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        self.receive(py, arguments::timeout(timeout)?, false)
    }

    #[pyo3(signature = (timeout = None))]
    fn latest(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        self.receive(py, arguments::timeout(timeout)?, true)
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().shared.base.check_receivable()?;
        Ok(slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.receive(py, None, false).map_err(|error| {
            if self.is_normal_end(py, &error) { PyStopIteration::new_err(()) } else { error }
        })
    }

    fn open(&self, py: Python<'_>) -> PyResult<()> {
        self.wait_open(py)
    }

    #[pyo3(signature = (timeout = None))]
    fn drain(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.wait_drained(py, arguments::timeout(timeout)?)
    }

    /// Accepts nothing more.
    fn _begin_finish(&self, py: Python<'_>) -> PyResult<()> {
        py_result(py, self.shared.base.net.check_process())?;
        self.shared.base.net.begin_finish();
        Ok(())
    }

    /// Ends a wait that began with `_begin_finish`. `tells`: what was lost meanwhile is told by whoever waited.
    fn _end_finish(&self, py: Python<'_>, tells: bool) -> PyResult<()> {
        py_result(py, self.shared.base.net.check_process())?;
        self.shared.base.net.end_finish(tells);
        Ok(())
    }

    /// Whether the caller has closed it.
    #[getter]
    fn _is_closed_by_caller(&self) -> bool {
        let net = &self.shared.base.net;
        net.check_process().is_ok() && net.is_closed_by_caller()
    }

    /// `text`, which the server said, without the secrets that it was told.
    fn _without_secrets(&self, py: Python<'_>, text: &str) -> PyResult<String> {
        py_result(py, self.shared.base.net.check_process())?;
        Ok(self.shared.base.net.without_secrets(text))
    }

    /// Reports the errors that nobody was told of: the process leaves.
    fn _report_untold(&self, py: Python<'_>) {
        if self.shared.base.net.check_process().is_ok() {
            self.report_untold(py);
        }
    }

    /// Waits until everything accepted is written, and answered or given up. False when the time is over.
    #[pyo3(signature = (timeout))]
    fn _finished(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.wait_finished(py, timeout)
    }

    #[pyo3(signature = (code = 1000, reason = ""))]
    fn close(&self, py: Python<'_>, code: u16, reason: &str) -> PyResult<()> {
        let net = &self.shared.base.net;
        py_result(py, net.check_process())?;
        net.close_with(code, reason);
        self.wait_closed(py)
    }

    /// Lets what the throttle holds go before its time.
    fn _release(&self, py: Python<'_>) -> PyResult<()> {
        let net = &self.shared.base.net;
        py_result(py, net.check_process())?;
        net.release_throttled();
        Ok(())
    }

    /// The events that the callbacks are called with, for a [`CallbackQueue`]. Does not keep the connection alive.
    fn _events(&self) -> Events {
        Events { shared: self.shared.clone() }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.shared.base.visit(&visit)
    }

    fn __clear__(&self) {
        self.shared.base.clear();
    }
}

impl SyncConnection {
    /// Whether an iteration ends with this error, instead of raising it.
    fn is_normal_end(&self, py: Python<'_>, error: &PyErr) -> bool {
        let class = facade::get(py, "ConnectionClosedError");
        // Not a subclass of it: a session that ended with messages unanswered is news.
        let is_closed = class.is_ok_and(|class| error.get_type(py).is(&class));
        let code = error.value(py).getattr(intern!(py, "code")).and_then(|code| code.extract::<u16>());
        is_closed && code.is_ok_and(|code| self.shared.base.net.is_normal_code(code))
    }
}
