//! Polling an operation: takes what it waits for if that is there, or says where it waits.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    Operation, OperationKind, Request, Step, awaited_already,
    waiting::{Place, Polled},
};
use crate::{
    core::{message::Outgoing, outbox::Lane, session::State},
    error::{Error, ErrorKind},
    net::handle::Offered,
    py::{
        connection::AsyncConnection,
        errors::{opening_full, py_result, to_py},
    },
};

impl Operation {
    /// Takes what is there, or waits for it. `called`: it has waited, and it is its turn.
    pub(super) fn poll(slf: &Bound<'_, Self>, called: bool) -> PyResult<Step> {
        let (this, py) = (slf.get(), slf.py());
        let connection = this.connection.bind(py);
        py_result(py, connection.get().base.net.check_process())?;
        let mut kind = this.take_kind();
        let polled = Self::poll_kind(slf, connection, &mut kind, called);
        // A receiver has nothing to keep.
        if !matches!(kind, OperationKind::Receive { .. }) {
            this.inner.lock().kind = kind;
        }
        let step = match polled {
            Ok(Polled::Ready(value)) => Ok(Step::Done(value)),
            Ok(Polled::Pending(place)) => Self::wait(slf, place, called),
            Err(error) => Err(error),
        };
        step.inspect_err(|_| this.give_up(py, called))
    }

    /// Takes what is wanted, to work with while Python code may run. A receiver's is left where it is.
    fn take_kind(&self) -> OperationKind {
        let kind = &mut self.inner.lock().kind;
        match kind {
            OperationKind::Receive { what, timeout } => {
                OperationKind::Receive { what: *what, timeout: *timeout }
            }
            kind => std::mem::replace(kind, OperationKind::Closed),
        }
    }

    /// Ends it with an error: whoever waits next for the same gets the turn, and a late answer is nobody's.
    pub(super) fn give_up(&self, py: Python<'_>, called: bool) {
        if self.connection.get().base.net.check_process().is_err() {
            return;
        }
        if called {
            self.pass_turn();
        }
        self.forget_request(py);
    }

    /// Nobody waits for the answer to this request: should it come, or be in the decoder, it is late.
    pub(super) fn forget_request(&self, py: Python<'_>) {
        let (key, decoding) = match &mut self.inner.lock().kind {
            OperationKind::Request(request) => (request.key.take(), request.decoding.take()),
            _ => (None, None),
        };
        let net = &self.connection.get().base.net;
        if let Some(key) = key {
            net.forget_request(key);
        }
        if let Some(decoding) = decoding {
            decoding.cancel(py);
            net.abandon_held();
        }
    }

