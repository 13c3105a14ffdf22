//! Scheduling callbacks: at once, or, where one may run the loop again, in a turn of the loop of their own.
//!
//! `nest_asyncio`, Qt's loop and debuggers do so. The loop then must find its watcher of our descriptor free: what it is in
//! the middle of cannot be entered once more. uvloop's loops cannot be run again, nor can asyncio's as they are.

use pyo3::{intern, prelude::*, sync::PyOnceLock};

use super::{hand_out, waking::wake_waiters};
use crate::py::connection::AsyncConnection;

/// Wakes those who wait, and has the callbacks called soon. Called by the loop's watcher of our descriptor.
pub(in crate::py) fn hand_out_soon(connection: &Bound<'_, AsyncConnection>) -> PyResult<()> {
    let this = connection.get();
    let has_callbacks = this.base.has_on_result() || this.base.wants_notices();
    if !has_callbacks || !may_run_again(&this.event_loop(connection.py())?)? {
        return hand_out(connection).map(drop);
    }
    if this.base.net.check_process().is_err() {
        return Ok(());
    }
    loop {
        if let Err(exit) = wake_waiters(connection) {
            this.rearm();
            return Err(exit);
        }
        if !this.waiting.lock().calling {
            return call_back_soon(connection);
        }
        // A callback runs the loop: others may wait for what is there.
        if !this.arm() {
            return Ok(());
        }
    }
}

fn call_back_soon(connection: &Bound<'_, AsyncConnection>) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    if std::mem::replace(&mut this.waiting.lock().scheduled, true) {
        return Ok(());
    }
    let call_back = connection.getattr(intern!(py, "_call_back"))?;
    this.event_loop(py)?.call_method1(intern!(py, "call_soon"), (call_back,)).map(drop)
}

/// Whether the loop may be run while it runs.
fn may_run_again(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    static ORIGINAL: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();
    let (py, kind) = (event_loop.py(), event_loop.get_type());
    if kind.module()? == "uvloop" {
        return Ok(false);
    }
    // Whoever makes it possible replaces these.
    let methods = |kind: &Bound<'_, PyAny>| -> PyResult<[Py<PyAny>; 2]> {
        let method =
            |name| kind.getattr_opt(name).map(|found| found.map_or_else(|| py.None(), Bound::unbind));
        Ok([method(intern!(py, "run_forever"))?, method(intern!(py, "_run_once"))?])
    };
    let original =
        ORIGINAL.get_or_try_init(py, || methods(&py.import("asyncio")?.getattr("BaseEventLoop")?))?;
    let found = methods(kind.as_any())?;
    Ok(original.iter().zip(&found).any(|(original, found)| !original.is(found)))
}
