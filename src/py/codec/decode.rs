//! msgpack and JSON to Python objects, on the thread that takes a message.
//!
//! A single odd value does not cost the whole message: what Python can hold is delivered, in the closest form.
//!
//! Messages come from a peer that is not trusted: nesting, the memory that a message becomes, and every declared
//! length are bounded before anything is allocated.

use pyo3::prelude::*;

use self::{
    failure::Outcome,
    json::JsonDecoder,
    msgpack::{Decoder, Values},
};

mod budget;
mod failure;
mod json;
mod keys;
mod msgpack;
mod objects;

/// Decodes `data`, which holds exactly one msgpack object. Raises `DecodeError`.
pub(crate) fn decode(py: Python<'_>, data: &[u8]) -> PyResult<Py<PyAny>> {
    finish(py, Decoder::new(py, data, Values::Ours).message())
}

/// Decodes `data` as Python's `msgpack` would. Raises `DecodeError`.
#[cfg(feature = "local-server")]
pub(in crate::py) fn decode_as_packer(py: Python<'_>, data: &[u8]) -> PyResult<Py<PyAny>> {
    finish(py, Decoder::new(py, data, Values::Packers).message())
}

/// Decodes `text`, one JSON value (RFC 8259), or what Python's `json` takes beyond that: `NaN`, `Infinity`, numbers that
/// become one, and escaped lone surrogates. Raises `DecodeError`.
///
/// Integers have any size up to [`json::MAX_DIGITS`] digits. The last of equal names in an object wins.
pub(crate) fn decode_json(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    finish(py, JsonDecoder::new(py, text).message())
}

/// A binary message as it is. Raises `MemoryError`.
pub(in crate::py) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    objects::bytes(py, data).map_err(|failure| failure.into_error(py))
}

/// A text message as it is. Raises `MemoryError`, and `DecodeError` if it is not UTF-8.
pub(in crate::py) fn text<'py>(py: Python<'py>, utf8: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    objects::wtf8(py, utf8).map_err(|failure| failure.into_error(py))
}

#[inline]
fn finish(py: Python<'_>, outcome: Outcome<Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    match outcome {
        Ok(value) => Ok(value.unbind()),
        Err(failure) => Err(failure.into_error(py)),
    }
}
