//! The refresh of a token, for as long as a connection uses it.

use std::sync::{Arc, Weak};

use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::{FetchState, Purpose, SharedToken};
use crate::sync::Mutex;

/// Keeps a [`SharedToken`] fresh until dropped.
#[derive(Debug)]
pub struct Lease {
    token: Arc<SharedToken>,
}

impl Lease {
    /// The token that this lease keeps fresh.
    pub fn token(&self) -> &Arc<SharedToken> {
        &self.token
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.token.inner.lock();
        inner.leases -= 1;
        if inner.leases == 0 {
            drop(inner);
            self.token.changed.notify_one();
        }
    }
}

impl SharedToken {
    /// Keeps the token fresh while the returned lease lives. The refresh task runs on `runtime`; of several
    /// runtimes, on that of the first lease, and when that one is shut down, on that of the next new lease
    /// (an expired token is fetched by [`get`](Self::get) in any case).
    pub fn lease(self: &Arc<Self>, runtime: &Handle) -> Lease {
        let mut inner = self.inner.lock();
        inner.leases += 1;
        if !inner.refreshing && self.source.expiration().is_some() {
            inner.refreshing = true;
            let ended = RefreshEnded(Arc::downgrade(&self.inner));
            drop(inner);
            runtime.spawn(refresh(Arc::downgrade(self), Arc::clone(&self.changed), ended));
        }
        Lease { token: Arc::clone(self) }
    }
}

/// Notes that the refresh task ended, even when its runtime was shut down under it.
pub(super) struct RefreshEnded(pub(super) Weak<Mutex<FetchState>>);

impl Drop for RefreshEnded {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.lock().refreshing = false;
        }
    }
}

/// Refreshes when due, until the last lease is gone.
pub(super) async fn refresh(token: Weak<SharedToken>, changed: Arc<Notify>, mut ended: RefreshEnded) {
    loop {
        let due = {
            let Some(token) = token.upgrade() else { return };
            let mut inner = token.inner.lock();
            if inner.leases == 0 {
                // Noted under the same lock that a new lease takes: it either finds us running or starts
                // anew.
                inner.refreshing = false;
                ended.0 = Weak::new();
                return;
            }
            inner.state.refresh_due()
        };
        let Some(due) = due else {
            changed.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(Instant::from_std(due)) => {}
            () = changed.notified() => continue,
        }
        let join = |token: Arc<SharedToken>| token.join_flight(&mut token.inner.lock(), Purpose::Refresh).0;
        let Some(mut flight) = token.upgrade().map(join) else { return };
        // The flight stores its own result, and the next deadline with it.
        loop {
            tokio::select! {
                _ = &mut flight => break,
                () = changed.notified() => {
                    if token.upgrade().is_none_or(|token| token.inner.lock().leases == 0) {
                        break;
                    }
                }
            }
        }
    }
}
