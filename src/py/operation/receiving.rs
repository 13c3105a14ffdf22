//! Polling a receiver: what it takes, and how it ends.

use std::task::Poll;

use pyo3::{
    exceptions::{PyException, PyStopAsyncIteration},
    prelude::*,
};

use super::{
    Operation, Wanted,
    waiting::{Place, Polled},
};
use crate::{
    core::inbox::Item,
    error::{Error, ErrorKind},
    py::{
        connection::AsyncConnection,
        errors::{shown_seconds, to_py},
    },
};

impl Operation {
    /// A receiver with a timeout has found nothing: the error, if its time is over.
    pub(super) fn expire_receiver(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, AsyncConnection>,
        timeout: f64,
    ) -> PyResult<()> {
        let (has_timer, is_over) = {
            let inner = slf.get().inner.lock();
            (inner.timer.is_some(), inner.expired)
        };
        if is_over {
            return Err(to_py(slf.py(), &connection.get().base.timed_out(nothing_came(timeout))));
        }
        if has_timer {
            return Ok(());
        }
        AsyncConnection::bind(connection, true)?;
        Self::start_timer(slf, connection, Some(timeout))
    }

    pub(super) fn poll_result(
        connection: &Bound<'_, AsyncConnection>,
        what: Wanted,
        called: bool,
    ) -> PyResult<Polled> {
        let native = connection.get();
        if called {
            // There may be an `on_result` since it began to wait.
            native.base.check_receivable()?;
        } else if !native.waiting.lock().receivers.is_free() {
            return Ok(Polled::Pending(Place::Receivers));
        }
        let polled = Self::take_result(connection, what, called)?;
        if called && matches!(polled, Polled::Ready(_)) {
            native.pass_turn(|waiting| &mut waiting.receivers);
        }
        Ok(polled)
    }

    /// Takes the result that an earlier receiver had decoded, or else the next one.
    fn take_result(connection: &Bound<'_, AsyncConnection>, what: Wanted, called: bool) -> PyResult<Polled> {
        let (native, py) = (connection.get(), connection.py());
        loop {
            match native.poll_decoded(py) {
                Poll::Pending => return Ok(Polled::Pending(Place::Receivers)),
                // Cancelled while nobody waited for it: it is decoded once more.
                Poll::Ready(Some(Err(error))) if !called && !error.is_instance_of::<PyException>(py) => {}
                Poll::Ready(Some(outcome)) => return outcome.map(Polled::Ready),
                Poll::Ready(None) => {}
            }
            let net = &native.base.net;
            let Some(item) = (if what == Wanted::Newest { net.pop_newest() } else { net.pop() }) else {
                return match native.base.net.end() {
                    None => Ok(Polled::Pending(Place::Receivers)),
                    Some(error) => Err(ended(py, &error, what, net.is_normal_end(&error))),
                };
            };
            let (object, is_async) = match &item.what {
                Item::Result(received) => native.base.decode(py, received)?,
                Item::Error(error) => {
                    native.base.net.has_raised(error);
                    return Err(to_py(py, error));
                }
                Item::End(error) => return Err(ended(py, error, what, net.is_normal_end(error))),
            };
            if !is_async {
                return Ok(Polled::Ready(object));
            }
            AsyncConnection::start_decoding(connection, object.bind(py), item)?;
        }
    }
}

/// The error of a receiver at the end; a normal end ends an iteration without one.
fn ended(py: Python<'_>, error: &Error, what: Wanted, is_normal: bool) -> PyErr {
    if what == Wanted::Iterated && is_normal {
        return PyStopAsyncIteration::new_err(());
    }
    to_py(py, error)
}

/// The error of a receiver whose time is over.
pub(in crate::py) fn nothing_came(seconds: f64) -> Error {
    Error::new(ErrorKind::Timeout, format!("no result came within {} s", shown_seconds(seconds))).transient()
}
