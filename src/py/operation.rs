//! What `send`, `recv`, `request`, `open`, `drain` and `wait_closed` return: a native coroutine.
//!
//! When what it wants is there already, awaiting it costs neither a future nor a turn of the loop. Otherwise it
//! waits on a future that carries nothing, and looks again when it is woken.

use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopAsyncIteration, PyStopIteration, PyValueError},
    intern,
    prelude::*,
    types::PyTuple,
};

use super::{
    connection::Connection,
    line::Line,
    raise::{raised, to_py},
};
use crate::{
    core::{
        inbox::{Item, Numbered, RequestKey},
        outbox::{Lane, Outgoing},
        session::State,
    },
    error::{Error, ErrorKind},
    net::handle::{Offered, Standing},
};

/// What is wanted.
pub(super) enum Kind {
    Send(Option<Outgoing>),
    Request {
        message: Option<Outgoing>,
        id: String,
        key: Option<RequestKey>,
        timeout: Option<f64>,
    },
    Receive {
        iterate: bool,
    },
    /// `before`: how many sockets had been opened when it asked.
    Open {
        before: Option<u64>,
    },
    Drain,
    Closed,
}

impl Kind {
    pub(super) fn request(message: Outgoing, id: String, timeout: Option<f64>) -> PyResult<Self> {
        if timeout.is_some_and(|timeout| timeout.is_nan() || timeout < 0.0) {
            return Err(PyValueError::new_err("timeout must be a number of seconds of at least 0, or None"));
        }
        Ok(Self::Request { message: Some(message), id, key: None, timeout })
    }
}

/// A native coroutine.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Operation {
    connection: Py<Connection>,
    inner: Mutex<Inner>,
}

struct Inner {
    kind: Kind,
    stage: Stage,
    /// Of a request with a timeout.
    timer: Option<Py<PyAny>>,
    expired: bool,
}

enum Stage {
    Fresh,
    /// It waits on this future, in the place that belongs to its kind.
    Waiting(Py<PyAny>),
    /// An asynchronous decoder is running.
    Decoding(Decoding),
    /// A step is being taken.
    Running,
    Done,
}

/// A message in an asynchronous decoder; it goes back if that is cancelled.
struct Decoding {
    iterator: Py<PyAny>,
    item: Numbered<Item>,
    in_line: bool,
}

/// What a step came to.
enum Step {
    Done(Py<PyAny>),
    Yield(Py<PyAny>),
}

/// The place where an operation waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Receivers,
    Senders,
    Request(RequestKey),
    Openers,
    Closers,
    Drainers,
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
        Self::resume(slf)
    }

    fn send(slf: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::resume(slf)
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
        if let Some(step) = this.throw_into_decoder(py, (kind, value, traceback))? {
            return this.yielded(py, Ok(step));
        }
        this.cancel(py);
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

    fn close(&self, py: Python<'_>) {
        self.cancel(py);
    }

    /// The timeout of a request. Called by the loop.
    fn _expire(&self, py: Python<'_>) -> PyResult<()> {
        let future = {
            let mut inner = self.inner.lock();
            inner.expired = true;
            match &inner.stage {
                Stage::Waiting(future) => Some(future.clone_ref(py)),
                _ => None,
            }
        };
        future.map_or(Ok(()), |future| wake(future.bind(py)))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.connection)?;
        if let Some(inner) = self.inner.try_lock() {
            match &inner.stage {
                Stage::Waiting(object) | Stage::Decoding(Decoding { iterator: object, .. }) => {
                    visit.call(object)?
                }
                Stage::Fresh | Stage::Running | Stage::Done => {}
            }
            if let Some(timer) = &inner.timer {
                visit.call(timer)?;
            }
        }
        Ok(())
    }
}

