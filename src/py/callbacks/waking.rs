//! Waking those who wait for what is there.

use pyo3::prelude::*;

use crate::{
    core::session::State,
    py::{
        connection::{AsyncConnection, Waiting},
        errors::ends_the_loop,
        operation::wake,
    },
};

pub(super) fn wake_waiters(connection: &Bound<'_, AsyncConnection>) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    let ready = this.base.net.readiness();
    let over = ready.state == State::Closed;
    let mut woken = Vec::new();
    {
        let mut waiting = this.waiting.lock();
        let Waiting {
            receivers,
            senders,
            requests,
            openers,
            closers,
            drainers,
            finishers,
            decoding,
            seen,
            seen_openings,
            ..
        } = &mut *waiting;
        woken.extend(ready.settled.iter().filter_map(|key| requests.remove(key)));
        if over {
            woken.extend(std::mem::take(requests).into_values());
        }
        // What is in the decoder comes first.
        let are_refused = receivers.is_waiting() && this.base.has_on_result();
        if are_refused || decoding.as_ref().map_or(ready.has_items || over, |decoding| decoding.is_done) {
            woken.extend(receivers.call());
        }
        if ready.has_room || over {
            woken.extend(senders.call());
        }
        if ready.is_drained || over {
            woken.extend(drainers.call());
        }
        if ready.is_finished || over {
            woken.extend(finishers.call());
        }
        if over {
            woken.extend(closers.call());
        }
        let was_open = ready.openings != *seen_openings;
        if over || was_open || matches!(ready.state, State::Active | State::Closing) {
            woken.extend(openers.call());
        }
        *seen = ready.state;
        *seen_openings = ready.openings;
    }
    let mut outcome = Ok(());
    for future in woken {
        match wake(future.bind(py)) {
            // Ctrl-C, while the loop's Python code ran.
            Err(error) if ends_the_loop(py, &error) => outcome = Err(error),
            // The loop was closed under us: nobody waits any more.
            Err(error) => error.write_unraisable(py, Some(connection)),
            Ok(()) => {}
        }
    }
    outcome
}
