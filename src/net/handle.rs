//! A connection as the caller's threads see it.
//!
//! No method waits, calls Python, or takes any other lock while it holds this one.

use std::{sync::Arc, time::Duration};

use super::{io_thread, process, wakeups::Notify};
use crate::{
    core::{session::State, stats::Stats},
    error::{Error, Result},
};

#[cfg(unix)]
mod blocking;
mod closing;
mod ending;
mod opening;
mod receiving;
mod requests;
mod sending;

#[cfg(unix)]
pub use self::blocking::Drove;
pub use self::opening::AwaitedOpening;
pub use super::connection::{Connection, NotRecorded};
pub use crate::core::boxes::{Interest, Offered, Readiness, Routes};

impl Connection {
    /// Fails unless the connection belongs to this process.
    pub fn check_process(&self) -> Result<()> {
        if self.process() == process::number() { Ok(()) } else { Err(io_thread::forked()) }
    }

    /// Says who is to be woken.
    pub fn set_notify(&self, notify: Arc<dyn Notify>) {
        self.shared.lock().notify = Some(notify);
    }

    /// Says which callbacks there are.
    pub fn set_routes(&self, routes: Routes) {
        self.shared.lock().boxes.set_routes(routes);
    }

    /// Waits for `interest` from now on; the wake that came has been seen. Answers whether any of `check` is
    /// there already, or the state is no longer `seen`: then there will be no wake for it.
    pub fn arm(&self, interest: Interest, check: Interest, seen: State) -> bool {
        self.shared.lock().boxes.arm(interest, check, seen)
    }

    /// Waits for `interest` from now on, without having taken what is there. Answers whether items or notices, as far
    /// as they are in `check`, are there already, or the connection is closed; there will be a wake for what comes,
    /// whatever the answer.
    pub fn listen(&self, interest: Interest, check: Interest) -> bool {
        self.shared.lock().boxes.listen(interest, check)
    }

    /// Does what [`Connection::listen`] does, unless another thread, or this one, has the lock just now.
    pub fn try_listen(&self, interest: Interest, check: Interest) -> Option<bool> {
        self.shared.try_lock().map(|mut inner| inner.boxes.listen(interest, check))
    }

    /// The readiness for those who wait, at one instant.
    pub fn readiness(&self) -> Readiness {
        self.shared.lock().boxes.readiness()
    }

    /// The state of the connection.
    pub fn state(&self) -> State {
        self.shared.lock().boxes.state()
    }

    /// How often it has become active. Who waits for the opening must not miss it when it is over at once.
    pub fn openings(&self) -> u64 {
        self.shared.lock().boxes.openings()
    }

    /// Why the newest attempt to open, or session, failed. A session that opens does not clear it.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.lock().last_error.clone()
    }

    /// Why it is not open yet, while it is being opened, as far as that is known.
    pub fn why_not_open(&self) -> Option<Error> {
        let (state, not_open) = {
            let inner = self.shared.lock();
            (inner.boxes.state(), inner.not_open.clone())
        };
        match state {
            // The other connections with this token may have learned it.
            State::Authenticating => {
                let token = self.settings().token.as_ref();
                token.and_then(|token| token.last_failure()).or(not_open)
            }
            // It may have been given up just now.
            State::Connecting | State::Waiting | State::Closed => not_open,
            State::Idle | State::Active | State::Closing => None,
        }
    }

    /// The code and the reason with which the caller closed the connection; else those of the newest session that is
    /// over, 1006 without a close frame.
    pub fn last_close(&self) -> Option<(u16, String)> {
        self.shared.lock().boxes.last_close().cloned()
    }

    /// The subprotocol that the server chose for the newest session; `None` before the first, and where it chose none.
    pub fn subprotocol(&self) -> Option<String> {
        self.shared.lock().subprotocol.clone()
    }

    /// How long after the newest answered ping its pong came; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        self.shared.lock().latency
    }

    /// The counters, at one instant.
    pub fn stats(&self) -> Stats {
        self.shared.lock().boxes.stats()
    }
}