impl Operation {
    pub(super) fn new<'py>(connection: &Bound<'py, Connection>, kind: Kind) -> PyResult<Bound<'py, Self>> {
        let inner = Inner { kind, stage: Stage::Fresh, timer: None, expired: false };
        Bound::new(
            connection.py(),
            Self { connection: connection.clone().unbind(), inner: Mutex::new(inner) },
        )
    }

    fn resume(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let stage = std::mem::replace(&mut this.inner.lock().stage, Stage::Running);
        let step = match stage {
            Stage::Done | Stage::Running => {
                this.inner.lock().stage = Stage::Done;
                return Err(PyRuntimeError::new_err("this operation was awaited already"));
            }
            Stage::Decoding(decoding) => this.decoding(py, decoding, None),
            Stage::Fresh => Self::look(slf, false),
            Stage::Waiting(future) => {
                // Woken by the future, or by somebody who drives coroutines by hand: both look.
                let came = this.arrive(py, &future);
                Self::look(slf, came)
            }
        };
        this.yielded(py, step)
    }

    /// Makes a step's outcome the iterator protocol's.
    fn yielded(&self, py: Python<'_>, step: PyResult<Step>) -> PyResult<Py<PyAny>> {
        match step {
            Ok(Step::Yield(object)) => Ok(object),
            Ok(Step::Done(value)) => {
                self.end(py);
                Err(PyStopIteration::new_err((value,)))
            }
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    fn end(&self, py: Python<'_>) {
        let timer = {
            let mut inner = self.inner.lock();
            inner.stage = Stage::Done;
            inner.timer.take()
        };
        if let Some(timer) = timer {
            // A handle's cancel does not fail.
            let _ = timer.bind(py).call_method0(intern!(py, "cancel"));
        }
    }

    // --- looking ---

    /// Takes what is there, or waits for it. `called`: it stood in line and it is its turn.
    fn look(slf: &Bound<'_, Self>, called: bool) -> PyResult<Step> {
        let (this, py) = (slf.get(), slf.py());
        let connection = this.connection.bind(py);
        raised(py, connection.get().half.net.check_process())?;
        let mut kind = std::mem::replace(&mut this.inner.lock().kind, Kind::Drain);
        let looked = Self::look_for(slf, connection, &mut kind, called);
        this.inner.lock().kind = kind;
        match looked {
            Ok(Looked::Found(value)) => Ok(Step::Done(value)),
            Ok(Looked::Step(step)) => Ok(step),
            Ok(Looked::Wait(place)) => Self::wait(slf, place, called),
            Err(error) => {
                this.give_up(called);
                Err(error)
            }
        }
    }

    /// It ends with an error: whoever is next in its line gets the turn, and a late answer is nobody's.
    fn give_up(&self, called: bool) {
        let native = self.connection.get();
        if called {
            match self.place() {
                Place::Receivers => native.hand_on(|waiting| &mut waiting.receivers),
                Place::Senders => native.hand_on(|waiting| &mut waiting.senders),
                _ => {}
            }
        }
        self.forget_request();
    }

    /// The answer to this request, should it come, is an ordinary result.
    fn forget_request(&self) {
        let key = match &mut self.inner.lock().kind {
            Kind::Request { key, .. } => key.take(),
            _ => None,
        };
        if let Some(key) = key {
            self.connection.get().half.net.forget_request(key);
        }
    }

    fn look_for(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, Connection>,
        kind: &mut Kind,
        called: bool,
    ) -> PyResult<Looked> {
        let (this, py) = (slf.get(), slf.py());
        let native = connection.get();
        let net = &native.half.net;
        match kind {
            Kind::Receive { iterate } => this.look_for_result(connection, *iterate, called),
            Kind::Send(message) => {
                Connection::bind(connection, false)?;
                match Self::offer(connection, message, Lane::Throttled, called)? {
                    true => Ok(Looked::Found(py.None())),
                    false => Ok(Looked::Wait(Place::Senders)),
                }
            }
            Kind::Request { message, id, key, timeout } => {
                if this.inner.lock().expired {
                    let seconds = timeout.unwrap_or_default();
                    return Err(to_py(py, &request_timeout(seconds)));
                }
                if message.is_some() {
                    Connection::bind(connection, true)?;
                    if key.is_none() {
                        let fresh = raised(py, net.add_request(id))?;
                        *key = Some(fresh);
                        if let Some(message) = message {
                            message.request = Some(fresh);
                        }
                        Self::start_timer(slf, connection, *timeout)?;
                    }
                    if !Self::offer(connection, message, Lane::Direct, called)? {
                        return Ok(Looked::Wait(Place::Senders));
                    }
                }
                let Some(key) = *key else { return Err(PyRuntimeError::new_err("the request was lost")) };
                match net.take_answer(key) {
                    None => Ok(Looked::Wait(Place::Request(key))),
                    Some(Err(error)) => Err(to_py(py, &error)),
                    Some(Ok(item)) => this.decode(connection, item, false).map(Looked::Step),
                }
            }
            Kind::Open { before } => {
                Connection::bind(connection, true)?;
                let before = if let Some(before) = *before {
                    before
                } else {
                    let sockets = *before.insert(net.standing().sockets);
                    raised(py, net.open(true))?;
                    sockets
                };
                let Standing { state, sockets } = net.standing();
                match state {
                    _ if sockets > before => Ok(Looked::Found(py.None())),
                    State::Active => Ok(Looked::Found(py.None())),
                    State::Closing | State::Closed => {
                        let error = net.failure().unwrap_or_else(|| Error::closed(1000, ""));
                        Err(to_py(py, &error))
                    }
                    _ => Ok(Looked::Wait(Place::Openers)),
                }
            }
            Kind::Drain if net.is_drained() => Ok(Looked::Found(py.None())),
            Kind::Drain => Ok(Looked::Wait(Place::Drainers)),
            Kind::Closed => match net.state() {
                State::Closed => Ok(Looked::Found(py.None())),
                _ => Ok(Looked::Wait(Place::Closers)),
            },
        }
    }

    fn look_for_result(
        &self,
        connection: &Bound<'_, Connection>,
        iterate: bool,
        called: bool,
    ) -> PyResult<Looked> {
        let py = connection.py();
        let native = connection.get();
        if !called && !native.waiting.lock().receivers.is_free() {
            return Ok(Looked::Wait(Place::Receivers));
        }
        let Some(item) = native.half.net.pop() else {
            return match native.half.net.end() {
                None => {
                    Connection::bind(connection, true)?;
                    Ok(Looked::Wait(Place::Receivers))
                }
                Some(error) => Err(ended(py, &error, iterate)),
            };
        };
        let step = match &item.what {
            Item::Result(_) => self.decode(connection, item, true),
            Item::Error(error) => Err(to_py(py, error)),
            Item::End(error) => Err(ended(py, error, iterate)),
        };
        // With an asynchronous decoder the next in line must wait for this one, or order would be lost.
        match step {
            Ok(Step::Yield(_)) => {}
            _ if called => native.hand_on(|waiting| &mut waiting.receivers),
            _ => {}
        }
        step.map(Looked::Step)
    }

    /// Offers the message; true when it was accepted.
    fn offer(
        connection: &Bound<'_, Connection>,
        message: &mut Option<Outgoing>,
        lane: Lane,
        called: bool,
    ) -> PyResult<bool> {
        let py = connection.py();
        let native = connection.get();
        if !called && !native.waiting.lock().senders.is_free() {
            return Ok(false);
        }
        let Some(offered) = message.take() else { return Ok(true) };
        let outcome = raised(py, native.half.net.offer(offered, lane));
        let accepted = match outcome {
            Ok(Offered::Accepted) => Ok(true),
            Ok(Offered::Full(back)) => {
                *message = Some(back);
                return Ok(false);
            }
            Err(error) => Err(error),
        };
        if called {
            native.hand_on(|waiting| &mut waiting.senders);
        }
        accepted
    }

    // --- decoding ---

    /// Decodes a result. `in_line`: it is a receiver's, and the next one must wait for it.
    fn decode(
        &self,
        connection: &Bound<'_, Connection>,
        item: Numbered<Item>,
        in_line: bool,
    ) -> PyResult<Step> {
        let (native, py) = (connection.get(), connection.py());
        let Item::Result(received) = &item.what else {
            return Err(PyRuntimeError::new_err("only results are decoded"));
        };
        let (object, is_async) = native.half.decode(py, received)?;
        if !is_async {
            return Ok(Step::Done(object));
        }
        if in_line {
            native.waiting.lock().receivers.occupy();
        }
        let iterator = object.bind(py).call_method0(intern!(py, "__await__"))?.unbind();
        self.decoding(py, Decoding { iterator, item, in_line }, None)
    }

    /// Drives an asynchronous decoder; `thrown` is what was thrown into this coroutine.
    fn decoding(
        &self,
        py: Python<'_>,
        decoding: Decoding,
        thrown: Option<Bound<'_, PyTuple>>,
    ) -> PyResult<Step> {
        let cancelling = thrown.is_some();
        let iterator = decoding.iterator.bind(py);
        let step = match thrown {
            None => iterator.call_method0(intern!(py, "__next__")),
            Some(arguments) => iterator.call_method1(intern!(py, "throw"), arguments),
        };
        let error = match step {
            Ok(yielded) => {
                self.inner.lock().stage = Stage::Decoding(decoding);
                return Ok(Step::Yield(yielded.unbind()));
            }
            Err(error) => error,
        };
        let native = self.connection.bind(py).get();
        let outcome = if error.is_instance_of::<PyStopIteration>(py) {
            Ok(Step::Done(error.value(py).getattr(intern!(py, "value"))?.unbind()))
        } else if cancelling || !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
            // Cancelled: the message has not been delivered.
            native.half.net.unpop(decoding.item);
            Err(error)
        } else {
            Err(super::half::decoder_failed(py, error))
        };
        if decoding.in_line {
            native.hand_on(|waiting| &mut waiting.receivers);
        }
        outcome
    }

    fn throw_into_decoder(
        &self,
        py: Python<'_>,
        (kind, value, traceback): (&Bound<'_, PyAny>, Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
    ) -> PyResult<Option<Step>> {
        let stage = {
            let mut inner = self.inner.lock();
            if !matches!(inner.stage, Stage::Decoding(_)) {
                return Ok(None);
            }
            std::mem::replace(&mut inner.stage, Stage::Running)
        };
        let Stage::Decoding(decoding) = stage else { return Ok(None) };
        let arguments = match (value, traceback) {
            (None, _) => PyTuple::new(py, [kind])?,
            (Some(value), None) => PyTuple::new(py, [kind, value])?,
            (Some(value), Some(traceback)) => PyTuple::new(py, [kind, value, traceback])?,
        };
        match self.decoding(py, decoding, Some(arguments)) {
            Ok(step) => Ok(Some(step)),
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    // --- waiting ---

    fn wait(slf: &Bound<'_, Self>, place: Place, returning: bool) -> PyResult<Step> {
        let (this, py) = (slf.get(), slf.py());
        let connection = this.connection.bind(py);
        Connection::bind(connection, true)?;
        let native = connection.get();
        let future = native.event_loop(py)?.call_method0(intern!(py, "create_future"))?;
        // What `await future` would do before it hands the future to the task.
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        let future = future.unbind();
        {
            let mut waiting = native.waiting.lock();
            let waits = future.clone_ref(py);
            match place {
                Place::Receivers => waiting.receivers.join(waits, returning),
                Place::Senders => waiting.senders.join(waits, returning),
                Place::Request(key) => {
                    waiting.requests.insert(key, waits);
                }
                Place::Openers => waiting.openers.push(waits),
                Place::Closers => waiting.closers.push(waits),
                Place::Drainers => waiting.drainers.push(waits),
            }
            if returning {
                match place {
                    Place::Receivers => waiting.receivers.hand_on(),
                    Place::Senders => waiting.senders.hand_on(),
                    _ => {}
                }
            }
        }
        this.inner.lock().stage = Stage::Waiting(future.clone_ref(py));
        native.rearm();
        Ok(Step::Yield(future))
    }

    /// Where this operation waits now.
    fn place(&self) -> Place {
        match &self.inner.lock().kind {
            Kind::Receive { .. } => Place::Receivers,
            Kind::Request { message: None, key: Some(key), .. } => Place::Request(*key),
            Kind::Send(_) | Kind::Request { .. } => Place::Senders,
            Kind::Open { .. } => Place::Openers,
            Kind::Drain => Place::Drainers,
            Kind::Closed => Place::Closers,
        }
    }

    /// Leaves the place where it waited. True when it had been called out of a line: the turn is its own.
    fn arrive(&self, _py: Python<'_>, future: &Py<PyAny>) -> bool {
        let native = self.connection.get();
        let place = self.place();
        let mut waiting = native.waiting.lock();
        let out_of = |line: &mut Line| !line.leave(future);
        let remove = |list: &mut Vec<Py<PyAny>>| list.retain(|other| !other.is(future));
        match place {
            Place::Receivers => out_of(&mut waiting.receivers),
            Place::Senders => out_of(&mut waiting.senders),
            Place::Request(key) => {
                waiting.requests.remove(&key);
                false
            }
            Place::Openers => {
                remove(&mut waiting.openers);
                false
            }
            Place::Closers => {
                remove(&mut waiting.closers);
                false
            }
            Place::Drainers => {
                remove(&mut waiting.drainers);
                false
            }
        }
    }

    /// Nobody waits for the outcome any more: nothing is taken, and whoever is next gets the turn.
    fn cancel(&self, py: Python<'_>) {
        let stage = std::mem::replace(&mut self.inner.lock().stage, Stage::Running);
        let native = self.connection.get();
        match stage {
            Stage::Waiting(future) => {
                if self.arrive(py, &future) {
                    match self.place() {
                        Place::Receivers => native.hand_on(|waiting| &mut waiting.receivers),
                        Place::Senders => native.hand_on(|waiting| &mut waiting.senders),
                        _ => {}
                    }
                }
            }
            Stage::Decoding(decoding) => {
                native.half.net.unpop(decoding.item);
                if decoding.in_line {
                    native.hand_on(|waiting| &mut waiting.receivers);
                }
            }
            Stage::Fresh | Stage::Running | Stage::Done => {}
        }
        self.forget_request();
        self.end(py);
    }

    fn start_timer(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, Connection>,
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
}

impl Drop for Operation {
    /// As with coroutines: a message that was never sent is a mistake that should be seen.
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let unsent = matches!(&inner.kind, Kind::Send(Some(_)) | Kind::Request { message: Some(_), .. });
        if unsent && matches!(inner.stage, Stage::Fresh) {
            let _ = Python::try_attach(|py| {
                let pending = PyErr::take(py);
                let text = c"a send or request was never awaited: its message was not sent";
                if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), text, 1) {
                    error.write_unraisable(py, None);
                }
                if let Some(pending) = pending {
                    pending.restore(py);
                }
            });
        }
    }
}

/// What a look came to.
enum Looked {
    Found(Py<PyAny>),
    Step(Step),
    Wait(Place),
}

/// The error of a receiver at the end; a normal end ends an iteration without one.
fn ended(py: Python<'_>, error: &Error, iterate: bool) -> PyErr {
    if iterate && matches!(error.kind, ErrorKind::Closed { code: 1000, .. }) {
        return PyStopAsyncIteration::new_err(());
    }
    to_py(py, error)
}

pub(super) fn request_timeout(seconds: f64) -> Error {
    Error::new(ErrorKind::Timeout, format!("the request was not answered within {seconds} s"))
}

/// Resolves a future that says "look again", unless it is done or cancelled.
pub(super) fn wake(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}