    fn poll_kind(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, AsyncConnection>,
        kind: &mut OperationKind,
        called: bool,
    ) -> PyResult<Polled> {
        let (this, py) = (slf.get(), slf.py());
        let native = connection.get();
        let net = &native.base.net;
        match kind {
            OperationKind::Receive { what, timeout: None } => Self::poll_result(connection, *what, called),
            OperationKind::Receive { what, timeout: Some(timeout) } => {
                let polled = Self::poll_result(connection, *what, called)?;
                if matches!(polled, Polled::Pending(_)) {
                    Self::expire_receiver(slf, connection, *timeout)?;
                }
                Ok(polled)
            }
            OperationKind::Send(message) => {
                AsyncConnection::bind(connection, false)?;
                let accepted = Self::offer(connection, message, native.base.send_lane, called)?;
                Ok(if accepted { Polled::Ready(py.None()) } else { Polled::Pending(Place::Senders) })
            }
            OperationKind::Request(request) => {
                let Request { message, id, key, timeout, decoding, unmatched_before } = &mut **request;
                if this.inner.lock().expired {
                    let seconds = timeout.unwrap_or_default();
                    let unmatched = net.unmatched().since(*unmatched_before);
                    let error = if decoding.is_some() {
                        not_decoded()
                    } else {
                        native.base.request_timeout(seconds, unmatched)
                    };
                    // First it is given up: else it could be written between the question and that.
                    let was_written = key.take().is_some_and(|key| net.forget_request(key));
                    // What is being decoded is the answer to it.
                    let was_written = was_written || decoding.is_some();
                    return Err(to_py(py, &if was_written { error } else { error.unprocessed() }));
                }
                let has_failed = key.is_some_and(|key| net.has_failed(key));
                if message.is_some() && !has_failed {
                    AsyncConnection::bind(connection, true)?;
                    if key.is_none() {
                        let fresh = py_result(py, net.add_request(id))?;
                        *key = Some(fresh);
                        *unmatched_before = net.unmatched();
                        if let Some(message) = message {
                            message.request = Some(fresh);
                        }
                        Self::start_timer(slf, connection, *timeout)?;
                    }
                    if !Self::offer(connection, message, Lane::Direct, called)? {
                        return Ok(Polled::Pending(Place::Senders));
                    }
                }
                if decoding.is_some() {
                    return Self::poll_answer(connection, decoding);
                }
                let Some(key) = *key else { return Err(PyRuntimeError::new_err("the request was lost")) };
                match net.take_answer(key) {
                    None => Ok(Polled::Pending(Place::Request)),
                    Some(Err(error)) => Err(to_py(py, &error)),
                    Some(Ok(item)) => Self::decode_answer(slf, connection, item, decoding),
                }
            }
            OperationKind::Open { opening } => {
                AsyncConnection::bind(connection, true)?;
                let limit = net.settings().open_timeout.as_secs_f64();
                if this.inner.lock().expired {
                    return Err(to_py(py, &not_open_again(limit, net.why_not_open())));
                }
                let opening = if let Some(opening) = opening {
                    opening
                } else {
                    let opening = opening.insert(py_result(py, net.open_awaited())?);
                    // The first opening has its own limit. Later ones go on when this one has waited long enough.
                    if opening.openings_before() > 0 {
                        Self::start_timer(slf, connection, Some(limit))?;
                    }
                    opening
                };
                match net.state() {
                    State::Active => Ok(Polled::Ready(py.None())),
                    // It was open, and is idle, lost or over already. What came in between is there to be received,
                    // and the reason of the end behind it.
                    _ if net.openings() > opening.openings_before() => Ok(Polled::Ready(py.None())),
                    State::Closing | State::Closed => Err(to_py(py, &opening.failure())),
                    _ => Ok(Polled::Pending(Place::Openers)),
                }
            }
            OperationKind::Drain { told_before } => {
                match net.drained(*told_before.get_or_insert_with(|| net.told_failures())) {
                    None => Ok(Polled::Pending(Place::Drainers)),
                    Some(outcome) => py_result(py, outcome).map(|()| Polled::Ready(py.None())),
                }
            }
            OperationKind::Finish => {
                if net.is_finished() {
                    return Ok(Polled::Ready(py.None()));
                }
                Ok(Polled::Pending(Place::Finishers))
            }
            OperationKind::Failed(failed) => Err(failed.error.take().unwrap_or_else(awaited_already)),
            OperationKind::Closed => match net.state() {
                State::Closed => Ok(Polled::Ready(py.None())),
                _ => Ok(Polled::Pending(Place::Closers)),
            },
        }
    }

    /// Offers the message; true when it was accepted.
    fn offer(
        connection: &Bound<'_, AsyncConnection>,
        message: &mut Option<Outgoing>,
        lane: Lane,
        called: bool,
    ) -> PyResult<bool> {
        let (native, py) = (connection.get(), connection.py());
        let lane = native.base.lane(py, lane)?;
        let is_in_opening = matches!(lane, Lane::Opening(_));
        if !called && !is_in_opening && !native.waiting.lock().senders.is_free() {
            return Ok(false);
        }
        let Some(offered) = message.take() else { return Ok(true) };
        let accepted = match AsyncConnection::offer(connection, offered, lane) {
            Ok(Offered::Accepted) => Ok(true),
            // Whoever waits for room does so behind others, who wait for this opening.
            Ok(Offered::Full(_)) if is_in_opening => return Err(to_py(py, &opening_full())),
            Ok(Offered::Full(back)) => {
                *message = Some(back);
                return Ok(false);
            }
            Err(error) => Err(error),
        };
        if called {
            native.pass_turn(|waiting| &mut waiting.senders);
        }
        accepted
    }
}

/// The error of a request whose time was over while its answer was in the decoder.
fn not_decoded() -> Error {
    let message =
        "the request was answered, but decode_message was not done with the answer within the timeout";
    Error::new(ErrorKind::Timeout, message).transient()
}

/// What is raised when a lost connection was not open again in time; `last` is why its newest attempt failed.
pub(in crate::py) fn not_open_again(seconds: f64, last: Option<Error>) -> Error {
    let message = format!(
        "the connection was not open again within {seconds} s (open_timeout); it goes on trying until it is closed"
    );
    match last {
        None => Error::new(ErrorKind::Timeout, message).transient(),
        Some(last) => {
            let message = format!("{message}; the last attempt: {last}");
            Error::new(ErrorKind::Timeout, message).transient().with_source(last)
        }
    }
}
