//! A job of the local server's handlers, as Python sees it.

use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::server::{Event, Input, Job};

/// A job: session, handler, what happened, and the inputs.
pub(super) type PyJob = (u64, u32, &'static str, Vec<Py<PyAny>>);

pub(super) fn py_job(py: Python<'_>, job: Job) -> PyJob {
    let (event, inputs) = match job.event {
        Event::Open => ("open", Vec::new()),
        Event::Inputs(inputs) => ("inputs", inputs),
        Event::Writable => ("writable", Vec::new()),
        Event::Closed => ("closed", Vec::new()),
    };
    let inputs = inputs.into_iter().map(|input| match input {
        Input::Binary(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
        Input::Text(text) => PyString::new(py, &text).into_any().unbind(),
    });
    (job.session, job.handler, event, inputs.collect())
}
