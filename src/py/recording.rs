//! `Recording` of `fal_realtime._core`: the file into which a connection is recorded.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pyo3::{
    exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError},
    prelude::*,
};

use super::{
    blocking::SyncConnection,
    connection::AsyncConnection,
    errors::{no_thread, to_py},
};
use crate::net::{
    handle::{Connection, NotRecorded},
    recorder::{NotStarted, Recorder, THREAD},
};

/// A recording of a connection.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Recording {
    recorder: Arc<Recorder>,
    connection: Arc<Connection>,
}

#[pymethods]
impl Recording {
    /// Records `connection` from now on into a new file.
    #[new]
    fn new(py: Python<'_>, connection: &Bound<'_, PyAny>, path: PathBuf) -> PyResult<Self> {
        let connection = if let Ok(connection) = connection.cast::<AsyncConnection>() {
            connection.get().base.net.clone()
        } else if let Ok(connection) = connection.cast::<SyncConnection>() {
            connection.get().net().clone()
        } else {
            return Err(PyTypeError::new_err("connection must be a connection of this package"));
        };
        match py.detach(|| connection.record(path.clone())) {
            Ok(recorder) => Ok(Self { recorder, connection }),
            Err(NotRecorded::Already(other)) => {
                let message =
                    format!("the connection is recorded already, into {}: close that first", other.display());
                Err(PyRuntimeError::new_err(message))
            }
            Err(NotRecorded::Closed(error)) => Err(to_py(py, &error)),
            Err(NotRecorded::NotStarted(NotStarted::File(error))) => Err(file_error(py, &error, &path)),
            Err(NotRecorded::NotStarted(NotStarted::Thread(error))) => Err(no_thread(py, THREAD, &error)),
        }
    }

    #[getter]
    fn messages(&self) -> u64 {
        self.recorder.messages()
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.recorder.dropped()
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.recorder.is_open()
    }

    /// The number of the system's error, and what it says.
    #[getter]
    fn error(&self) -> Option<(Option<i32>, String)> {
        self.recorder.error().map(|error| (error.raw_os_error(), error.to_string()))
    }

    /// Waits until the file of a connection that is closed is written, at most so many seconds. Answers whether it is.
    fn wait(&self, py: Python<'_>, seconds: f64) -> bool {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        py.detach(|| self.recorder.wait_at_most(time))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.connection.stop_recording(&self.recorder);
            self.recorder.wait();
        });
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Recording>()
}

/// The error for a file that cannot be made, as `open` raises it.
fn file_error(py: Python<'_>, error: &io::Error, path: &Path) -> PyErr {
    let raised = || -> PyResult<PyErr> {
        let Some(number) = error.raw_os_error() else {
            return Ok(PyValueError::new_err(format!("path must be that of a file: {error}")));
        };
        let text: String = py.import("os")?.call_method1("strerror", (number,))?.extract()?;
        Ok(PyOSError::new_err((number, text, path.as_os_str().to_owned())))
    };
    raised().unwrap_or_else(|error| error)
}
