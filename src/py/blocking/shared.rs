//! The blocking connection that its callers share with the thread that calls its callbacks: waiting, and receiving.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*};

use super::{notifier::Notifier, turns::Listener};
use crate::{
    core::{inbox::Item, message::Received, session::State},
    error::{Error, ErrorKind},
    net::handle::{Connection, Interest},
    py::{
        base::Base,
        errors::{py_result, to_py},
    },
};

/// The interval at which a thread that waits for a socket tries to be the one that moves its bytes.
const SOCKET_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The interval at which a wait checks for signals.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The connection that its callers share with the threads that call its callbacks.
pub(super) struct SharedConnection {
    pub(super) base: Base,
    pub(super) notifier: Arc<Notifier>,
}

/// A point in time to give up at.
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) const NEVER: Self = Self(None);

    /// A deadline in so many seconds; one that no clock can hold is never.
    pub(super) fn after(timeout: Option<f64>) -> Self {
        let timeout = timeout.and_then(|timeout| Duration::try_from_secs_f64(timeout).ok());
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    fn is_over(&self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }
}

impl super::SyncConnection {
    /// The connection of the network layer.
    pub(in crate::py) fn net(&self) -> &Arc<Connection> {
        &self.shared.base.net
    }
}

impl SharedConnection {
    /// Waits until `poll` gives something; `None` when the time is over.
    pub(super) fn wait<'py, T>(
        &self,
        py: Python<'py>,
        interest: Interest,
        deadline: &Deadline,
        mut poll: impl FnMut(Python<'py>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        if let Some(found) = poll(py)? {
            return Ok(Some(found));
        }
        self.base.net.uncork();
        self.notifier.waiting.lock().add(interest);
        let outcome = self.wait_for_notification(py, deadline, &mut poll);
        let mut waiting = self.notifier.waiting.lock();
        waiting.remove(interest);
        let others_wait = waiting.interest() != Interest::NONE;
        drop(waiting);
        if others_wait {
            // One of them waits for the socket from now on; and something may have come for it while this one was
            // awake.
            self.notifier.wake_all();
        }
        outcome
    }

    fn wait_for_notification<'py, T>(
        &self,
        py: Python<'py>,
        deadline: &Deadline,
        poll: &mut impl FnMut(Python<'py>) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        loop {
            let (notifications, everybody) = {
                let waiting = self.notifier.waiting.lock();
                (waiting.notifications, waiting.interest())
            };
            let everybody = everybody.and(self.listener_interest());
            // Whatever comes from here on is notified; what came before is found by the poll that follows.
            self.base.net.arm(everybody, Interest::NONE, State::Idle);
            let found = poll(py);
            if !matches!(found, Ok(None)) {
                return found;
            }
            if deadline.is_over() {
                return Ok(None);
            }
            let until = Instant::now() + SIGNAL_INTERVAL;
            let until = deadline.0.map_or(until, |at| at.min(until));
            py.detach(|| self.notifier.wait(&self.base.net, notifications, until));
            py.check_signals()?;
            py_result(py, self.base.net.check_process())?;
        }
    }

    /// From now on there are callbacks.
    pub(super) fn listen_with(&self, listener: Listener) {
        self.notifier.listen_with(listener);
    }

    /// Waits from now on for what is for callbacks. Answers whether something is there already. `takes_results`:
    /// there is an `on_result`.
    pub(super) fn listen(&self, takes_results: bool) -> bool {
        if let Some(listener) = self.notifier.listener() {
            listener.takes_results.store(takes_results, Ordering::Release);
        }
        let callbacks = self.listener_interest();
        let calls = self.notifier.waiting.lock().interest();
        self.base.net.listen(calls.and(callbacks), callbacks)
    }

    /// Waits for the socket and moves its bytes, as long as `goes_on` says so; for a thread without the GIL.
    pub(super) fn drive_socket(&self, goes_on: impl Fn() -> bool) {
        loop {
            // What comes from here on is notified; what came before is found by asking.
            let notifications = self.notifier.waiting.lock().notifications;
            if !goes_on() {
                return;
            }
            self.notifier.wait(&self.base.net, notifications, Instant::now() + SOCKET_RETRY_INTERVAL);
        }
    }

    /// The callbacks are others now.
    pub(super) fn listen_anew(&self) {
        if let Some(listener) = self.notifier.listener() {
            listener.takes_results.store(self.base.has_on_result(), Ordering::Release);
        }
        self.notifier.wake_all();
    }

    fn listener_interest(&self) -> Interest {
        self.notifier.listener().map_or(Interest::NONE, Listener::interest)
    }

    /// The object for a result; a decoder's coroutine is refused, since nothing here could await it.
    pub(super) fn decode(&self, py: Python<'_>, received: &Received) -> PyResult<Py<PyAny>> {
        let (object, is_async) = self.base.decode(py, received)?;
        if !is_async {
            return Ok(object);
        }
        let _ = object.call_method0(py, intern!(py, "close")); // else Python reports that it was never awaited
        let why =
            "decode_message returned something to await, which SyncRealtimeClient cannot: use RealtimeClient";
        Err(to_py(py, &Error::new(ErrorKind::Decode, why)))
    }

    /// The oldest result, or the newest; with that, older ones are dropped.
    pub(super) fn receive(&self, py: Python<'_>, newest: bool) -> PyResult<Option<Py<PyAny>>> {
        let net = &self.base.net;
        let Some(item) = (if newest { net.pop_newest() } else { net.pop() }) else {
            return net.end().map_or(Ok(None), |error| Err(to_py(py, &error)));
        };
        match &item.what {
            Item::Result(received) => self.decode(py, received).map(Some),
            Item::Error(error) | Item::End(error) => {
                self.base.net.has_raised(error);
                Err(to_py(py, error))
            }
        }
    }
}
