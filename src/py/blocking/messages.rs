//! Sending, requesting and receiving: this thread waits for room, an answer or a result.

use pyo3::prelude::*;

use super::{SyncConnection, shared::Deadline};
use crate::{
    core::{inbox::Item, message::Outgoing, outbox::Lane},
    net::handle::{Interest, Offered},
    py::{
        errors::{opening_full, py_result, to_py},
        operation::nothing_came,
    },
};

impl SyncConnection {
    pub(super) fn request_once(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let base = &self.shared.base;
        py_result(py, base.net.check_process())?;
        let deadline = Deadline::after(timeout);
        let (mut message, id) = base.encode_request(py, input)?;
        let unmatched_before = base.net.unmatched();
        let key = py_result(py, base.net.add_request(&id))?;
        message.request = Some(key);
        let mut message = Some(message);
        let answered = self.offer(py, &mut message, Lane::Direct, &deadline).and_then(|accepted| {
            let answer =
                || self.shared.wait(py, Interest::ANSWERS, &deadline, |_| Ok(base.net.take_answer(key)));
            if accepted { answer() } else { Ok(None) }
        });
        // After an answer this does nothing.
        let was_written = base.net.forget_request(key);
        match answered? {
            None => {
                let unmatched = base.net.unmatched().since(unmatched_before);
                let error = base.request_timeout(timeout.unwrap_or_default(), unmatched);
                Err(to_py(py, &if was_written { error } else { error.unprocessed() }))
            }
            Some(Err(error)) => Err(to_py(py, &error)),
            Some(Ok(item)) => match &item.what {
                Item::Result(received) => self.shared.decode(py, received),
                Item::Error(error) | Item::End(error) => Err(to_py(py, error)),
            },
        }
    }

    pub(super) fn receive(&self, py: Python<'_>, timeout: Option<f64>, newest: bool) -> PyResult<Py<PyAny>> {
        let shared = &self.shared;
        shared.base.check_receivable()?;
        py_result(py, shared.base.net.check_process())?;
        let deadline = Deadline::after(timeout);
        let interest = Interest::ITEMS.and(Interest::STATE);
        let received = shared.wait(py, interest, &deadline, |py| shared.receive(py, newest))?;
        received.ok_or_else(|| to_py(py, &shared.base.timed_out(nothing_came(timeout.unwrap_or_default()))))
    }

    /// Waits for room and offers the message; false when the time is over. When the request that it is fails before
    /// there is room, it is as good as sent: its answer says so.
    pub(super) fn offer(
        &self,
        py: Python<'_>,
        message: &mut Option<Outgoing>,
        lane: Lane,
        deadline: &Deadline,
    ) -> PyResult<bool> {
        let net = &self.shared.base.net;
        let lane = self.shared.base.lane(py, lane)?;
        let accepted = self.shared.wait(py, Interest::ROOM.and(Interest::ANSWERS), deadline, |py| {
            let request = message.as_ref().and_then(|message| message.request);
            if request.is_some_and(|key| net.has_failed(key)) {
                return Ok(Some(()));
            }
            let Some(offered) = message.take() else { return Ok(Some(())) };
            // Where results wait, more will probably be sent for them: it leaves together, when this thread waits at
            // last.
            let offered = if net.has_items() {
                net.offer_more(offered, lane).map(|(offered, _)| offered)
            } else {
                net.offer(offered, lane)
            };
            match py_result(py, offered)? {
                Offered::Accepted => Ok(Some(())),
                Offered::Full(_) if matches!(lane, Lane::Opening(_)) => Err(to_py(py, &opening_full())),
                Offered::Full(back) => {
                    *message = Some(back);
                    Ok(None)
                }
            }
        })?;
        Ok(accepted.is_some())
    }
}
