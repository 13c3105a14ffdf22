//! `ExtType`: a msgpack extension value that has no Python type of its own.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyTuple, PyType},
};

/// A msgpack extension value.
///
/// Args:
///     code: the application's type code, -128 to 127. Negative codes are reserved by msgpack.
///     data: the payload.
#[pyclass(frozen, module = "fal_realtime._core", name = "ExtType")]
pub(crate) struct ExtType {
    /// The type code.
    #[pyo3(get)]
    pub(crate) code: i8,
    /// The payload.
    #[pyo3(get)]
    pub(crate) data: Py<PyBytes>,
}

#[pymethods]
impl ExtType {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("code", "data")
    }

    #[new]
    fn new(code: i64, data: Py<PyBytes>) -> PyResult<Self> {
        let code = i8::try_from(code)
            .map_err(|_| PyValueError::new_err(format!("code must be from -128 to 127, not {code}")))?;
        Ok(Self { code, data })
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> Py<PyAny> {
        match other.cast::<Self>() {
            Ok(other) => {
                let other = other.get();
                let equal = self.code == other.code && self.data.as_bytes(py) == other.data.as_bytes(py);
                equal
                    .into_pyobject(py)
                    .map_or_else(|never| match never {}, |it| it.to_owned().into_any().unbind())
            }
            Err(_) => py.NotImplemented(),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<u64> {
        let mut hasher = DefaultHasher::new();
        self.code.hash(&mut hasher);
        // The hash of `bytes` is randomised for each process, and so is this one.
        self.data.bind(py).hash()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("ExtType(code={}, data={})", self.code, self.data.bind(py).repr()?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let arguments = (self.code, self.data.bind(py)).into_pyobject(py)?;
        Ok((py.get_type::<Self>(), arguments))
    }
}
