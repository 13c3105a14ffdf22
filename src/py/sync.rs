//! `_core.SyncConnection`: the same connection in blocking form, for any thread.
//!
//! Every wait is done without the GIL and looks for signals twenty times a second, so that Ctrl-C works.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use pyo3::{
    exceptions::PyStopIteration,
    intern,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    client::Client,
    connection::{queue_full, warn_abandoned},
    half::{Callbacks, Half},
    operation::request_timeout,
    raise::{raised, to_py},
};
use crate::{
    core::{
        inbox::{Item, Next, Notice},
        outbox::Lane,
        session::State,
    },
    error::{Error, ErrorKind},
    net::handle::{Interest, Notify, Offered},
};

/// How often a wait looks for signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// The kinds of thing that threads wait for.
const KINDS: [Interest; 6] = [
    Interest::ITEMS,
    Interest::NOTICES,
    Interest::ANSWERS,
    Interest::ROOM,
    Interest::DRAINED,
    Interest::STATE,
];

/// Where the threads of a connection wait.
#[derive(Default)]
struct Bell {
    waiting: Mutex<Waiters>,
    condition: Condvar,
}

#[derive(Default)]
struct Waiters {
    /// How many wait for each of [`KINDS`].
    counts: [usize; KINDS.len()],
    rings: u64,
}

impl Waiters {
    fn add(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count += usize::from(interest.meets(kind));
        }
    }

    fn remove(&mut self, interest: Interest) {
        for (count, kind) in self.counts.iter_mut().zip(KINDS) {
            *count -= usize::from(interest.meets(kind));
        }
    }

    fn interest(&self) -> Interest {
        let waited_for = self.counts.iter().zip(KINDS).filter(|(count, _)| **count > 0);
        waited_for.fold(Interest::NONE, |all, (_, kind)| all.and(kind))
    }
}

impl Notify for Bell {
    fn notify(&self) {
        self.waiting.lock().rings += 1;
        self.condition.notify_all();
    }
}

/// A connection in blocking form; the public class derives from it.
#[pyclass(frozen, subclass, weakref, module = "fal_realtime._core")]
pub(super) struct SyncConnection {
    shared: Arc<Shared>,
}

/// What a connection and the thread that calls its callbacks share.
struct Shared {
    half: Half,
    bell: Arc<Bell>,
}

/// A point in time to give up at.
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(py: Python<'_>, timeout: Option<f64>) -> PyResult<Self> {
        let Some(timeout) = timeout else { return Ok(Self(None)) };
        if timeout.is_nan() || timeout < 0.0 {
            let message = "timeout must be a number of seconds of at least 0, or None";
            return Err(to_py(py, &Error::new(ErrorKind::InvalidOption, message)));
        }
        Ok(Self(
            Duration::try_from_secs_f64(timeout).ok().and_then(|timeout| Instant::now().checked_add(timeout)),
        ))
    }

    fn is_over(&self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }
}

impl Shared {
    /// Waits until `look` finds something; `None` when the time is over.
    fn wait<'py, T>(
        &self,
        py: Python<'py>,
        interest: Interest,
        deadline: &Deadline,
        mut look: impl FnMut(Python<'py>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        if let Some(found) = look(py)? {
            return Ok(Some(found));
        }
        self.bell.waiting.lock().add(interest);
        let outcome = self.wait_in_line(py, interest, deadline, &mut look);
        self.bell.waiting.lock().remove(interest);
        outcome
    }

    fn wait_in_line<'py, T>(
        &self,
        py: Python<'py>,
        interest: Interest,
        deadline: &Deadline,
        look: &mut impl FnMut(Python<'py>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        loop {
            let (rings, everybody) = {
                let waiting = self.bell.waiting.lock();
                (waiting.rings, waiting.interest())
            };
            let seen = self.half.net.standing();
            let is_there = self.half.net.arm(everybody, interest, seen);
            if let Some(found) = look(py)? {
                // What came for others while this one was awake.
                self.bell.notify();
                return Ok(Some(found));
            }
            if deadline.is_over() {
                return Ok(None);
            }
            if !is_there {
                let until = Instant::now() + SIGNALS;
                let until = deadline.0.map_or(until, |at| at.min(until));
                py.detach(|| {
                    let mut waiting = self.bell.waiting.lock();
                    while waiting.rings == rings
                        && !self.bell.condition.wait_until(&mut waiting, until).timed_out()
                    {
                    }
                });
            }
            py.check_signals()?;
            raised(py, self.half.net.check_process())?;
        }
    }

    fn receive(&self, py: Python<'_>) -> PyResult<Option<PyResult<Py<PyAny>>>> {
        let Some(item) = self.half.net.pop() else {
            return Ok(self.half.net.end().map(|error| Err(to_py(py, &error))));
        };
        Ok(Some(match &item.what {
            Item::Result(received) => self.half.decode(py, received).map(|(object, _)| object),
            Item::Error(error) | Item::End(error) => Err(to_py(py, error)),
        }))
    }
}

