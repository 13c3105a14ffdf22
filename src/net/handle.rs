//! A connection as the caller's threads see it.
//!
//! No method waits, calls Python, or takes any other lock while it holds this one.

use std::{sync::Arc, time::Duration};

use super::{io_thread, process, wakeups::Notify};
use crate::{
    core::{
        message::{Outgoing, RequestKey},
        session::State,
        stats::Stats,
    },
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
pub use super::{
    connection::{Connection, NotRecorded},
    shared::{Interest, Routes},
};

/// The readiness of a connection: what is there for those who wait, at one instant.
#[derive(Debug)]
pub struct Readiness {
    /// Where the connection stands.
    pub state: State,
    /// How often it has become active.
    pub openings: u64,
    /// [`Connection::pop`] has something.
    pub has_items: bool,
    /// An offered message would be accepted.
    pub has_room: bool,
    /// Nothing is pending on the way out.
    pub is_drained: bool,
    /// Nothing more is accepted, and nothing is pending or without an answer.
    pub is_finished: bool,
    /// The requests that were settled since this was last asked.
    pub settled: Vec<RequestKey>,
}

/// The outcome for an offered message.
#[derive(Debug)]
pub enum Offered {
    /// It was accepted.
    Accepted,
    /// There is no room; here it is again.
    Full(Outgoing),
}

impl Connection {
    /// The connection belongs to this process.
    pub fn check_process(&self) -> Result<()> {
        if self.process() == process::number() { Ok(()) } else { Err(io_thread::forked()) }
    }

    /// Says who is to be woken.
    pub fn set_notify(&self, notify: Arc<dyn Notify>) {
        self.shared.lock().notify = Some(notify);
    }

    /// Says which callbacks there are.
    pub fn set_routes(&self, routes: Routes) {
        let mut inner = self.shared.lock();
        inner.routes = routes;
        if routes.results {
            inner.inbox.receive();
        }
    }

    /// The wake that came has been seen; `interest` is waited for from now on. Answers whether any of `check` is
    /// there already, or the state is no longer `seen`: then there will be no wake for it.
    pub fn arm(&self, interest: Interest, check: Interest, seen: State) -> bool {
        self.shared.lock().arm(interest, check, seen)
    }

    /// `interest` is waited for from now on. Answers whether items or notices, as far as they are in `check`, are there
    /// already, or the connection is closed; there will be a wake for what comes, whatever the answer.
    pub fn listen(&self, interest: Interest, check: Interest) -> bool {
        self.shared.lock().listen(interest, check)
    }

    /// The same, unless another thread, or this one, has the lock just now.
    pub fn try_listen(&self, interest: Interest, check: Interest) -> Option<bool> {
        self.shared.try_lock().map(|mut inner| inner.listen(interest, check))
    }

    /// What is there for those who wait, at one instant.
    pub fn readiness(&self) -> Readiness {
        let mut inner = self.shared.lock();
        Readiness {
            state: inner.state,
            openings: inner.openings,
            has_items: inner.inbox.has_items(),
            has_room: inner.state == State::Closed || inner.outbox.has_room_for_refused(),
            is_drained: inner.outbox.pending() == 0,
            is_finished: inner.commands.finish && inner.is_finished(),
            settled: if inner.inbox.requests.any_settled() {
                inner.inbox.requests.take_settled()
            } else {
                Vec::new()
            },
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.shared.lock().state
    }

    /// How often it has become active. Who waits for the opening must not miss it when it is over at once.
    pub fn openings(&self) -> u64 {
        self.shared.lock().openings
    }

    /// Why the newest attempt to open, or session, failed. A session that opens does not clear it.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.lock().last_error.clone()
    }

    /// The code and the reason with which the caller closed the connection; else those of the newest session that is
    /// over, 1006 without a close frame.
    pub fn last_close(&self) -> Option<(u16, String)> {
        self.shared.lock().last_close.clone()
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
        self.shared.lock().stats()
    }
}
