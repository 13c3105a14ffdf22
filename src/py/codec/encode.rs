//! Python objects to msgpack, on the caller's thread.
//!
//! Exact builtin types take the fast path in [`encoder`]; everything else is first turned into one of them by
//! [`convert`]. A value that cannot be encoded raises `EncodeError`, which names the way to it.

use std::mem::MaybeUninit;

use pyo3::{
    exceptions::PyUnicodeError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyString},
};

use self::{
    convert::Converted,
    encoder::Encoder,
    failure::{EncodeFailure, Outcome},
    rules::{EncodeDialect, Rules},
    writer::{PayloadWriter, Scratch, WriteTarget},
};

use super::limits::MAX_DEPTH;
use crate::core::{payload::Payload, requests::check_id};

mod buffer;
mod convert;
mod encoder;
mod failure;
mod rules;
mod size_hint;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

/// The key by which fal's applications relate a result to its input.
const REQUEST_ID: &str = "request_id";

/// Encodes `value`. Its large `bytes` are not copied, but borrowed by the message.
///
/// Raises `EncodeError`, or whatever the Python code raised that was run for a value (`model_dump`, a property).
pub(crate) fn encode(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let mut scratch: Scratch = [MaybeUninit::uninit(); _];
    let mut encoder = Encoder::new(
        PayloadWriter::new(py, WriteTarget::Payload, &mut scratch),
        value.as_borrowed(),
        Rules::APP,
    );
    let outcome = encoder.root();
    finish(py, outcome, || Ok(encoder.writer.into_payload()))
}

/// Encodes `value`, which must be dict-like, so that the message has a `request_id`: the input's own, or else the
/// one given here. Returns the message, and the id that is in it.
///
/// Raises `EncodeError` as [`encode`], and if the input's `request_id` is not a `str`.
pub(crate) fn encode_with_request_id(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    request_id: &str,
) -> PyResult<(Payload, String)> {
    let mut scratch: Scratch = [MaybeUninit::uninit(); _];
    let mut encoder = Encoder::new(
        PayloadWriter::new(py, WriteTarget::Payload, &mut scratch),
        value.as_borrowed(),
        Rules::APP,
    );
    let mut write = || {
        let mut dict = top_level_dict(value)?;
        let own = own_request_id(&mut dict)?;
        let added = if own.is_none() { Some((REQUEST_ID, request_id)) } else { None };
        encoder.root_dict(&dict, added)?;
        Ok(own.unwrap_or_else(|| request_id.to_owned()))
    };
    match write() {
        Ok(id) => Ok((encoder.writer.into_payload(), id)),
        Err(failure) => Err(EncodeFailure::into_error(failure, py)),
    }
}

/// Encodes `value` into a new `bytes` object, as a connection does. Raises as [`encode`].
pub(in crate::py) fn encode_to_bytes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    to_bytes(value, Rules::APP)
}

/// Encodes `value` for any reader of msgpack into a new `bytes` object: with keys of any scalar type, aware `datetime`
/// objects as timestamps if so told, and `default` for what has no form. Raises as [`encode`], and what `default` does.
pub(in crate::py) fn encode_for_any<'py>(
    value: &Bound<'py, PyAny>,
    default: Option<&Bound<'py, PyAny>>,
    timestamps: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let default = default.map(|default| default.as_borrowed());
    to_bytes(value, Rules { dialect: EncodeDialect::Any, timestamps, default })
}

/// Encodes `value` into a new `bytes` object as Python's `msgpack.packb` does, and raises what that raises.
#[cfg(feature = "local-server")]
pub(in crate::py) fn encode_as_packer<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    to_bytes(value, Rules { dialect: EncodeDialect::Packer, ..Rules::APP })
}

fn to_bytes<'py>(value: &Bound<'py, PyAny>, rules: Rules<'_, 'py>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut scratch: Scratch = [MaybeUninit::uninit(); _];
    let mut encoder =
        Encoder::new(PayloadWriter::new(py, WriteTarget::Bytes, &mut scratch), value.as_borrowed(), rules);
    let outcome = encoder.root();
    finish(py, outcome, || encoder.writer.into_bytes())
}

#[inline]
fn finish<T>(py: Python<'_>, outcome: Outcome, message: impl FnOnce() -> Outcome<T>) -> PyResult<T> {
    outcome.and_then(|()| message()).map_err(|failure| failure.into_error(py))
}

/// `value` as an exact dict; not a copy when it is one already.
fn top_level_dict<'py>(value: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyDict>> {
    let mut current = value.clone();
    // A model's `model_dump` may answer with a model again, and so on.
    for _ in 0..MAX_DEPTH {
        match current.cast_into_exact::<PyDict>() {
            Ok(dict) => return Ok(dict),
            Err(other) => current = other.into_inner(),
        }
        match convert::convert(&current, false) {
            Ok(Converted::Map(dict)) => return Ok(dict),
            Ok(Converted::Value(inner)) => current = inner,
            Err(failure) if !failure.is_refusal() => return Err(failure),
            Ok(_) | Err(_) => break,
        }
    }
    let kind = value.get_type().qualname()?;
    Err(EncodeFailure::refused(format!(
        "request() needs a dict-like input (a dict, dataclass or model), so that it can carry a request_id; \
         not an object of type '{kind}'"
    )))
}

/// The `request_id` of `dict`. `None` counts as absent, as models with an optional one have it: `dict` is then
/// a copy without it.
fn own_request_id(dict: &mut Bound<'_, PyDict>) -> Outcome<Option<String>> {
    let key = intern!(dict.py(), REQUEST_ID);
    let Some(id) = dict.get_item(key)? else {
        return Ok(None);
    };
    if id.is_none() {
        *dict = dict.copy()?;
        dict.del_item(key)?;
        return Ok(None);
    }
    let id = match id.cast::<PyString>() {
        Ok(id) => match id.to_str() {
            Ok(text) => check_id(text).map(|()| text.to_owned()),
            Err(error) if error.is_instance_of::<PyUnicodeError>(id.py()) => {
                Err("it holds a lone surrogate".to_owned())
            }
            Err(error) => return Err(error.into()), // such as a MemoryError
        },
        Err(_) => Err(format!("it must be a str, not an object of type '{}'", id.get_type().qualname()?)),
    };
    id.map(Some).map_err(|reason| EncodeFailure::refused(reason).at_key(key.as_any()))
}
