//! Offers messages. Those that follow each other at once may wait for each other: until the callbacks that are being
//! called are through, until the turn of the loop is over, or until somebody waits for what comes back.

use std::sync::atomic::Ordering;

use pyo3::{intern, prelude::*};

use super::{AsyncConnection, loop_binding::running_loop};
use crate::{
    core::{message::Outgoing, outbox::Lane},
    net::handle::Offered,
    py::{callback_scope, errors::py_result},
};

impl AsyncConnection {
    /// Offers a message.
    pub(in crate::py) fn offer(slf: &Bound<'_, Self>, message: Outgoing, lane: Lane) -> PyResult<Offered> {
        let (this, py) = (slf.get(), slf.py());
        let net = &this.base.net;
        let in_callback = callback_scope::is_of(net);
        if !(in_callback || this.is_on_loop_thread()) {
            return py_result(py, net.offer(message, lane));
        }
        let (offered, waits) = py_result(py, net.offer_more(message, lane))?;
        if waits && in_callback {
            callback_scope::uncork_at_the_end();
        } else if waits && !this.corked.swap(true, Ordering::AcqRel) {
            Self::uncork_soon(slf)?;
        }
        Ok(offered)
    }

    /// Lets the loop uncork when this turn is over.
    fn uncork_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let asked = || {
            let event_loop = this.event_loop(py)?;
            if !running_loop(py)?.is(&event_loop) {
                return Ok(false);
            }
            event_loop.call_method1(intern!(py, "call_soon"), (slf.getattr(intern!(py, "_uncork"))?,))?;
            Ok(true)
        };
        let asked = asked();
        if !matches!(asked, Ok(true)) {
            this.uncork();
        }
        asked.map(drop)
    }

    /// Lets what waits for more go.
    pub(in crate::py) fn uncork(&self) {
        self.corked.store(false, Ordering::Release);
        self.base.net.uncork();
    }

    /// Lets what was sent go at once where somebody waits for what comes back, or for it to be gone.
    pub(in crate::py) fn uncork_before_waiting(&self) {
        if self.corked.load(Ordering::Acquire) {
            self.base.net.uncork();
        }
    }
}
