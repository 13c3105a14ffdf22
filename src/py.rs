//! The Python extension module `fal_realtime._core`: registration only.

use std::time::Duration;

use pyo3::{exceptions::PyImportError, ffi, prelude::*, types::PyDict};

use self::attaching::attach;
use crate::net::{counters, exit_gate, io_thread};

mod arguments;
mod asyncio;
mod attaching;
mod awaitable;
mod base;
mod blocking;
mod borrowed_bytes;
mod callback_scope;
mod callbacks;
mod calling;
mod client;
mod codec;
mod connection;
mod contextvars;
mod decoding;
mod dispatcher;
mod encoded_result;
mod errors;
mod facade;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hooks;
#[cfg(feature = "local-server")]
mod local_server;
mod method;
mod opening;
mod operation;
mod options;
mod received;
mod recording;
mod report;
mod stats;
mod token_provider;
mod token_request;
mod waiters;
mod wake_fd;
mod warning;

/// How long the exit of the interpreter waits for the I/O threads.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The native core of `fal_realtime`.
#[pymodule(gil_used = true)] // waits are armed under the GIL; not yet proved without it
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Before anything that belongs to the process: what another interpreter registered would be undone at its end, and
    // the I/O threads with it, under the main one's connections.
    require_main_interpreter(module.py())?;
    codec::register(module)?;
    #[cfg(feature = "local-server")]
    local_server::register(module)?;
    module.add_class::<client::Client>()?;
    module.add_class::<stats::PyTotals>()?;
    module.add_class::<stats::LatencyHistogram>()?;
    module.add_class::<encoded_result::EncodedResult>()?;
    module.add_class::<connection::AsyncConnection>()?;
    module.add_class::<blocking::SyncConnection>()?;
    module.add_class::<blocking::CallbackQueue>()?;
    module.add_class::<blocking::Events>()?;
    module.add_function(wrap_pyfunction!(method::method, module)?)?;
    operation::install_am_send(module.py())?;
    module.add_function(wrap_pyfunction!(_io_counters, module)?)?;
    recording::register(module)?;
    report::install();
    let at_exit = wrap_pyfunction!(_shutdown, module)?;
    module.py().import("atexit")?.call_method1("register", (at_exit,))?;
    Ok(())
}

/// How often the threads disturbed each other: for benchmarks and tests.
#[pyfunction]
fn _io_counters(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, counter) in [
        ("io_wakes", &counters::IO_WAKES),
        ("loop_polls", &counters::LOOP_POLLS),
        ("taken_over", &counters::TAKEN_OVER),
        ("given_back", &counters::GIVEN_BACK),
    ] {
        dict.set_item(name, counter.get())?;
    }
    Ok(dict)
}

/// Refuses another interpreter than the main one: the I/O threads attach to that, and the classes of exceptions, which
/// are kept for the process, are those of one.
fn require_main_interpreter(py: Python<'_>) -> PyResult<()> {
    if interpreter_id(py) == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "fal_realtime works in the main interpreter of a process only, not in a subinterpreter (under mod_wsgi: \
         WSGIApplicationGroup %{GLOBAL})",
    ))
}

/// The interpreter that this is called in: 0 is the main one.
fn interpreter_id(_py: Python<'_>) -> i64 {
    // SAFETY: the GIL is held, and whoever holds it has an interpreter.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
}

/// Stops the I/O threads. Nothing touches Python afterwards.
#[pyfunction]
fn _shutdown(py: Python<'_>) {
    py.detach(|| {
        exit_gate::close(EXIT_PATIENCE);
        io_thread::shutdown(EXIT_PATIENCE);
    });
}
