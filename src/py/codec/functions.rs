//! The functions of the codec for Python: `encode`, `decode`, `decode_json` and `ExtType` of `fal_realtime._core`.
//!
//! The rest of the crate calls [`super::encode`](mod@super::encode) and [`super::decode`](mod@super::decode) directly.

use pyo3::{
    buffer::PyBuffer,
    exceptions::{PyMemoryError, PyUnicodeError},
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{decode as decoding, encode as encoding, error, ext};
use crate::core::pool;

/// Encode `value` as one msgpack object; `fal_realtime.msgpack` says what becomes of which type.
///
/// Args:
///     value: What to encode.
///     default: Called with each value that has no form of its own; what it returns is encoded in its place. What it
///         raises is raised.
///     timestamps: Encode aware `datetime` objects as timestamp extensions, and refuse naive ones. By default both are
///         str in ISO 8601, which a typed app of fal accepts.
///
/// Raises:
///     `EncodeError`: A value cannot be encoded; it says where it is.
#[pyfunction]
#[pyo3(signature = (value, /, *, default = None, timestamps = false))]
fn encode<'py>(
    value: &Bound<'py, PyAny>,
    default: Option<&Bound<'py, PyAny>>,
    timestamps: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    encoding::encode_for_any(value, default, timestamps)
}

/// Encode `value` as a connection encodes its inputs. Raises `EncodeError`.
#[pyfunction]
#[pyo3(signature = (value, /))]
fn encode_input<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    encoding::encode_to_bytes(value)
}

/// Decode `data`, which holds exactly one msgpack object; `fal_realtime.msgpack` says what becomes of which type.
///
/// Raises:
///     `DecodeError`: It is not msgpack, is cut off, goes on after the object, nests deeper than 256 levels, or would
///         become more Python objects than 64 MiB and 16 times its own length.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn decode(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return decoding::decode(py, bytes.as_bytes());
    }
    // A mutable buffer could change while Python objects are being made of it: decode a copy.
    let buffer = PyBuffer::<u8>::get(data)?;
    let no_memory = |_| PyMemoryError::new_err("the message is too large for memory");
    let mut copy = pool::take(buffer.item_count()).map_err(no_memory)?;
    copy.resize(buffer.item_count(), 0);
    buffer.copy_to_slice(py, &mut copy)?;
    decoding::decode(py, &copy)
}

/// Decode `text`, one JSON value (RFC 8259). Raises `DecodeError`.
#[pyfunction]
#[pyo3(signature = (text, /))]
fn decode_json(py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
    match text.to_str() {
        Ok(utf8) => decoding::decode_json(py, utf8),
        Err(error) if error.is_instance_of::<PyUnicodeError>(py) => {
            Err(error::decode_error(py, "the JSON text holds a lone surrogate"))
        }
        Err(error) => Err(error), // such as a MemoryError
    }
}

pub(in crate::py) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode, module)?)?;
    module.add_function(wrap_pyfunction!(encode_input, module)?)?;
    module.add_function(wrap_pyfunction!(decode, module)?)?;
    module.add_function(wrap_pyfunction!(decode_json, module)?)?;
    module.add_class::<ext::ExtType>()
}
