//! `_core.Connection`: a connection for asyncio.
//!
//! Whoever waits does so on a plain asyncio future, which carries nothing: it only says "look again". What is
//! there is taken by the waiting coroutine itself, so that cancelling it can lose nothing.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyResourceWarning, PyRuntimeError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyString},
};

use super::{
    client::Client,
    half::{Callbacks, Half},
    line::Line,
    operation::{Kind, Operation},
    raise::{no_running_loop, raised, to_py},
    wake::{Dispatcher, Place},
};
use crate::{
    core::{
        inbox::RequestKey,
        outbox::{Lane, Outgoing},
        session::State,
    },
    error::{Error, ErrorKind},
    net::handle::{Interest, Notify, Offered, Standing},
};

/// A connection for asyncio; the public class derives from it.
#[pyclass(frozen, subclass, weakref, module = "fal_realtime._core")]
pub(super) struct Connection {
    pub(super) half: Half,
    pub(super) waiting: Mutex<Waiting>,
    home: Mutex<Option<Home>>,
    context: Py<PyAny>,
}

/// The event loop that a connection is used from.
struct Home {
    event_loop: Py<PyAny>,
    dispatcher: Py<Dispatcher>,
    place: Arc<Place>,
}

/// Who waits for what. Never locked while Python code runs.
pub(super) struct Waiting {
    pub(super) receivers: Line,
    pub(super) senders: Line,
    pub(super) requests: HashMap<RequestKey, Py<PyAny>>,
    /// They wait for a state, or for nothing to be pending; each looks for itself.
    pub(super) openers: Vec<Py<PyAny>>,
    pub(super) closers: Vec<Py<PyAny>>,
    pub(super) drainers: Vec<Py<PyAny>>,
    /// The asynchronous callback that is running; delivery goes on after it.
    pub(super) running: Option<Py<PyAny>>,
    /// Where it was last seen to stand.
    pub(super) seen: Standing,
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (client, **options))]
    fn new(py: Python<'_>, client: &Client, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let half = Half::new(py, client, options.unwrap_or(&empty))?;
        let context =
            py.import(intern!(py, "contextvars"))?.call_method0(intern!(py, "copy_context"))?.unbind();
        let waiting = Waiting {
            receivers: Line::default(),
            senders: Line::default(),
            requests: HashMap::new(),
            openers: Vec::new(),
            closers: Vec::new(),
            drainers: Vec::new(),
            running: None,
            seen: Standing::NEW,
        };
        Ok(Self { half, waiting: Mutex::new(waiting), home: Mutex::new(None), context })
    }

    #[getter]
    fn app(&self) -> &str {
        &self.half.app
    }

    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        raised(py, self.half.net.check_process())?;
        Ok(self.half.state().name())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.half.stats(py)
    }

    #[pyo3(signature = (*, on_result, on_error, on_timings, on_state_change))]
    fn set_callbacks(
        slf: &Bound<'_, Self>,
        on_result: Option<Py<PyAny>>,
        on_error: Option<Py<PyAny>>,
        on_timings: Option<Py<PyAny>>,
        on_state_change: Option<Py<PyAny>>,
    ) {
        let this = slf.get();
        this.half.set_callbacks(Callbacks {
            result: on_result,
            error: on_error,
            timings: on_timings,
            state_change: on_state_change,
        });
        this.rearm();
    }

    fn send_nowait(slf: &Bound<'_, Self>, input: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = slf.get().half.encode(slf.py(), input)?;
        Self::offer_now(slf, message)
    }

    fn send<'py>(slf: &Bound<'py, Self>, input: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Operation>> {
        let message = slf.get().half.encode(slf.py(), input)?;
        Operation::new(slf, Kind::Send(Some(message)))
    }

    #[pyo3(signature = (input, *, timeout = None))]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, Operation>> {
        let (message, id) = slf.get().half.encode_request(slf.py(), input)?;
        Operation::new(slf, Kind::request(message, id, timeout)?)
    }

    fn recv<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        slf.get().half.check_receivable()?;
        Operation::new(slf, Kind::Receive { iterate: false })
    }

    fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().half.check_receivable()?;
        Ok(slf)
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        slf.get().half.check_receivable()?;
        Operation::new(slf, Kind::Receive { iterate: true })
    }

    fn open<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, Kind::Open { before: None })
    }

    fn drain<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, Kind::Drain)
    }

    fn wait_closed<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, Kind::Closed)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        raised(py, self.half.net.check_process())?;
        self.half.net.close();
        Ok(())
    }

    fn _send_encoded_nowait(slf: &Bound<'_, Self>, payload: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = slf.get().half.encoded(slf.py(), payload)?;
        Self::offer_now(slf, message)
    }

    fn _send_encoded<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Operation>> {
        let message = slf.get().half.encoded(slf.py(), payload)?;
        Operation::new(slf, Kind::Send(Some(message)))
    }

    #[pyo3(signature = (payload, request_id, timeout))]
    fn _request_encoded<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
        request_id: &Bound<'py, PyString>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, Operation>> {
        let message = slf.get().half.encoded(slf.py(), payload)?;
        Operation::new(slf, Kind::request(message, request_id.to_str()?.to_owned(), timeout)?)
    }

    /// An asynchronous callback is done: delivery goes on.
    fn _callback_done(slf: &Bound<'_, Self>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        let running = this.waiting.lock().running.take();
        drop(running);
        super::delivery::report_task(slf, task)?;
        this.look_again();
        Ok(())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.half.visit(&visit)?;
        visit.call(&self.context)?;
        if let Some(waiting) = self.waiting.try_lock() {
            let lines = waiting.receivers.iter().chain(waiting.senders.iter());
            let others = waiting.requests.values().chain(&waiting.openers).chain(&waiting.closers);
            for future in lines.chain(others).chain(&waiting.drainers).chain(&waiting.running) {
                visit.call(future)?;
            }
        }
        if let Some(bound) = self.home.try_lock()
            && let Some(bound) = &*bound
        {
            visit.call(&bound.event_loop)?;
            visit.call(&bound.dispatcher)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.half.clear();
    }
}

