//! The answer to a request in the connection's decoder, which may be asynchronous.

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use super::{
    Operation,
    waiting::{Place, Polled},
};
use crate::{
    core::inbox::{Item, Numbered},
    py::{
        connection::AsyncConnection,
        decoding::{Decoded, Decoding},
    },
};

impl Operation {
    /// Decodes the answer to this request; with an asynchronous decoder it waits for that.
    pub(super) fn decode_answer(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, AsyncConnection>,
        item: Numbered<Item>,
        decoding: &mut Option<Decoding>,
    ) -> PyResult<Polled> {
        let (native, py) = (connection.get(), connection.py());
        let Item::Result(received) = &item.what else {
            return Err(PyRuntimeError::new_err("only results are decoded"));
        };
        let (object, is_async) = native.base.decode(py, received)?;
        if !is_async {
            return Ok(Polled::Ready(object));
        }
        let on_done = slf.getattr(intern!(py, "_decoded"))?;
        let event_loop = native.event_loop(py)?;
        let started = Decoding::start(&event_loop, object.bind(py), item, &on_done);
        *decoding = Some(started.map_err(|(_, error)| error)?);
        // Should the request end before the decoder, the answer was never delivered.
        native.base.net.hold();
        Self::poll_answer(connection, decoding)
    }

    /// The decoded answer, if the decoder is done.
    pub(super) fn poll_answer(
        connection: &Bound<'_, AsyncConnection>,
        decoding: &mut Option<Decoding>,
    ) -> PyResult<Polled> {
        let net = &connection.get().base.net;
        match decoding.take() {
            Some(done) if done.is_done => match done.outcome(connection.py()) {
                Decoded::Outcome(outcome) => {
                    net.deliver_held();
                    outcome.map(Polled::Ready)
                }
                // The request ends with this, and its answer is nobody else's.
                Decoded::Cancelled(_, error) => {
                    net.abandon_held();
                    Err(error)
                }
            },
            at_work => {
                *decoding = at_work;
                Ok(Polled::Pending(Place::Request))
            }
        }
    }
}
