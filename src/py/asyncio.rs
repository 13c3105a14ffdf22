//! `_core.Connection`: a connection for asyncio, as Python calls it.
//!
//! Whoever waits does so on a plain asyncio future, which carries nothing: it only says "poll again". What is
//! there is taken by the waiting coroutine itself, so that cancelling it can lose nothing.

use pyo3::{prelude::*, types::PyDict};

use super::{
    arguments::Given,
    base::{Base, Callbacks},
    callbacks,
    client::Client,
    connection::AsyncConnection,
    contextvars,
    errors::py_result,
    operation::{Operation, OperationKind, Wanted},
    stats::PyTotals,
};

mod abandoned;
mod operations;

#[pymethods]
impl AsyncConnection {
    #[new]
    #[pyo3(signature = (client, **options))]
    fn new(py: Python<'_>, client: &Client, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let base = Base::new(py, client, options.unwrap_or(&empty), Some(contextvars::current(py)?))?;
        Ok(Self::with(base, callbacks::hand_out_soon))
    }

    /// The app id with its path, such as `fal-ai/fast-lcm-diffusion/realtime`; in raw mode the URL without its query.
    #[getter]
    fn app(&self) -> &str {
        &self.base.app
    }

    /// The state of the connection: a `ConnectionState`.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        py_result(py, self.base.net.check_process())?;
        Ok(self.base.state().name())
    }

    /// Why the newest attempt to open, or session, failed; a session that opens does not clear it.
    #[getter]
    fn last_error(&self, py: Python<'_>) -> Option<PyErr> {
        self.base.last_error(py)
    }

    /// The close code (RFC 6455, section 7.4): the caller's own; else that of the newest session that is over, 1006
    /// without a close frame.
    #[getter]
    fn close_code(&self) -> Option<u16> {
        self.base.net.last_close().map(|(code, _)| code)
    }

    /// The close reason that belongs to it.
    #[getter]
    fn close_reason(&self) -> Option<String> {
        self.base.net.last_close().map(|(_, reason)| reason)
    }

    /// The subprotocol that the server chose for the newest session; None before the first, or if it chose none.
    #[getter]
    fn subprotocol(&self) -> Option<String> {
        self.base.net.subprotocol()
    }

    /// Seconds from the newest answered ping to its pong, in this session or an earlier one; None before the first.
    #[getter]
    fn latency(&self) -> Option<f64> {
        self.base.net.latency().map(|latency| latency.as_secs_f64())
    }

    /// How many messages of this session may have no answer yet.
    #[getter]
    fn in_flight(&self, py: Python<'_>) -> PyResult<u64> {
        py_result(py, self.base.net.check_process())?;
        Ok(self.base.net.in_flight())
    }

    /// Why it is not open yet, while it is being opened, as far as that is known.
    #[getter]
    fn _why_not_open(&self, py: Python<'_>) -> Option<PyErr> {
        self.base.why_not_open(py)
    }

    /// How many messages, at most, had no answer when their sessions were lost during `finish`.
    #[getter]
    fn _lost_while_finishing(&self) -> u64 {
        self.base.net.lost_while_finishing()
    }

    /// The connection has given up, and nobody was told.
    #[getter]
    fn _has_untold_end(&self) -> bool {
        self.base.net.untold_failure().is_some()
    }

    /// Why the connection has given up, for `finish`, which raises it.
    fn _failure(&self, py: Python<'_>) -> Option<PyErr> {
        self.base.failure(py)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.base.stats(py)
    }

    /// Counts it in these totals, too.
    fn _count_in(&self, totals: &PyTotals) {
        self.base.count_in(totals);
    }

    /// Lets its hooks know it.
    fn _introduce(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().base.introduce(slf.as_any())
    }

    #[pyo3(signature = (*, on_result, on_error, on_timings, on_state_change))]
    fn set_callbacks(
        slf: &Bound<'_, Self>,
        on_result: Option<Py<PyAny>>,
        on_error: Option<Py<PyAny>>,
        on_timings: Option<Py<PyAny>>,
        on_state_change: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        py_result(slf.py(), this.base.net.check_process())?;
        let context = Some(contextvars::current(slf.py())?);
        let callbacks =
            Callbacks::checked(slf.py(), on_result, on_error, on_timings, on_state_change, context)?;
        this.base.set_callbacks(callbacks);
        this.rearm();
        if this.waiting.lock().receivers.is_waiting() && this.base.has_on_result() {
            // They are told that results go there now.
            this.wake_loop();
        }
        Ok(())
    }

    fn send_nowait(slf: &Bound<'_, Self>, input: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = slf.get().base.encode(slf.py(), input)?;
        Self::offer_now(slf, message)
    }

    fn send<'py>(slf: &Bound<'py, Self>, input: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Operation>> {
        Self::sent(slf, slf.get().base.encode(slf.py(), input))
    }

    #[pyo3(signature = (input, *, timeout = None, retries = Given::LEFT_OUT, idempotent = Given::LEFT_OUT))]
    #[pyo3(text_signature = "($self, input, *, timeout=None, retries=0, idempotent=False)")]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
        retries: Given<'py>,
        idempotent: Given<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::requested(slf, input, timeout, retries, idempotent)
    }

    #[pyo3(signature = (*, timeout = None))]
    fn recv<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Operation>> {
        Self::receive(slf, "recv", Wanted::Next, timeout)
    }

    #[pyo3(signature = (*, timeout = None))]
    fn latest<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Operation>> {
        Self::receive(slf, "latest", Wanted::Newest, timeout)
    }

    fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().base.check_receivable()?;
        Ok(slf)
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Self::receive(slf, "__anext__", Wanted::Iterated, None)
    }

    fn open<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, OperationKind::Open { opening: None })
    }

    fn drain<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, OperationKind::Drain { told_before: None })
    }

    fn wait_closed<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, OperationKind::Closed)
    }

    /// Whether it belongs to a loop that is closed, so that nobody can use it any more.
    fn _is_stranded(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_stranded(py)
    }

    /// Accepts nothing more.
    fn _begin_finish(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::bind(slf, true)?;
        slf.get().base.net.begin_finish();
        Ok(())
    }

    /// Ends a wait that began with `_begin_finish`. `tells`: what was lost meanwhile is told by whoever waited.
    fn _end_finish(&self, py: Python<'_>, tells: bool) -> PyResult<()> {
        py_result(py, self.base.net.check_process())?;
        self.base.net.end_finish(tells);
        Ok(())
    }

    /// Whether the caller has closed it.
    #[getter]
    fn _is_closed_by_caller(&self) -> bool {
        self.base.net.check_process().is_ok() && self.base.net.is_closed_by_caller()
    }

    /// `text`, which the server said, without the secrets that it was told.
    fn _without_secrets(&self, py: Python<'_>, text: &str) -> PyResult<String> {
        py_result(py, self.base.net.check_process())?;
        Ok(self.base.net.without_secrets(text))
    }

    /// Reports the errors that nobody took: the process leaves. What has ended the connection may have been the end of
    /// its loop.
    fn _report_untold(&self, py: Python<'_>) {
        if self.base.net.check_process().is_ok() {
            self.report_untold(py, false);
        }
    }

    /// Waits until everything accepted is written, and answered or given up.
    fn _finished<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, OperationKind::Finish)
    }

    #[pyo3(signature = (code = 1000, reason = ""))]
    fn close(&self, py: Python<'_>, code: u16, reason: &str) -> PyResult<()> {
        py_result(py, self.base.net.check_process())?;
        self.base.net.close_with(code, reason);
        Ok(())
    }

    fn _send_encoded_nowait(slf: &Bound<'_, Self>, payload: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = slf.get().base.encoded(slf.py(), payload)?;
        Self::offer_now(slf, message)
    }

    fn _send_encoded<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Operation>> {
        Self::sent(slf, slf.get().base.encoded(slf.py(), payload))
    }

    /// A copy of an input of a request with its `request_id`, and that.
    fn _with_request_id<'py>(
        &self,
        py: Python<'py>,
        input: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyDict>, String)> {
        self.base.with_request_id(py, input)
    }

    #[pyo3(signature = (payload, request_id, timeout))]
    fn _request_encoded<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
        request_id: &str,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Operation>> {
        Self::requested_encoded(slf, payload, request_id, timeout)
    }

    /// Goes on with the delivery when an asynchronous callback is done.
    fn _callback_done(slf: &Bound<'_, Self>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        callbacks::callback_done(slf, task)
    }

    /// The asynchronous callback that is running, as a task.
    #[getter]
    fn _running_callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.waiting.lock().running.as_ref().map(|task| task.clone_ref(py))
    }

    /// Whether it is bound to another event loop than the running one.
    fn _is_elsewhere(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_elsewhere(py)
    }

    /// Takes note that the asynchronous decoder of a received result is done.
    fn _decoded(slf: &Bound<'_, Self>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::decoder_done(slf, task)
    }

    /// Lets what the throttle holds go before its time.
    fn _release(&self, py: Python<'_>) -> PyResult<()> {
        py_result(py, self.base.net.check_process())?;
        self.base.net.release_throttled();
        Ok(())
    }

    /// Lets what was sent go: the turn of the loop is over in which messages came one after the other.
    fn _uncork(&self) {
        self.uncork();
    }

    /// Calls the callbacks, whose turn of the loop has come.
    fn _call_back(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().waiting.lock().scheduled = false;
        callbacks::hand_out(slf).map(drop)
    }

    /// Hands out what is there; answers whether there is more. What waits for an asynchronous callback does not count.
    fn _deliver(slf: &Bound<'_, Self>) -> PyResult<bool> {
        callbacks::hand_out(slf)
    }

    /// How many results, and how many other events, callbacks have not been called with.
    fn _left(&self) -> (usize, usize) {
        let (results, others) = self.base.net.left();
        (if self.base.has_on_result() { results } else { 0 }, others)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        self.base.clear();
    }
}
