//! The contextvars in which Python's functions run that are called later.

use pyo3::{ffi, prelude::*, sync::PyOnceLock};

/// A copy of the caller's contextvars.
pub(super) fn current(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static COPY_CONTEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(COPY_CONTEXT.import(py, "contextvars", "copy_context")?.call0()?.unbind())
}

/// Contextvars that are current until this is dropped.
pub(super) struct EnteredContext<'a, 'py>(Option<&'a Bound<'py, PyAny>>);

impl<'a, 'py> EnteredContext<'a, 'py> {
    pub(super) fn new(py: Python<'py>, context: &'a Bound<'py, PyAny>) -> Self {
        // SAFETY: `context` is a live `contextvars.Context`, and the GIL is held.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 {
            return Self(Some(context));
        }
        // It is current already, further up the stack.
        drop(PyErr::take(py));
        Self(None)
    }
}

impl Drop for EnteredContext<'_, '_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            // SAFETY: it was entered by `new`, on this thread, and the GIL is held.
            unsafe { ffi::PyContext_Exit(context.as_ptr()) };
        }
    }
}
