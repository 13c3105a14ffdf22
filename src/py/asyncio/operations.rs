//! The operations that the methods of a connection return.

use pyo3::prelude::*;

use crate::{
    core::{message::Outgoing, outbox::Lane},
    net::handle::Offered,
    py::{
        arguments::{self, Given, is_plain_request},
        connection::AsyncConnection,
        errors::{queue_full, to_py},
        facade,
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

    /// Sends a message, if it could be encoded.
    pub(super) fn sent<'py>(
        slf: &Bound<'py, Self>,
        message: PyResult<Outgoing>,
    ) -> PyResult<Bound<'py, Operation>> {
        Self::operation(slf, "send", message.map(|message| OperationKind::Send(Some(message))))
    }

    /// Sends an input as a request; `retries` and `idempotent` are Python's to heed.
    pub(super) fn requested<'py>(
        slf: &Bound<'py, Self>,
        input: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
        retries: Given<'py>,
        idempotent: Given<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if !is_plain_request(&retries, &idempotent)? {
            let again = facade::get(py, "request")?;
            let (retries, idempotent) = (retries.or_else(py, 0)?, idempotent.or_else(py, false)?);
            return again.call1((slf, input, timeout, retries, idempotent));
        }
        let kind = arguments::timeout(timeout).and_then(|timeout| {
            let (message, id) = slf.get().base.encode_request(py, input)?;
            Ok(OperationKind::request(message, id, timeout))
        });
        Self::operation(slf, "request", kind).map(Bound::into_any)
    }

    /// Sends a message that is encoded, and has this `request_id`, likewise.
    pub(super) fn requested_encoded<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
        id: &str,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Operation>> {
        let kind = arguments::timeout(timeout).and_then(|timeout| {
            let message = slf.get().base.encoded(slf.py(), payload)?;
            Ok(OperationKind::request(message, id.to_owned(), timeout))
        });
        Self::operation(slf, "request", kind)
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
