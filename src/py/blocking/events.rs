//! The events of a blocking connection, as the threads that call callbacks take them.

use std::sync::Arc;

use pyo3::{prelude::*, types::PyTuple};

use super::shared::SharedConnection;
use crate::{
    core::{
        inbox::{Item, Next, Notice},
        session::State,
    },
    py::errors::{error_or_none, to_py},
};

/// The events of a connection, for whoever calls its callbacks.
#[pyclass(frozen, name = "CallbackEvents", module = "fal_realtime._core")]
pub(in crate::py) struct Events {
    pub(super) shared: Arc<SharedConnection>,
}

#[pymethods]
impl Events {
    /// The app of the connection, as that says it.
    #[getter]
    fn app(&self) -> &str {
        &self.shared.base.app
    }

    /// How many results, and how many other events, callbacks have not been called with.
    fn left(&self) -> (usize, usize) {
        let (results, others) = self.shared.base.net.left();
        (if self.shared.base.has_on_result() { results } else { 0 }, others)
    }

    /// The next event, without waiting: `result`, `error`, `timings` or `state_change` and the value; `nothing`: the
    /// queue will have the connection again when there is something; `end`: the connection is closed and all was taken.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        loop {
            let has_on_result = self.shared.base.has_on_result();
            if let Some(event) = self.poll_event(py, has_on_result)? {
                return Ok(event);
            }
            // What comes from here on calls for the next poll, which finds what came before.
            if !self.shared.listen(has_on_result) {
                return ("nothing", py.None()).into_pyobject(py);
            }
        }
    }
}

impl Events {
    fn poll_event<'py>(&self, py: Python<'py>, has_on_result: bool) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let base = &self.shared.base;
        let mut was_closed = false;
        loop {
            let next =
                if has_on_result { base.net.pop_any() } else { base.net.pop_notice().map(Next::Notice) };
            let event = match next {
                None if was_closed => ("end", py.None()),
                // What the end came with is there by now, and may not have been a moment ago.
                None if base.state() == State::Closed => {
                    was_closed = true;
                    continue;
                }
                None => return Ok(None),
                Some(Next::Notice(Notice::Error(error))) => {
                    ("error", to_py(py, &error).into_value(py).into_any())
                }
                Some(Next::Notice(Notice::Timings(seconds))) => {
                    ("timings", seconds.into_pyobject(py)?.into_any().unbind())
                }
                Some(Next::Notice(Notice::State(state, reason))) => {
                    let change = (state.name(), error_or_none(py, reason.as_deref()));
                    ("state_change", change.into_pyobject(py)?.into_any().unbind())
                }
                Some(Next::Item(item)) => match item.what {
                    Item::Result(received) => match self.shared.decode(py, &received) {
                        Ok(object) => ("result", object),
                        Err(error) => ("error", error.into_value(py).into_any()),
                    },
                    Item::Error(error) => ("error", to_py(py, &error).into_value(py).into_any()),
                    Item::End(_) => continue,
                },
            };
            return event.into_pyobject(py).map(Some);
        }
    }
}
