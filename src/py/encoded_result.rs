//! A result that is passed on as it came.

use pyo3::{
    basic::CompareOp,
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyString, PyType},
};

use super::received;
use crate::core::{
    envelope::{Envelope, classify_binary, classify_text},
    frame::MessageKind,
    message::Received,
};

/// A result as it came, and what a relay must know of it. What cannot be decoded is one, too.
#[pyclass(frozen, weakref, module = "fal_realtime")]
pub(super) struct EncodedResult {
    payload: Py<PyAny>,
    request_id: Option<Py<PyString>>,
    kind: MessageKind,
}

impl EncodedResult {
    /// The object for a result.
    pub(super) fn of(py: Python<'_>, received: &Received) -> PyResult<Py<PyAny>> {
        let payload = received::undecoded(py, received)?;
        let result = Self::holding(payload, &received.payload, received.kind);
        Ok(Py::new(py, result)?.into_any())
    }

    /// The same, whose `payload` is an object already.
    fn holding(payload: Bound<'_, PyAny>, bytes: &[u8], kind: MessageKind) -> Self {
        let envelope = match kind {
            MessageKind::Binary => classify_binary(bytes),
            // It was checked when it was read.
            MessageKind::Text => classify_text(std::str::from_utf8(bytes).unwrap_or_default()),
        };
        let request_id = match envelope {
            Envelope::Result { request_id: Some(id) } => Some(PyString::new(payload.py(), &id).unbind()),
            _ => None,
        };
        Self { payload: payload.unbind(), request_id, kind }
    }
}

#[pymethods]
impl EncodedResult {
    #[new]
    fn new(payload: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = payload.cast::<PyBytes>() {
            return Ok(Self::holding(payload.clone(), bytes.as_bytes(), MessageKind::Binary));
        }
        let Ok(text) = payload.cast::<PyString>() else {
            let given = payload.get_type().name()?;
            return Err(PyTypeError::new_err(format!("payload must be bytes or a str, not {given}")));
        };
        Ok(Self::holding(payload.clone(), text.to_str()?.as_bytes(), MessageKind::Text))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match other.cast::<Self>() {
            Ok(other) => {
                Ok(self.payload.bind(py).rich_compare(&other.get().payload, CompareOp::Eq)?.unbind())
            }
            Err(_) => Ok(py.NotImplemented()),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.payload.bind(py).hash()
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> (Py<PyType>, (Py<PyAny>,)) {
        (slf.get_type().unbind(), (slf.get().payload.clone_ref(slf.py()),))
    }

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

    /// The kind of message that it was.
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
