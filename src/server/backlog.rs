//! What a handler said to a session and the client's socket has not taken yet.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

/// A handler is to pause from here on: asyncio's default for a transport.
const HIGH_WATER_BYTES: usize = 64 << 10;

/// The time for which a handler may be kept for the I/O thread to write what it said.
const MAX_WAIT: Duration = Duration::from_millis(250);

#[derive(Default)]
struct State {
    bytes: usize,
    /// The client's socket takes no more.
    blocked: bool,
    /// The handler pauses, and wants to be told when it may go on.
    handler_waits: bool,
}

/// Shared by the handler's thread, which adds, and the I/O thread, which writes.
#[derive(Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    written: Condvar,
}

impl Backlog {
    /// Adds `bytes`, before they are passed on.
    pub(super) fn add(&self, bytes: usize) {
        self.state.lock().bytes += bytes;
    }

    /// Whether the handler may say more. Where much was said, waits until it was offered to the socket: for the
    /// handler writing is to look as in a server that writes on its own thread; else large results would come in an
    /// order that fal does not give.
    pub(super) fn may_go_on(&self) -> bool {
        let mut state = self.state.lock();
        let deadline = Instant::now() + MAX_WAIT;
        while state.bytes >= HIGH_WATER_BYTES && !state.blocked {
            let is_over;
            (state, is_over) = self.written.wait_until(state, deadline);
            if is_over {
                break;
            }
        }
        state.handler_waits = state.bytes >= HIGH_WATER_BYTES;
        !state.handler_waits
    }

    /// `bytes` were written; whether the handler is to be told.
    pub(super) fn wrote(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        state.bytes -= bytes;
        state.blocked = false;
        self.written.notify_all();
        state.bytes < HIGH_WATER_BYTES && std::mem::take(&mut state.handler_waits)
    }

    /// The socket takes no more for now.
    pub(super) fn block(&self) {
        self.state.lock().blocked = true;
        self.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_said_much_to_a_blocked_client_is_told_once_when_it_may_go_on() {
        let backlog = Backlog::default();
        backlog.add(HIGH_WATER_BYTES - 1);
        assert!(backlog.may_go_on());
        backlog.add(1);
        backlog.block();
        assert!(!backlog.may_go_on());
        assert!(backlog.wrote(HIGH_WATER_BYTES));
        assert!(!backlog.wrote(0));
        assert!(backlog.may_go_on());
    }
}
