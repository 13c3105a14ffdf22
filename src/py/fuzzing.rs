//! The codec for the fuzz targets (`fuzz/`), which cannot reach it otherwise.

use pyo3::prelude::*;

/// See [`crate::py::decode`].
pub fn decode(py: Python<'_>, data: &[u8]) -> PyResult<Py<PyAny>> {
    super::codec::decode::decode(py, data)
}

/// See [`crate::py::decode`].
pub fn decode_json(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    super::codec::decode::decode_json(py, text)
}

/// See [`crate::py::encode`].
pub fn encode(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    super::codec::encode::encode(value.py(), value).map(|payload| payload.to_vec())
}
