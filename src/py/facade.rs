//! The parts of the Python package that the native core takes: by name, and from one module alone, which knows where it
//! lies.

use pyo3::{prelude::*, types::PyModule};

/// The module, which imports each name when it is first asked for.
pub(super) const MODULE: &str = "fal_realtime._for_core";

/// The module itself, for several names at once.
pub(super) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(MODULE)
}

/// The object that the package has under this name.
pub(super) fn get<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    module(py)?.getattr(name)
}
