//! What the server was told to do wrong.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::sync::Mutex;
use tokio::sync::Notify;

/// The faults in force. Set from any thread; each holds for what begins after it was set.
#[derive(Default)]
pub(super) struct Faults {
    paused: AtomicBool,
    resumed: Notify,
    planned: Mutex<Planned>,
}

#[derive(Default)]
struct Planned {
    refusal: Option<u16>,
    mint_failures: u32,
    mint_failure_status: Option<u16>,
    mint_delay: Duration,
    handshake_delay: Duration,
}

/// What becomes of a token request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MintFate {
    Served,
    /// Answered with this status.
    Failed(u16),
    /// The connection is closed without an answer.
    Dropped,
}

impl Faults {
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if !paused {
            self.resumed.notify_waiters();
        }
    }

    /// Waits while the server is paused.
    pub(super) async fn until_resumed(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    pub(super) fn set_refusal(&self, status: Option<u16>) {
        self.planned.lock().refusal = status;
    }

    pub(super) fn refusal(&self) -> Option<u16> {
        self.planned.lock().refusal
    }

    /// Fails the next `count` token requests; without a status their connections are closed unanswered.
    pub(super) fn fail_mints(&self, count: u32, status: Option<u16>) {
        let mut planned = self.planned.lock();
        planned.mint_failures = count;
        planned.mint_failure_status = status;
    }

    /// What becomes of the token request that just came.
    pub(super) fn next_mint(&self) -> MintFate {
        let mut planned = self.planned.lock();
        if planned.mint_failures == 0 {
            return MintFate::Served;
        }
        planned.mint_failures -= 1;
        planned.mint_failure_status.map_or(MintFate::Dropped, MintFate::Failed)
    }

    pub(super) fn set_mint_delay(&self, delay: Duration) {
        self.planned.lock().mint_delay = delay;
    }

    pub(super) fn mint_delay(&self) -> Duration {
        self.planned.lock().mint_delay
    }

    pub(super) fn set_handshake_delay(&self, delay: Duration) {
        self.planned.lock().handshake_delay = delay;
    }

    pub(super) fn handshake_delay(&self) -> Duration {
        self.planned.lock().handshake_delay
    }
}
