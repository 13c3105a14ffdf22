//! Errors as Python exceptions: the only way from [`Error`] to one.

use std::collections::BTreeMap;

use pyo3::{
    exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit, PyValueError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyString, PyType},
};

use super::facade;
use crate::{
    error::{Error, ErrorKind, Refusal},
    net::io_thread,
};

/// The exception classes, defined in Python.
struct Exceptions {
    api: Py<PyType>,
    validation: Py<PyType>,
    realtime: Py<PyType>,
    authentication: Py<PyType>,
    handshake: Py<PyType>,
    closed: Py<PyType>,
    lost: Py<PyType>,
    stream_ended: Py<PyType>,
    unread: Py<PyType>,
    timeout: Py<PyType>,
    too_large: Py<PyType>,
    buffer_full: Py<PyType>,
    encode: Py<PyType>,
    decode: Py<PyType>,
    forked: Py<PyType>,
}

static EXCEPTIONS: PyOnceLock<Exceptions> = PyOnceLock::new();

fn exceptions(py: Python<'_>) -> PyResult<&Exceptions> {
    EXCEPTIONS.get_or_try_init(py, || {
        let module = facade::module(py)?;
        let class = |name: &str| -> PyResult<Py<PyType>> {
            Ok(module.getattr(name)?.cast_into::<PyType>().map_err(PyErr::from)?.unbind())
        };
        Ok(Exceptions {
            api: class("ApiError")?,
            validation: class("ValidationError")?,
            realtime: class("RealtimeError")?,
            authentication: class("AuthenticationError")?,
            handshake: class("HandshakeError")?,
            closed: class("ConnectionClosedError")?,
            lost: class("ConnectionLostError")?,
            stream_ended: class("StreamEndedError")?,
            unread: class("UnreadResultsError")?,
            timeout: class("RequestTimeoutError")?,
            too_large: class("MessageTooLargeError")?,
            buffer_full: class("BufferFullError")?,
            encode: class("EncodeError")?,
            decode: class("DecodeError")?,
            forked: class("ForkedProcessError")?,
        })
    })
}

/// The exception for an error.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    if io_thread::is_leaving_elsewhere() {
        // This is a daemon thread, which the interpreter is about to cut off; what it would raise only now, because
        // the I/O threads have stopped, would be a traceback on stderr at every exit.
        py.detach(|| {
            loop {
                std::thread::park();
            }
        });
    }
    match try_to_py(py, error) {
        Ok(raised) | Err(raised) => raised,
    }
}

fn try_to_py(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let classes = exceptions(py)?;
    let message = error.message.as_str();
    let value = match &error.kind {
        ErrorKind::InvalidOption => return Ok(PyValueError::new_err(error.message.clone())),
        ErrorKind::Authentication => classes.authentication.bind(py).call1((message,))?,
        ErrorKind::Api { status } => {
            let class = if *status == 422 { &classes.validation } else { &classes.api };
            class.bind(py).call1((message, *status))?
        }
        ErrorKind::Handshake { status } => classes.handshake.bind(py).call1((message, *status))?,
        ErrorKind::Closed { code, reason } => {
            classes.closed.bind(py).call1((message, *code, reason.as_str()))?
        }
        ErrorKind::Protocol { code } => classes.closed.bind(py).call1((message, *code, message))?,
        ErrorKind::Realtime { error, reason, payload } => {
            let payload = match std::str::from_utf8(payload) {
                Ok(text) => super::codec::decode::decode_json(py, text).ok(),
                Err(_) => super::codec::decode::decode(py, payload).ok(),
            };
            let payload = payload.unwrap_or_else(|| py.None());
            let value = classes.realtime.bind(py).call1((error.as_str(), reason.as_str(), payload))?;
            // It may say more than the server did.
            value.setattr(intern!(py, "message"), message)?;
            value
        }
        ErrorKind::Lost { code, reason, unanswered } => {
            classes.lost.bind(py).call1((message, *code, reason.as_str(), *unanswered))?
        }
        ErrorKind::StreamEnded => classes.stream_ended.bind(py).call1((message,))?,
        ErrorKind::Unread => classes.unread.bind(py).call1((message,))?,
        ErrorKind::Timeout => classes.timeout.bind(py).call1((message,))?,
        ErrorKind::TooLarge => classes.too_large.bind(py).call1((message,))?,
        ErrorKind::BufferFull => classes.buffer_full.bind(py).call1((message,))?,
        ErrorKind::Encode => classes.encode.bind(py).call1((message,))?,
        ErrorKind::Decode => classes.decode.bind(py).call1((message,))?,
        ErrorKind::Forked => classes.forked.bind(py).call1((message,))?,
    };
    value.setattr(intern!(py, "retryable"), error.transient)?;
    value.setattr(intern!(py, "unprocessed"), error.unprocessed)?;
    if let Some(refusal) = error.refusal() {
        add_refusal(&value, refusal)?;
    }
    let raised = PyErr::from_value(value);
    // Causes of other kinds are in the message, and no exceptions.
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    if let Some(cause) = cause {
        raised.set_cause(py, Some(try_to_py(py, cause)?));
    }
    Ok(raised)
}

