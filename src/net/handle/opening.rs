//! A connection is opened: by who asks for that, or by the first message.

use std::sync::Arc;

use super::Connection;
use crate::{
    core::session::State,
    error::{Error, Result},
    net::{
        driver,
        io_thread::{self, Io},
        shared::{SharedState, Unpark, tell},
        wakeups,
    },
};

/// An opening for which somebody waits, until this is dropped: if it fails, that is told there and not to callbacks.
pub struct AwaitedOpening {
    connection: Arc<Connection>,
    before: u64,
    tells: bool,
}

impl AwaitedOpening {
    /// It is, or was, open for whoever waits as soon as [`Connection::openings`] is more than this.
    pub fn openings_before(&self) -> u64 {
        self.before
    }

    /// Why it failed, for whoever waits.
    pub fn failure(&mut self) -> Error {
        self.tells = true;
        self.connection.closed_error()
    }
}

impl Drop for AwaitedOpening {
    fn drop(&mut self) {
        // At a fork another thread may have had the lock.
        if self.connection.check_process().is_ok() {
            let mut inner = self.connection.shared.lock();
            let kind = inner.boxes.end_open(self.tells);
            tell(inner, kind);
        }
    }
}

impl Connection {
    /// Opens, if it is not open, for somebody who waits.
    pub fn open_awaited(self: &Arc<Self>) -> Result<AwaitedOpening> {
        self.shared.lock().boxes.begin_open();
        // What fails at once is raised.
        let mut opening = AwaitedOpening { connection: self.clone(), before: 0, tells: true };
        opening.before = self.open(true)?;
        opening.tells = false;
        Ok(opening)
    }

    /// Opens, if it is not open. `eager`: somebody waits for it. It is, or was, open for whoever asked as soon as
    /// [`Connection::openings`] is more than what this answers: at once where it is open now, however soon that ends.
    pub fn open(self: &Arc<Self>, eager: bool) -> Result<u64> {
        let mut inner = self.shared.lock();
        if inner.boxes.is_over_for_caller() {
            return Err(inner.boxes.closed_error());
        }
        let before = inner.boxes.openings().saturating_sub(u64::from(inner.boxes.state() == State::Active));
        self.wake_to_open(&mut inner, eager).map(|wakeup| {
            drop(inner);
            run_wakeup(wakeup);
            before
        })
    }

    /// Makes sure that a driver runs and opens.
    pub(super) fn wake_to_open(
        self: &Arc<Self>,
        inner: &mut SharedState,
        eager: bool,
    ) -> Result<Option<Wakeup>> {
        if inner.boxes.state() == State::Active {
            return Ok(inner.unpark().map(Wakeup::Wake));
        }
        inner.boxes.ask_to_open(eager);
        if inner.io.is_some() {
            return Ok(inner.unpark().map(Wakeup::Wake));
        }
        let io = match self.poller() {
            Some(poller) => poller.io(io_thread::io),
            None => io_thread::io(),
        };
        let io = io.inspect_err(|error| {
            // What was accepted will not be sent, and whoever waits is to know. The call that needed it raises this:
            // nobody else is told.
            inner.boxes.begin_open();
            let kind = inner.boxes.finish(Some(error.clone()));
            let kind = kind.and(inner.boxes.end_open(true));
            inner.boxes.failure_was_told();
            if let Some(notify) = inner.tell(kind) {
                wakeups::notify(notify);
            }
        })?;
        inner.io = Some(io.clone());
        Ok(Some(Wakeup::Start(io, self.clone())))
    }
}

/// The wakeup that sets the driver in motion, once the lock is released.
pub(super) enum Wakeup {
    Wake(Unpark),
    Start(Io, Arc<Connection>),
}

pub(super) fn run_wakeup(wakeup: Option<Wakeup>) {
    match wakeup {
        Some(Wakeup::Wake(driver)) => driver.wake(),
        // On a thread that is being stopped the driver is dropped at once, and takes the lock to say so.
        Some(Wakeup::Start(io, connection)) => io.spawn(driver::run(connection, io.clone())),
        None => {}
    }
}
