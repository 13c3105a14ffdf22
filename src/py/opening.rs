//! The opening that `on_open` sends in, told from all else by its contextvars.

use std::sync::{Arc, Weak};

use pyo3::{intern, prelude::*, sync::PyOnceLock};

use super::facade;
use crate::{core::outbox::Lane, net::handle::Connection};

/// The opening that an `on_open` is called for.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Opening {
    pub(super) net: Weak<Connection>,
    pub(super) session: u64,
}

/// The lane of what is sent now on this connection, if it is sent in its opening.
pub(super) fn lane(py: Python<'_>, net: &Arc<Connection>) -> PyResult<Option<Lane>> {
    static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let current = CURRENT.import(py, facade::MODULE, "CURRENT")?;
    let opening = current.call_method1(intern!(py, "get"), (py.None(),))?;
    let Ok(opening) = opening.cast::<Opening>() else { return Ok(None) };
    let is_of = opening.get().net.upgrade().is_some_and(|other| Arc::ptr_eq(&other, net));
    Ok(is_of.then_some(Lane::Opening(opening.get().session)))
}
