//! A blocking connection that its caller has dropped without closing it, or without taking what waits.

use pyo3::prelude::*;

use super::SyncConnection;
use crate::{
    net::exit_gate,
    py::{base::Untold, errors::to_py, facade, warning},
};

impl SyncConnection {
    /// Tells `threading.excepthook` of the errors that nobody was told of.
    pub(super) fn report_untold(&self, py: Python<'_>) {
        let base = &self.shared.base;
        // Another thread may go on calling `on_result` with what there is, and tells of the errors among it.
        let untaken = if base.has_on_result() { None } else { base.take_untaken() };
        for untold in untaken.into_iter().chain(base.take_untold_end()) {
            report(py, &base.app, untold);
        }
    }
}

impl Drop for SyncConnection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        let base = &self.shared.base;
        if base.net.check_process().is_err() {
            return;
        }
        let is_in_use = base.is_in_use();
        let _ = Python::try_attach(|py| self.report_untold(py));
        base.net.close();
        if is_in_use {
            let _ = Python::try_attach(|py| warning::abandoned(py, &base.app));
        }
    }
}

/// Tells `threading.excepthook` of an error that nobody was told of, as of what a callback raised.
fn report(py: Python<'_>, app: &str, untold: Untold) {
    if exit_gate::enter().is_none() {
        return; // The interpreter is leaving, and may be what ended it.
    }
    // A destructor may run while an exception is on its way.
    let pending = PyErr::take(py);
    let Untold { error, why } = untold;
    let message = format!("{error} ({app}: {why})");
    let error = to_py(py, &error.with_message(message)).into_value(py);
    let told = facade::module(py).and_then(|module| module.call_method1("tell_nobody", (error,)));
    if let Err(failure) = told {
        failure.write_unraisable(py, None);
    }
    if let Some(pending) = pending {
        pending.restore(py);
    }
}
