//! The codec's two exceptions, which are defined in Python.

use pyo3::{prelude::*, sync::PyOnceLock, types::PyType};

use crate::py::facade;

/// `fal_realtime.EncodeError(message)`.
pub(crate) fn encode_error(py: Python<'_>, message: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    new(py, &CLASS, "EncodeError", message)
}

/// `fal_realtime.DecodeError(message)`.
pub(crate) fn decode_error(py: Python<'_>, message: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    new(py, &CLASS, "DecodeError", message)
}

fn new(py: Python<'_>, class: &PyOnceLock<Py<PyType>>, name: &str, message: &str) -> PyErr {
    // Imported at first use: the exceptions' module may itself be importing this one.
    let raised = class.import(py, facade::MODULE, name).and_then(|class| class.call1((message,)));
    match raised {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
