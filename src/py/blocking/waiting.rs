//! Waiting for the connection itself: until it is open, has written everything, is done, or is closed.

use pyo3::prelude::*;

use super::{SyncConnection, shared::Deadline};
use crate::{
    core::session::State,
    error::{Error, ErrorKind},
    net::handle::Interest,
    py::{
        errors::{py_result, shown_seconds, to_py},
        operation::not_open_again,
    },
};

impl SyncConnection {
    /// Opens, and waits until that is done. The first opening has a limit of its own for all of its attempts.
    pub(super) fn wait_open(&self, py: Python<'_>) -> PyResult<()> {
        let net = &self.shared.base.net;
        py_result(py, net.check_process())?;
        let mut opening = py_result(py, net.open_awaited())?;
        let limit = net.settings().open_timeout.as_secs_f64();
        let before = opening.openings_before();
        let deadline = Deadline::after((before > 0).then_some(limit));
        let opened = self.shared.wait(py, Interest::STATE, &deadline, |py| match net.state() {
            State::Active => Ok(Some(())),
            // It was open, and is idle, lost or over already.
            _ if net.openings() > before => Ok(Some(())),
            State::Closing | State::Closed => Err(to_py(py, &opening.failure())),
            _ => Ok(None),
        })?;
        opened.ok_or_else(|| to_py(py, &not_open_again(limit, net.why_not_open())))
    }

    /// Waits until everything accepted so far is written; `timeout` is in seconds.
    pub(super) fn wait_drained(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let net = &self.shared.base.net;
        py_result(py, net.check_process())?;
        let deadline = Deadline::after(timeout);
        let told_before = net.told_failures();
        let drained = self.shared.wait(py, Interest::DRAINED, &deadline, |_| {
            net.drained(told_before).map(|outcome| py_result(py, outcome)).transpose()
        })?;
        drained.ok_or_else(|| to_py(py, &self.too_late("not everything was written", timeout)))
    }

    /// Waits until everything accepted is written, and answered or given up. False when the time is over.
    pub(super) fn wait_finished(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let net = &self.shared.base.net;
        py_result(py, net.check_process())?;
        let deadline = Deadline::after(timeout);
        let finished =
            self.shared.wait(py, Interest::FINISHED, &deadline, |_| Ok(net.is_finished().then_some(())))?;
        Ok(finished.is_some())
    }

    /// Waits until the connection is closed.
    pub(super) fn wait_closed(&self, py: Python<'_>) -> PyResult<()> {
        let net = &self.shared.base.net;
        let closed = || (net.state() == State::Closed).then_some(());
        self.shared.wait(py, Interest::STATE, &Deadline::NEVER, |_| Ok(closed()))?;
        Ok(())
    }

    /// The error of a wait of so many seconds that was in vain; `what` says for what.
    pub(super) fn too_late(&self, what: &str, timeout: Option<f64>) -> Error {
        let seconds = shown_seconds(timeout.unwrap_or_default());
        let error = Error::new(ErrorKind::Timeout, format!("{what} within {seconds} s"));
        self.shared.base.timed_out(error.transient())
    }
}
