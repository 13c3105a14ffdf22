//! A received message as a Python object: as it came, or as the codec decodes it.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::codec::decode;
use crate::core::{frame::MessageKind, message::Received};

/// The message as it came: `bytes` if it is a binary one, a `str` if it is text.
pub(super) fn undecoded<'py>(py: Python<'py>, received: &Received) -> PyResult<Bound<'py, PyAny>> {
    match received.kind {
        MessageKind::Binary => decode::bytes(py, &received.payload),
        MessageKind::Text => decode::text(py, text_of(received)?.as_bytes()),
    }
}

/// The object that the codec makes of the message: msgpack if it is a binary one, JSON if it is text.
pub(super) fn decoded(py: Python<'_>, received: &Received) -> PyResult<Py<PyAny>> {
    match received.kind {
        MessageKind::Binary => decode::decode(py, &received.payload),
        MessageKind::Text => decode::decode_json(py, text_of(received)?),
    }
}

/// The text of a text message, which was checked when it was read.
fn text_of(received: &Received) -> PyResult<&str> {
    std::str::from_utf8(&received.payload).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}
