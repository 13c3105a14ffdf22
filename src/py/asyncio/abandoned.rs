//! A connection for asyncio that its caller has dropped without closing it, or without taking what waits.

use pyo3::prelude::*;

use crate::py::{callbacks, connection::AsyncConnection, warning};

impl AsyncConnection {
    /// Tells the loop's exception handler of the errors that nobody took, and `with_end` of an end that nobody was told
    /// of.
    pub(super) fn report_untold(&self, py: Python<'_>, with_end: bool) {
        let end = if with_end { self.base.take_untold_end() } else { None };
        for untold in self.base.take_untaken().into_iter().chain(end) {
            callbacks::report_untold(py, self, &untold);
        }
    }
}

impl Drop for AsyncConnection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        if self.base.net.check_process().is_err() {
            return;
        }
        let is_in_use = self.base.is_in_use();
        let _ = Python::try_attach(|py| self.report_untold(py, true));
        self.base.net.close();
        let _ = Python::try_attach(|py| {
            self.leave_loop();
            if is_in_use {
                warning::abandoned(py, &self.base.app);
            }
        });
    }
}
