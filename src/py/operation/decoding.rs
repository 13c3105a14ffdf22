//! A message in the connection's decoder, which may be asynchronous.

use pyo3::{
    exceptions::{PyException, PyRuntimeError, PyStopIteration},
    intern,
    prelude::*,
    types::PyTuple,
};

use super::{Operation, Stage, Step};
use crate::{
    core::inbox::{Item, Numbered},
    py::{connection::Connection, half::decoder_failed},
};

/// A message in an asynchronous decoder; it goes back if that is cancelled.
pub(super) struct Decoding {
    pub(super) iterator: Py<PyAny>,
    pub(super) item: Numbered<Item>,
    pub(super) in_line: bool,
}

impl Operation {
    /// Decodes a result. `in_line`: it is a receiver's, and the next one must wait for it.
    pub(super) fn decode(
        &self,
        connection: &Bound<'_, Connection>,
        item: Numbered<Item>,
        in_line: bool,
    ) -> PyResult<Step> {
        let (native, py) = (connection.get(), connection.py());
        let Item::Result(received) = &item.what else {
            return Err(PyRuntimeError::new_err("only results are decoded"));
        };
        let (object, is_async) = native.half.decode(py, received)?;
        if !is_async {
            return Ok(Step::Done(object));
        }
        let iterator = object.bind(py).call_method0(intern!(py, "__await__"));
        let iterator = iterator.map_err(|error| decoder_failed(py, error))?.unbind();
        if in_line {
            native.waiting.lock().receivers.occupy();
        }
        self.decoding(py, Box::new(Decoding { iterator, item, in_line }), None)
    }

    /// Drives an asynchronous decoder; `thrown` is what was thrown into this coroutine.
    pub(super) fn decoding(
        &self,
        py: Python<'_>,
        decoding: Box<Decoding>,
        thrown: Option<Bound<'_, PyTuple>>,
    ) -> PyResult<Step> {
        let cancelling = thrown.is_some();
        let iterator = decoding.iterator.bind(py);
        let step = match thrown {
            None => iterator.call_method0(intern!(py, "__next__")),
            Some(arguments) => iterator.call_method1(intern!(py, "throw"), arguments),
        };
        let error = match step {
            Ok(yielded) => {
                self.inner.lock().stage = Stage::Decoding(decoding);
                return Ok(Step::Yield(yielded.unbind()));
            }
            Err(error) => error,
        };
        let native = self.connection.bind(py).get();
        let outcome = if error.is_instance_of::<PyStopIteration>(py) {
            Ok(Step::Done(error.value(py).getattr(intern!(py, "value"))?.unbind()))
        } else if cancelling || !error.is_instance_of::<PyException>(py) {
            // Cancelled: the message has not been delivered.
            native.half.net.unpop(decoding.item);
            Err(error)
        } else {
            Err(decoder_failed(py, error))
        };
        if decoding.in_line {
            native.hand_on(|waiting| &mut waiting.receivers);
        }
        outcome
    }

    pub(super) fn throw_into_decoder(
        &self,
        py: Python<'_>,
        (kind, value, traceback): (&Bound<'_, PyAny>, Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
    ) -> PyResult<Option<Step>> {
        let stage = {
            let mut inner = self.inner.lock();
            if !matches!(inner.stage, Stage::Decoding(_)) {
                return Ok(None);
            }
            std::mem::replace(&mut inner.stage, Stage::Running)
        };
        let Stage::Decoding(decoding) = stage else { return Ok(None) };
        let arguments = match (value, traceback) {
            (None, _) => PyTuple::new(py, [kind])?,
            (Some(value), None) => PyTuple::new(py, [kind, value])?,
            (Some(value), Some(traceback)) => PyTuple::new(py, [kind, value, traceback])?,
        };
        match self.decoding(py, decoding, Some(arguments)) {
            Ok(step) => Ok(Some(step)),
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }
}
