//! The result that a receiver put into an asynchronous decoder. One at a time, so that order is kept; it belongs to the
//! connection and not to the receiver, who may be cancelled.

use std::task::Poll;

use pyo3::{intern, prelude::*};

use super::AsyncConnection;
use crate::{
    core::inbox::{Item, Numbered},
    py::{
        decoding::{Decoded, Decoding},
        facade,
    },
};

impl AsyncConnection {
    /// The outcome of the decoder that an earlier receiver started, if there is one.
    ///
    /// An error that is no `Exception` means that the decoder's task was cancelled: the result is to be received again.
    pub(in crate::py) fn poll_decoded(&self, py: Python<'_>) -> Poll<Option<PyResult<Py<PyAny>>>> {
        let decoding = {
            let mut waiting = self.waiting.lock();
            match &waiting.decoding {
                None => return Poll::Ready(None),
                Some(decoding) if !decoding.is_done => return Poll::Pending,
                Some(_) => waiting.decoding.take(),
            }
        };
        Poll::Ready(decoding.map(|decoding| {
            self.base.net.deliver_held();
            match decoding.outcome(py) {
                Decoded::Outcome(outcome) => outcome,
                Decoded::Cancelled(item, error) => {
                    self.base.net.unpop(item);
                    Err(error)
                }
            }
        }))
    }

    /// Starts the decoder of a result that a receiver took. It counts as pending until somebody gets the outcome.
    pub(in crate::py) fn start_decoding(
        slf: &Bound<'_, Self>,
        awaitable: &Bound<'_, PyAny>,
        item: Numbered<Item>,
    ) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let started = Self::bind(slf, true)
            .and_then(|()| facade::get(py, "tell_decoded")?.call1((slf,)))
            .and_then(|on_done| Ok((this.event_loop(py)?, on_done)));
        let started = match started {
            Ok((event_loop, on_done)) => Decoding::start(&event_loop, awaitable, item, &on_done),
            Err(error) => Err((item, error)),
        };
        match started {
            Ok(decoding) => {
                this.base.net.hold();
                this.waiting.lock().decoding = Some(decoding);
                Ok(())
            }
            Err((item, error)) => {
                this.base.net.unpop(item);
                // Else Python reports that it was never awaited.
                let _ = awaitable.call_method0(intern!(py, "close"));
                Err(error)
            }
        }
    }

    /// The decoder's task is done: whoever comes first gets the outcome.
    pub(in crate::py) fn decoder_done(slf: &Bound<'_, Self>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        match &mut slf.get().waiting.lock().decoding {
            Some(decoding) if decoding.is(task) => decoding.is_done = true,
            _ => return Ok(()),
        }
        (slf.get().hand_out)(slf)
    }
}
