//! Messages on their way out, as the callers' threads give them.

use std::{sync::Arc, time::Instant};

use super::{Connection, Interest, Offered, opening::run_wakeup};
use crate::{
    core::{message::Outgoing, outbox::Lane},
    error::Result,
    net::{driven::Side, link::Work, shared::tell, wakeups},
};

impl Connection {
    /// Takes a message on its way. The first one opens the connection.
    pub fn offer(self: &Arc<Self>, message: Outgoing, lane: Lane) -> Result<Offered> {
        self.take_on(message, lane, false).map(|(offered, _)| offered)
    }

    /// Takes a message that others follow at once. Answers also whether it waits for them: if none comes,
    /// [`Connection::uncork`] is to be called.
    pub fn offer_more(self: &Arc<Self>, message: Outgoing, lane: Lane) -> Result<(Offered, bool)> {
        self.take_on(message, lane, true)
    }

    fn take_on(self: &Arc<Self>, message: Outgoing, lane: Lane, more: bool) -> Result<(Offered, bool)> {
        let now = Instant::now();
        let mut inner = self.shared.lock();
        let (offered, waits) = inner.boxes.offer(now, message, lane, more)?;
        if let Offered::Full(_) = offered {
            return Ok((offered, false));
        }
        let is_active = inner.boxes.is_writable();
        let wakeup = if is_active { Ok(None) } else { self.wake_to_open(&mut inner, false) };
        let settled = inner.boxes.settled();
        let told = if settled == Interest::NONE { None } else { inner.tell(settled) };
        drop(inner);
        if let Some(notify) = told {
            wakeups::notify(notify);
        }
        run_wakeup(wakeup?);
        if waits {
            self.wait_for_more();
        } else if is_active {
            self.write_soon();
        }
        Ok((offered, waits))
    }

    /// Lets what the throttle holds go before its time: nothing newer will come.
    pub fn release_throttled(&self) {
        let mut inner = self.shared.lock();
        let kind = inner.boxes.release_throttled(Instant::now());
        tell(inner, kind);
        self.drive(Work::WRITE, Side::Caller);
    }

    /// Lets the messages of the last moment go: nothing follows that they should wait for.
    pub fn uncork(self: &Arc<Self>) {
        if self.check_process().is_err() {
            return;
        }
        let mut inner = self.shared.lock();
        let waits = inner.boxes.outbox.corked_until().is_some();
        inner.boxes.outbox.uncork();
        drop(inner);
        if waits {
            self.write_soon();
        }
    }

    /// Forgets somebody who waited for room and has given up.
    pub fn forget_refused(&self) {
        self.shared.lock().boxes.outbox.forget_refused();
    }
}
