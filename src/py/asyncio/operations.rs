//! The operations that the methods of a connection return.

use pyo3::prelude::*;

use crate::{
    core::{message::Outgoing, outbox::Lane},
    net::handle::Offered,
    py::{
        arguments,
        connection::AsyncConnection,
        errors::{queue_full, to_py},
        operation::{Operation, OperationKind, Wanted},
    },
};

impl AsyncConnection {
    /// The operation of the method `name`. What went wrong at the call is raised where it is awaited.
    pub(super) fn operation<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        kind: PyResult<OperationKind>,
    ) -> PyResult<Bound<'py, Operation>> {
        Operation::new(slf, OperationKind::or_failed(slf.py(), name, kind)?)
    }

    pub(super) fn receive<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        what: Wanted,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Operation>> {
        let receivable = slf.get().base.check_receivable();
        let kind = receivable.and_then(|()| arguments::timeout(timeout));
        Self::operation(slf, name, kind.map(|timeout| OperationKind::Receive { what, timeout }))
    }

    pub(super) fn offer_now(slf: &Bound<'_, Self>, message: Outgoing) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        Self::bind(slf, false)?;
        let lane = this.base.lane(py, Lane::Throttled)?;
        // Those who wait for room come first, but to what is sent in an opening.
        let crowded = lane == Lane::Throttled && !this.waiting.lock().senders.is_free();
        let offered = if crowded { Offered::Full(message) } else { Self::offer(slf, message, lane)? };
        match offered {
            Offered::Accepted => Ok(()),
            Offered::Full(_) => Err(to_py(py, &queue_full())),
        }
    }
}
