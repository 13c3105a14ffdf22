//! The callbacks of a connection, as its caller gave them.

use pyo3::prelude::*;

use crate::{
    net::handle::Routes,
    py::{arguments, facade},
};

/// The callbacks of a connection.
#[derive(Default)]
pub(in crate::py) struct Callbacks {
    pub(in crate::py) result: Option<Py<PyAny>>,
    pub(in crate::py) error: Option<Py<PyAny>>,
    pub(in crate::py) timings: Option<Py<PyAny>>,
    pub(in crate::py) state_change: Option<Py<PyAny>>,
    /// Whether `on_state_change` takes the reason, too.
    pub(in crate::py) with_reason: bool,
    /// The contextvars of the `connect` that gave them; `None` where whoever calls them knows it.
    pub(in crate::py) context: Option<Py<PyAny>>,
}

impl Callbacks {
    /// The callbacks that a connection is given later; `context` as in [`Callbacks`].
    pub(in crate::py) fn checked(
        py: Python<'_>,
        result: Option<Py<PyAny>>,
        error: Option<Py<PyAny>>,
        timings: Option<Py<PyAny>>,
        state_change: Option<Py<PyAny>>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        arguments::callbacks(
            py,
            [
                ("on_result", result.as_ref()),
                ("on_error", error.as_ref()),
                ("on_timings", timings.as_ref()),
                ("on_state_change", state_change.as_ref()),
            ],
        )?;
        Self::new(py, result, error, timings, state_change, context)
    }

    /// The callbacks as they are, which were checked.
    pub(in crate::py) fn new(
        py: Python<'_>,
        result: Option<Py<PyAny>>,
        error: Option<Py<PyAny>>,
        timings: Option<Py<PyAny>>,
        state_change: Option<Py<PyAny>>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let with_reason = takes_reason(py, state_change.as_ref())?;
        Ok(Self { result, error, timings, state_change, with_reason, context })
    }

    pub(in crate::py) fn routes(&self) -> Routes {
        Routes {
            results: self.result.is_some(),
            errors: self.error.is_some(),
            timings: self.timings.is_some(),
            states: self.state_change.is_some(),
        }
    }

    pub(in crate::py) fn any_notice(&self) -> bool {
        self.error.is_some() || self.timings.is_some() || self.state_change.is_some()
    }

    pub(in crate::py) fn clone_ref(&self, py: Python<'_>) -> Self {
        let copy = |callback: &Option<Py<PyAny>>| callback.as_ref().map(|callback| callback.clone_ref(py));
        Self {
            result: copy(&self.result),
            error: copy(&self.error),
            timings: copy(&self.timings),
            state_change: copy(&self.state_change),
            with_reason: self.with_reason,
            context: copy(&self.context),
        }
    }

    pub(in crate::py) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let callbacks = [&self.result, &self.error, &self.timings, &self.state_change];
        for object in callbacks.into_iter().chain([&self.context]).flatten() {
            visit.call(object)?;
        }
        Ok(())
    }
}

/// Whether an `on_state_change` is called with the reason, too: its signature says so, and is asked once.
fn takes_reason(py: Python<'_>, callback: Option<&Py<PyAny>>) -> PyResult<bool> {
    let Some(callback) = callback else { return Ok(false) };
    facade::get(py, "takes_reason")?.call1((callback,))?.extract()
}
