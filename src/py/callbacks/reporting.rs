//! Errors that nobody takes, and what callbacks raise: the loop's exception handler is told.

use pyo3::{intern, prelude::*, types::PyDict};

use crate::{
    net::exit_gate,
    py::{
        base::Untold,
        connection::AsyncConnection,
        errors::{describe, ends_the_loop, to_py},
    },
};

/// Tells the loop's exception handler of an error that nobody takes, and why nobody does.
pub(super) fn tell_loop(
    py: Python<'_>,
    connection: &AsyncConnection,
    error: PyErr,
    why: &str,
) -> PyResult<()> {
    let context = PyDict::new(py);
    let message = format!("{}: {} ({why})", connection.base.app, describe(py, &error));
    context.set_item("message", message)?;
    context.set_item("exception", error.into_value(py))?;
    connection.event_loop(py)?.call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

/// A connection is dropped, and nobody was told of this error. As asyncio has it with what nobody retrieves from a task,
/// the loop's exception handler is.
pub(in crate::py) fn report_untold(py: Python<'_>, connection: &AsyncConnection, untold: &Untold) {
    if exit_gate::enter().is_none() {
        return; // The interpreter is leaving, and may be what ended it.
    }
    // A destructor may run while an exception is on its way.
    let pending = PyErr::take(py);
    let Untold { error, why } = untold;
    // The garbage collector takes a loop apart that it found together with its connections: then it is said where the
    // loop's handler would have said it.
    let told = tell_loop(py, connection, to_py(py, error), why).or_else(|_| {
        let message = format!("{}: {} ({why})", connection.base.app, describe(py, &to_py(py, error)));
        let logger = py.import("logging")?.call_method1("getLogger", ("asyncio",))?;
        logger.call_method1("error", ("%s", message)).map(|_| ())
    });
    if let Err(failure) = told {
        failure.write_unraisable(py, Some(intern!(py, "why a fal_realtime connection ended")));
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}

/// Reports what an asynchronous callback raised.
pub(super) fn report_task(connection: &Bound<'_, AsyncConnection>, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = connection.py();
    if task.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
        return Ok(());
    }
    let error = task.call_method0(intern!(py, "exception"))?;
    if error.is_none() {
        return Ok(());
    }
    let error = PyErr::from_value(error);
    // The task itself has raised it out of the loop.
    if ends_the_loop(py, &error) { Ok(()) } else { report(connection, error) }
}

/// A callback raised: the loop's exception handler is told, with the traceback, and delivery goes on. As with a
/// callback of the loop's own, an exit is raised.
pub(super) fn report(connection: &Bound<'_, AsyncConnection>, error: PyErr) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    if ends_the_loop(py, &error) {
        return Err(error);
    }
    let told = || -> PyResult<()> {
        let context = PyDict::new(py);
        context.set_item("message", format!("a callback of the connection to {} raised", this.base.app))?;
        // `into_value`, unlike `value`, gives it its traceback.
        context.set_item("exception", error.into_value(py))?;
        this.event_loop(py)?.call_method1(intern!(py, "call_exception_handler"), (context,))?;
        Ok(())
    };
    match told() {
        Err(failure) if ends_the_loop(py, &failure) => Err(failure),
        Err(failure) => {
            failure.write_unraisable(py, Some(connection));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