#[pymethods]
impl SyncConnection {
    #[new]
    #[pyo3(signature = (client, **options))]
    fn new(py: Python<'_>, client: &Client, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let half = Half::new(py, client, options.unwrap_or(&empty))?;
        let bell = Arc::new(Bell::default());
        half.net.set_notify(bell.clone());
        Ok(Self { shared: Arc::new(Shared { half, bell }) })
    }

    #[getter]
    fn app(&self) -> &str {
        &self.shared.half.app
    }

    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        raised(py, self.shared.half.net.check_process())?;
        Ok(self.shared.half.state().name())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.shared.half.stats(py)
    }

    #[pyo3(signature = (*, on_result, on_error, on_timings, on_state_change))]
    fn set_callbacks(
        &self,
        on_result: Option<Py<PyAny>>,
        on_error: Option<Py<PyAny>>,
        on_timings: Option<Py<PyAny>>,
        on_state_change: Option<Py<PyAny>>,
    ) {
        self.shared.half.set_callbacks(Callbacks {
            result: on_result,
            error: on_error,
            timings: on_timings,
            state_change: on_state_change,
        });
        self.shared.bell.notify();
    }

    fn send_nowait(&self, py: Python<'_>, input: &Bound<'_, PyAny>) -> PyResult<()> {
        let half = &self.shared.half;
        raised(py, half.net.check_process())?;
        let message = half.encode(py, input)?;
        match raised(py, half.net.offer(message, Lane::Throttled))? {
            Offered::Accepted => Ok(()),
            Offered::Full(_) => Err(to_py(py, &queue_full())),
        }
    }

    #[pyo3(signature = (input, timeout = None))]
    fn send(&self, py: Python<'_>, input: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<()> {
        let half = &self.shared.half;
        raised(py, half.net.check_process())?;
        let deadline = Deadline::after(py, timeout)?;
        let mut message = Some(half.encode(py, input)?);
        let sent = self.shared.wait(py, Interest::ROOM, &deadline, |py| {
            let Some(offered) = message.take() else { return Ok(Some(())) };
            match raised(py, half.net.offer(offered, Lane::Throttled))? {
                Offered::Accepted => Ok(Some(())),
                Offered::Full(back) => {
                    message = Some(back);
                    Ok(None)
                }
            }
        })?;
        sent.ok_or_else(|| too_late(py, "there was no room in the outgoing queue", timeout))
    }

    #[pyo3(signature = (input, timeout = None))]
    fn request(&self, py: Python<'_>, input: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let half = &self.shared.half;
        raised(py, half.net.check_process())?;
        let deadline = Deadline::after(py, timeout)?;
        let (mut message, id) = half.encode_request(py, input)?;
        let key = raised(py, half.net.add_request(&id))?;
        message.request = Some(key);
        let mut message = Some(message);
        let answered = self.shared.wait(py, Interest::ANSWERS.and(Interest::ROOM), &deadline, |py| {
            if let Some(offered) = message.take() {
                match raised(py, half.net.offer(offered, Lane::Direct))? {
                    Offered::Accepted => {}
                    Offered::Full(back) => {
                        message = Some(back);
                        return Ok(None);
                    }
                }
            }
            match half.net.take_answer(key) {
                None => Ok(None),
                Some(Err(error)) => Err(to_py(py, &error)),
                Some(Ok(item)) => match &item.what {
                    Item::Result(received) => half.decode(py, received).map(|(object, _)| Some(object)),
                    Item::Error(error) | Item::End(error) => Err(to_py(py, error)),
                },
            }
        });
        // After an answer this does nothing.
        half.net.forget_request(key);
        answered?.ok_or_else(|| to_py(py, &request_timeout(timeout.unwrap_or_default())))
    }

    #[pyo3(signature = (timeout = None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let shared = &self.shared;
        shared.half.check_receivable()?;
        raised(py, shared.half.net.check_process())?;
        let deadline = Deadline::after(py, timeout)?;
        match shared.wait(py, Interest::ITEMS.and(Interest::STATE), &deadline, |py| shared.receive(py))? {
            Some(received) => received,
            None => Err(too_late(py, "no result came", timeout)),
        }
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().shared.half.check_receivable()?;
        Ok(slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.recv(py, None)
            .map_err(|error| if is_normal_end(py, &error) { PyStopIteration::new_err(()) } else { error })
    }

    fn open(&self, py: Python<'_>) -> PyResult<()> {
        let net = &self.shared.half.net;
        raised(py, net.check_process())?;
        let before = net.standing().sockets;
        raised(py, net.open(true))?;
        self.shared.wait(py, Interest::STATE, &Deadline(None), |py| match net.state() {
            _ if net.standing().sockets > before => Ok(Some(())),
            State::Active => Ok(Some(())),
            State::Closing | State::Closed => {
                Err(to_py(py, &net.failure().unwrap_or_else(|| Error::closed(1000, ""))))
            }
            _ => Ok(None),
        })?;
        Ok(())
    }

    #[pyo3(signature = (timeout = None))]
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let net = &self.shared.half.net;
        raised(py, net.check_process())?;
        let deadline = Deadline::after(py, timeout)?;
        let drained =
            self.shared.wait(py, Interest::DRAINED, &deadline, |_| Ok(net.is_drained().then_some(())))?;
        drained.ok_or_else(|| too_late(py, "not everything was written", timeout))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let net = &self.shared.half.net;
        raised(py, net.check_process())?;
        net.close();
        self.shared.wait(py, Interest::STATE, &Deadline(None), |_| {
            Ok((net.state() == State::Closed).then_some(()))
        })?;
        Ok(())
    }

    /// What the callbacks are called with. Does not keep the connection alive.
    fn _events(&self) -> Events {
        Events { shared: self.shared.clone() }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.shared.half.visit(&visit)
    }

    fn __clear__(&self) {
        self.shared.half.clear();
    }
}

