//! Python's `msgpack`, for the handlers of the local server.

use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::{
    py::codec::{decode, encode},
    server::msgpack,
};

/// Encode `value` as Python's `msgpack.packb` does. Raises what that raises.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(super) fn encode_as_packer<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    encode::encode_as_packer(value)
}

/// Decode `data` as Python's `msgpack.unpackb` does. Raises `ValueError` in its words.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(super) fn decode_as_packer(py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<Py<PyAny>> {
    msgpack::validate(data.as_bytes()).map_err(PyValueError::new_err)?;
    decode::decode_as_packer(py, data.as_bytes())
}
