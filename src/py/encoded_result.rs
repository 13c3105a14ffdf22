//! A result that is handed on as it came.

use pyo3::{prelude::*, types::PyString};

use super::received;
use crate::core::{
    envelope::{Envelope, classify_binary, classify_text},
    frame::MessageKind,
    message::Received,
};

/// A result as it came, and what a relay must know of it. What cannot be decoded is one, too.
#[pyclass(frozen, module = "fal_realtime")]
pub(super) struct EncodedResult {
    payload: Py<PyAny>,
    request_id: Option<Py<PyString>>,
    kind: MessageKind,
}

impl EncodedResult {
    /// The object for a result.
    pub(super) fn of(py: Python<'_>, received: &Received) -> PyResult<Py<PyAny>> {
        let payload = received::undecoded(py, received)?;
        let envelope = match received.kind {
            MessageKind::Binary => classify_binary(&received.payload),
            // It was checked when it was read.
            MessageKind::Text => classify_text(std::str::from_utf8(&received.payload).unwrap_or_default()),
        };
        let request_id = match envelope {
            Envelope::Result { request_id: Some(id) } => Some(PyString::new(py, &id).unbind()),
            _ => None,
        };
        let result = Self { payload: payload.unbind(), request_id, kind: received.kind };
        Ok(Py::new(py, result)?.into_any())
    }
}

#[pymethods]
impl EncodedResult {
    /// The message: `bytes` if it was a binary one, `str` if it was text.
    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyAny> {
        self.payload.clone_ref(py)
    }

    /// The `request_id` that it holds, or None.
    #[getter]
    fn request_id(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.request_id.as_ref().map(|id| id.clone_ref(py))
    }

    /// What kind of message it was.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.kind {
            MessageKind::Binary => "binary",
            MessageKind::Text => "text",
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let size = self.payload.bind(py).len()?;
        let id = match &self.request_id {
            Some(id) => id.bind(py).repr()?.to_string(),
            None => "None".to_owned(),
        };
        Ok(format!("<EncodedResult {} of {size}, request_id={id}>", self.kind()))
    }
}