/// Adds what the answer said that refused.
fn add_refusal(value: &Bound<'_, PyAny>, refusal: &Refusal) -> PyResult<()> {
    let py = value.py();
    value.setattr(intern!(py, "retry_after"), refusal.retry_after.map(|wait| wait.as_secs_f64()))?;
    value.setattr(intern!(py, "request_id"), &refusal.request_id)?;
    value.setattr(intern!(py, "headers"), refusal.headers.iter().cloned().collect::<BTreeMap<_, _>>())?;
    let body = match super::codec::decode::decode_json(py, &refusal.body) {
        Ok(decoded) => decoded,
        Err(_) => PyString::new(py, &refusal.body).into_any().unbind(),
    };
    value.setattr(intern!(py, "body"), body)
}

/// The exception for an error, or None.
pub(crate) fn error_or_none(py: Python<'_>, error: Option<&Error>) -> Option<Py<PyAny>> {
    error.map(|error| to_py(py, error).into_value(py).into_any())
}

/// `result`, with its error as a Python exception.
pub(crate) fn py_result<T>(py: Python<'_>, result: crate::error::Result<T>) -> PyResult<T> {
    result.map_err(|error| to_py(py, &error))
}

/// Whether an exception is one of this package that says that trying again can help.
pub(super) fn is_retryable(py: Python<'_>, error: &PyErr) -> bool {
    error.value(py).getattr(intern!(py, "retryable")).is_ok_and(|says| says.is_truthy().unwrap_or(false))
}

/// An exception in words: the name of its type, and what it says.
pub(super) fn describe(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    format!("{name}: {}", error.value(py))
}

/// The error where the system gives no thread of this name.
pub(super) fn no_thread(py: Python<'_>, name: &str, why: &std::io::Error) -> PyErr {
    let made = facade::get(py, "no_thread").and_then(|no_thread| no_thread.call1((name, why.to_string())));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// The error for an asyncio call outside of an event loop.
pub(crate) fn no_running_loop() -> PyErr {
    PyRuntimeError::new_err(
        "there is no running asyncio event loop; call this from a coroutine under asyncio (trio is not supported), \
         or use fal_realtime.SyncRealtimeClient",
    )
}

/// Seconds for a message: what is left of a time limit has more digits than anybody wants to read.
pub(super) fn shown_seconds(seconds: f64) -> f64 {
    const PARTS: f64 = 1e3;
    if seconds * PARTS < 1.0 { seconds } else { (seconds * PARTS).round() / PARTS }
}

/// Whether asyncio does not hand an error to its exception handler, but raises it out of the loop.
pub(super) fn ends_the_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// The error for a message that there is no room for in an opening.
pub(crate) fn opening_full() -> Error {
    let message = format!(
        "on_open has sent more than can wait to be written ({} messages or {} MiB)",
        crate::core::outbox::MAX_QUEUED,
        crate::core::outbox::MAX_QUEUED_BYTES >> 20
    );
    Error::new(ErrorKind::BufferFull, message).transient().unprocessed()
}

/// The error for a message that there is no room for.
pub(crate) fn queue_full() -> Error {
    Error::new(
        ErrorKind::BufferFull,
        format!(
            "the outgoing queue is full ({} messages or {} MiB); use `await send(…)` to wait for room, or \
             max_buffering to drop the oldest",
            crate::core::outbox::MAX_QUEUED,
            crate::core::outbox::MAX_QUEUED_BYTES >> 20
        ),
    )
    .transient()
    .unprocessed()
}
