//! When callbacks are called: in a turn of the loop of their own.
//!
//! A callback may run the loop again (`nest_asyncio`, Qt's loop, a debugger), which then must find its watcher of our
//! descriptor free: what a loop is in the middle of cannot be entered once more.

use pyo3::{intern, prelude::*};

use super::{hand_out, wake_waiters};
use crate::py::connection::Connection;

/// Wakes those who wait, and has the callbacks called soon. Called by the loop's watcher of our descriptor.
pub(in crate::py) fn hand_out_soon(connection: &Bound<'_, Connection>) -> PyResult<()> {
    let this = connection.get();
    if !(this.half.has_on_result() || this.half.wants_notices()) {
        return hand_out(connection).map(drop);
    }
    if this.half.net.check_process().is_err() {
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

fn call_back_soon(connection: &Bound<'_, Connection>) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    if std::mem::replace(&mut this.waiting.lock().scheduled, true) {
        return Ok(());
    }
    let call_back = connection.getattr(intern!(py, "_call_back"))?;
    this.event_loop(py)?.call_method1(intern!(py, "call_soon"), (call_back,)).map(drop)
}
