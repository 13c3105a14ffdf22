//! Arguments of single calls. What is wrong with one is said in the words of `_checks.py`, not in PyO3's.

use pyo3::{
    IntoPyObjectExt, intern,
    prelude::*,
    types::{PyBool, PyFloat, PyInt, PyModule},
};

use super::facade;

/// An argument that may be left out, and is checked later.
pub(super) struct Given<'py>(Option<Bound<'py, PyAny>>);

impl Given<'_> {
    /// It was left out.
    pub(super) const LEFT_OUT: Self = Self(None);
}

impl<'a, 'py> FromPyObject<'a, 'py> for Given<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(object.to_owned())))
    }
}

/// The `timeout` of a call: seconds, or none.
pub(super) fn timeout(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<f64>> {
    let Some(given) = given else { return Ok(None) };
    if let Ok(seconds) = given.cast_exact::<PyFloat>()
        && seconds.value().is_finite()
        && seconds.value() >= 0.0
    {
        return Ok(Some(seconds.value()));
    }
    checks(given.py())?.call_method1(intern!(given.py(), "timeout"), (given,))?.extract()
}

/// Whether `retries` and `idempotent` of a request ask for nothing that is done in Python, checks included.
pub(super) fn is_plain_request(retries: &Given<'_>, idempotent: &Given<'_>) -> PyResult<bool> {
    if let Some(idempotent) = &idempotent.0
        && !idempotent.is_exact_instance_of::<PyBool>()
    {
        return Ok(false);
    }
    let Some(retries) = &retries.0 else { return Ok(true) };
    Ok(retries.is_exact_instance_of::<PyInt>() && !retries.is_truthy()?)
}

impl<'py> Given<'py> {
    /// The argument, or what it is when it is left out.
    pub(super) fn or_else<T>(&self, py: Python<'py>, usual: T) -> PyResult<Bound<'py, PyAny>>
    where
        T: IntoPyObject<'py>,
    {
        match &self.0 {
            Some(given) => Ok(given.clone()),
            None => usual.into_bound_py_any(py),
        }
    }
}

/// Refuses what is no callback.
pub(super) fn callbacks(py: Python<'_>, given: [(&str, Option<&Py<PyAny>>); 4]) -> PyResult<()> {
    for (name, callback) in given {
        if let Some(callback) = callback {
            checks(py)?.call_method1(intern!(py, "callable_or_none"), (name, callback))?;
        }
    }
    Ok(())
}

fn checks(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    facade::module(py)
}
