//! The events of a blocking connection, as its callback thread takes them.

use std::sync::Arc;

use pyo3::{prelude::*, types::PyTuple};

use super::shared::{Deadline, Shared};
use crate::{
    core::{
        inbox::{Item, Next, Notice},
        session::State,
    },
    net::handle::Interest,
    py::raise::{error_or_none, to_py},
};

/// The events of a connection, for the thread that calls its callbacks.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Events {
    pub(super) shared: Arc<Shared>,
}

enum Event<'py> {
    Value(Bound<'py, PyTuple>),
    /// There is an `on_result` now, or no longer.
    Changed,
    End,
}

#[pymethods]
impl Events {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        loop {
            let has_on_result = self.shared.half.has_on_result();
            let items = if has_on_result { Interest::ITEMS } else { Interest::NONE };
            let interest = items.and(Interest::NOTICES).and(Interest::STATE);
            let next = self.shared.wait(py, interest, &Deadline::NEVER, |py| {
                let changed = self.shared.half.has_on_result() != has_on_result;
                if changed { Ok(Some(Event::Changed)) } else { self.look(py, has_on_result) }
            })?;
            match next {
                Some(Event::Value(event)) => return Ok(Some(event)),
                Some(Event::Changed) => {}
                Some(Event::End) | None => return Ok(None),
            }
        }
    }
}

impl Events {
    fn look<'py>(&self, py: Python<'py>, has_on_result: bool) -> PyResult<Option<Event<'py>>> {
        let half = &self.shared.half;
        loop {
            let next =
                if has_on_result { half.net.pop_any() } else { half.net.pop_notice().map(Next::Notice) };
            let event = match next {
                None if half.state() == State::Closed => return Ok(Some(Event::End)),
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
            return event.into_pyobject(py).map(|event| Some(Event::Value(event)));
        }
    }
}