impl Drop for SyncConnection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        let half = &self.shared.half;
        if half.net.check_process().is_err() {
            return;
        }
        let state = half.state();
        half.net.close();
        if !matches!(state, State::Idle | State::Closed | State::Closing) {
            let _ = Python::try_attach(|py| warn_abandoned(py, &half.app));
        }
    }
}

/// The events of a connection, for the thread that calls its callbacks.
#[pyclass(frozen, module = "fal_realtime._core")]
struct Events {
    shared: Arc<Shared>,
}

enum Event<'py> {
    Value(Bound<'py, PyTuple>),
    /// There is an `on_result` now, or no longer.
    Changed,
    End,
}

#[pymethods]
impl Events {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        loop {
            let has_on_result = self.shared.half.has_on_result();
            let items = if has_on_result { Interest::ITEMS } else { Interest::NONE };
            let interest = items.and(Interest::NOTICES).and(Interest::STATE);
            let next = self.shared.wait(py, interest, &Deadline(None), |py| {
                let changed = self.shared.half.has_on_result() != has_on_result;
                if changed { Ok(Some(Event::Changed)) } else { self.look(py, has_on_result) }
            })?;
            match next {
                Some(Event::Value(event)) => return Ok(Some(event)),
                Some(Event::Changed) => {}
                Some(Event::End) | None => return Ok(None),
            }
        }
    }
}

impl Events {
    fn look<'py>(&self, py: Python<'py>, has_on_result: bool) -> PyResult<Option<Event<'py>>> {
        let half = &self.shared.half;
        loop {
            let next =
                if has_on_result { half.net.pop_any() } else { half.net.pop_notice().map(Next::Notice) };
            let event = match next {
                None if half.state() == State::Closed => return Ok(Some(Event::End)),
                None => return Ok(None),
                Some(Next::Notice(Notice::Error(error))) => {
                    ("error", to_py(py, &error).into_value(py).into_any())
                }
                Some(Next::Notice(Notice::Timings(seconds))) => {
                    ("timings", seconds.into_pyobject(py)?.into_any().unbind())
                }
                Some(Next::Notice(Notice::State(state))) => {
                    ("state_change", state.name().into_pyobject(py)?.into_any().unbind())
                }
                Some(Next::Item(item)) => match item.what {
                    Item::Result(received) => match half.decode(py, &received) {
                        Ok((object, _)) => ("result", object),
                        Err(error) => ("error", error.into_value(py).into_any()),
                    },
                    Item::Error(error) => ("error", to_py(py, &error).into_value(py).into_any()),
                    Item::End(_) => continue,
                },
            };
            return event.into_pyobject(py).map(|event| Some(Event::Value(event)));
        }
    }
}

fn too_late(py: Python<'_>, what: &str, timeout: Option<f64>) -> PyErr {
    let message = format!("{what} within {} s", timeout.unwrap_or_default());
    to_py(py, &Error::new(ErrorKind::Timeout, message))
}

fn is_normal_end(py: Python<'_>, error: &PyErr) -> bool {
    let class =
        py.import("fal_realtime._exceptions").and_then(|module| module.getattr("ConnectionClosedError"));
    let is_closed = class.is_ok_and(|class| error.is_instance(py, &class));
    let code = error.value(py).getattr(intern!(py, "code")).and_then(|code| code.extract::<u16>());
    is_closed && code.is_ok_and(|code| code == 1000)
}
