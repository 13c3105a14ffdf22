//! The warnings of destructors.

use std::ffi::{CStr, CString};

use pyo3::{
    exceptions::{PyResourceWarning, PyRuntimeWarning},
    intern,
    prelude::*,
    types::PyType,
};

/// A connection was dropped while it was open.
pub(super) fn abandoned(py: Python<'_>, app: &str) {
    let message = format!("the connection to {app} was never closed; use `async with`, close() or aclose()");
    if let Ok(message) = CString::new(message) {
        warn(&py.get_type::<PyResourceWarning>(), &message);
    }
}

/// An operation was dropped before its first step.
pub(super) fn never_awaited(py: Python<'_>, name: &str) {
    let what = if matches!(name, "send" | "request") { ": its message was not sent" } else { "" };
    if let Ok(message) =
        CString::new(format!("coroutine 'RealtimeConnection.{name}' was never awaited{what}"))
    {
        warn(&py.get_type::<PyRuntimeWarning>(), &message);
    }
}

fn warn(category: &Bound<'_, PyType>, message: &CStr) {
    let py = category.py();
    // A destructor may run while an exception is on its way.
    let pending = PyErr::take(py);
    if let Err(error) = PyErr::warn(py, category, message, 1) {
        error.write_unraisable(py, Some(intern!(py, "a warning of fal_realtime")));
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}