impl Connection {
    /// The contextvars of `connect`.
    pub(super) fn context<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.context.bind(py)
    }

    /// Binds the connection to the running loop, if it is not bound yet. `strict`: it must be the running one.
    pub(super) fn bind(slf: &Bound<'_, Self>, strict: bool) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        raised(py, this.half.net.check_process())?;
        let bound = this.home.lock().as_ref().map(|bound| bound.event_loop.clone_ref(py));
        if let Some(event_loop) = bound {
            if strict && !running_loop(py)?.is(&event_loop) {
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
        let place = Dispatcher::add(&dispatcher, slf)?;
        let mut bound = this.home.lock();
        if bound.is_some() {
            drop(bound);
            dispatcher.get().remove(&place);
            return Self::bind(slf, strict);
        }
        this.half.slot.set(&event_loop);
        this.half.net.set_notify(place.clone());
        *bound = Some(Home { event_loop: event_loop.unbind(), dispatcher: dispatcher.unbind(), place });
        drop(bound);
        this.rearm();
        Ok(())
    }

    /// The loop, once bound.
    pub(super) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bound = self.home.lock();
        bound.as_ref().map(|bound| bound.event_loop.bind(py).clone()).ok_or_else(no_running_loop)
    }

    fn offer_now(slf: &Bound<'_, Self>, message: Outgoing) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        Self::bind(slf, false)?;
        // Those who wait for room come first.
        let crowded = !this.waiting.lock().senders.is_free();
        let offered = if crowded {
            Offered::Full(message)
        } else {
            raised(py, this.half.net.offer(message, Lane::Throttled))?
        };
        match offered {
            Offered::Accepted => Ok(()),
            Offered::Full(_) => Err(to_py(py, &queue_full())),
        }
    }

    /// The turn in a line goes on to the next.
    pub(super) fn hand_on(&self, line: impl FnOnce(&mut Waiting) -> &mut Line) {
        let mut waiting = self.waiting.lock();
        let line = line(&mut waiting);
        line.hand_on();
        let somebody_waits = line.is_waiting();
        drop(waiting);
        // At the end nothing more will come that would wake the next one.
        if somebody_waits && (self.arm() || self.half.state() == State::Closed) {
            self.look_again();
        }
    }

    /// What is waited for has changed. If some of it is there already, the loop is made to look again.
    pub(super) fn rearm(&self) {
        if self.arm() {
            self.look_again();
        }
    }

    /// Tells the network half what is waited for; answers whether some of it is there already.
    pub(super) fn arm(&self) -> bool {
        let (has_on_result, wants_notices) = (self.half.has_on_result(), self.half.wants_notices());
        let waiting = self.waiting.lock();
        let mut interest = Interest::NONE;
        let idle = waiting.running.is_none();
        for (wanted, kind) in [
            (waiting.receivers.is_waiting() || (has_on_result && idle), Interest::ITEMS),
            ((wants_notices || has_on_result) && idle, Interest::NOTICES),
            (!waiting.requests.is_empty(), Interest::ANSWERS),
            (waiting.senders.is_waiting(), Interest::ROOM),
            (!waiting.drainers.is_empty(), Interest::DRAINED),
            // The end of the connection is nothing in the ring, and may come while a receiver begins to wait.
            (waiting.receivers.is_waiting(), Interest::STATE),
            (!waiting.openers.is_empty() || !waiting.closers.is_empty(), Interest::STATE),
        ] {
            if wanted {
                interest = interest.and(kind);
            }
        }
        let seen = waiting.seen;
        drop(waiting);
        self.half.net.arm(interest, interest, seen)
    }

    /// Lets the loop call [`Connection::hand_out`].
    pub(super) fn look_again(&self) {
        let place = self.home.lock().as_ref().map(|bound| bound.place.clone());
        if let Some(place) = place {
            place.notify();
        }
    }

    /// Hands out what is there. Called on the loop, by its dispatcher.
    pub(super) fn hand_out(slf: &Bound<'_, Self>) {
        super::delivery::hand_out(slf);
    }
}

impl Drop for Connection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        if self.half.net.check_process().is_err() {
            return;
        }
        let state = self.half.state();
        self.half.net.close();
        let _ = Python::try_attach(|py| {
            if let Some(bound) = self.home.get_mut() {
                bound.dispatcher.get().remove(&bound.place);
            }
            if !matches!(state, State::Idle | State::Closed | State::Closing) {
                warn_abandoned(py, &self.half.app);
            }
        });
    }
}

pub(super) fn warn_abandoned(py: Python<'_>, app: &str) {
    // A destructor may run while an exception is on its way.
    let pending = PyErr::take(py);
    let message = format!("the connection to {app} was never closed; use `async with`, close() or aclose()");
    if let Ok(message) = std::ffi::CString::new(message)
        && let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1)
    {
        error.write_unraisable(py, None);
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}

pub(super) fn queue_full() -> Error {
    Error::new(
        ErrorKind::BufferFull,
        format!(
            "the outgoing queue is full ({} messages or {} MiB); use `await send(…)` to wait for room, or \
             max_buffering to drop the oldest",
            crate::core::outbox::MAX_QUEUED,
            crate::core::outbox::MAX_QUEUED_BYTES >> 20
        ),
    )
}

/// The running event loop, or None.
pub(super) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FUNCTION.import(py, "asyncio.events", "_get_running_loop")?.call0()
}
