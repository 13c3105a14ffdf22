//! A blocking connection that its caller has dropped without closing it.

use pyo3::prelude::*;

use super::SyncConnection;
use crate::{
    error::Error,
    net::exit_gate,
    py::{errors::to_py, facade, warning},
};

impl Drop for SyncConnection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        let base = &self.shared.base;
        if base.net.check_process().is_err() {
            return;
        }
        let is_in_use = base.is_in_use();
        let untold = base.net.untold_failure().filter(|_| !base.gives_reason());
        base.net.close();
        if is_in_use || untold.is_some() {
            let _ = Python::try_attach(|py| {
                if let Some(error) = untold {
                    report_untold(py, &error);
                }
                if is_in_use {
                    warning::abandoned(py, &base.app);
                }
            });
        }
    }
}

/// A connection is dropped, and nobody was told of what ended it: `threading.excepthook` is, as of what a callback
/// raised.
fn report_untold(py: Python<'_>, error: &Error) {
    if exit_gate::enter().is_none() {
        return; // The interpreter is leaving, and may be what ended it.
    }
    // A destructor may run while an exception is on its way.
    let pending = PyErr::take(py);
    let told = facade::module(py)
        .and_then(|module| module.call_method1("tell_nobody", (to_py(py, error).into_value(py),)));
    if let Err(failure) = told {
        failure.write_unraisable(py, None);
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}
