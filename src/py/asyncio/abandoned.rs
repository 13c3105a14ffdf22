//! A connection for asyncio that its caller has dropped without closing it.

use pyo3::prelude::*;

use crate::py::{callbacks, connection::AsyncConnection, warning};

impl Drop for AsyncConnection {
    /// The connection was abandoned: its socket would stay open, and billed.
    fn drop(&mut self) {
        if self.base.net.check_process().is_err() {
            return;
        }
        let is_in_use = self.base.is_in_use();
        let untold = self.base.net.untold_failure();
        self.base.net.close();
        let _ = Python::try_attach(|py| {
            if let Some(error) = untold.filter(|_| !self.base.gives_reason()) {
                callbacks::report_untold(py, self, &error);
            }
            self.leave_loop();
            if is_in_use {
                warning::abandoned(py, &self.base.app);
            }
        });
    }
}
