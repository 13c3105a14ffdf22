//! The open connections, and the way to reach them from any thread.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use super::jobs::Response;

/// An external handler should pause while so many bytes of its results wait to be written.
const BACKLOG_LIMIT: usize = 1 << 20;

/// Something a connection is told.
pub(super) enum Order {
    /// Send this as it is.
    SendBinary(Bytes),
    SendText(String),
    /// Close with this code and reason.
    Close(u16, String),
    /// Close the TCP connection, or reset it.
    Drop {
        abrupt: bool,
    },
    /// A handler's word to the session.
    Respond(Response),
    /// Look again whether the server is paused.
    Resume,
}

/// Where a connection's orders go.
#[derive(Clone)]
pub(super) struct Mailbox {
    orders: mpsc::UnboundedSender<Order>,
    backlog: Arc<AtomicUsize>,
}

impl Mailbox {
    fn send(&self, order: Order) {
        // A connection that is gone needs no orders.
        let _ = self.orders.send(order);
    }
}

/// All open connections.
#[derive(Default)]
pub(super) struct Registry {
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Mailbox>>,
    changed: Condvar,
}

impl Registry {
    /// Enters a new connection.
    pub(super) fn enter(self: &Arc<Self>) -> Entry {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (orders, inbox) = mpsc::unbounded_channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        self.open.lock().insert(id, Mailbox { orders, backlog: Arc::clone(&backlog) });
        self.changed.notify_all();
        Entry { id, inbox, backlog, taken: 0, registry: Arc::clone(self) }
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Tells every connection.
    pub(super) fn tell_all(&self, order: impl Fn() -> Order) {
        for mailbox in self.open.lock().values() {
            mailbox.send(order());
        }
    }

    /// Passes a handler's word on; `false` when it should wait before the next one (see [`Registry::has_room`]).
    pub(super) fn respond(&self, session: u64, response: Response) -> bool {
        let Some(mailbox) = self.open.lock().get(&session).cloned() else { return true };
        let weight = weight(&response);
        let backlog = mailbox.backlog.fetch_add(weight, Ordering::Relaxed) + weight;
        mailbox.send(Order::Respond(response));
        backlog < BACKLOG_LIMIT
    }

    /// Whether a handler may send more results; true of a connection that is gone, where they go nowhere.
    pub(super) fn has_room(&self, session: u64) -> bool {
        let open = self.open.lock();
        open.get(&session).is_none_or(|mailbox| mailbox.backlog.load(Ordering::Relaxed) < BACKLOG_LIMIT)
    }

    /// Waits until exactly `count` connections are open; whether they were in time.
    pub(super) fn wait_for(&self, count: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut open = self.open.lock();
        while open.len() != count {
            if self.changed.wait_until(&mut open, deadline).timed_out() {
                return open.len() == count;
            }
        }
        true
    }
}

fn weight(response: &Response) -> usize {
    if let Response::Output(bytes) = response { bytes.len() + 64 } else { 0 }
}

/// A connection's place in the registry; it leaves on drop.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) inbox: mpsc::UnboundedReceiver<Order>,
    backlog: Arc<AtomicUsize>,
    /// What of the backlog is taken and not yet written.
    taken: usize,
    registry: Arc<Registry>,
}

impl Entry {
    /// What handlers said so far is written: they may say more.
    pub(super) fn clear_backlog(&mut self) {
        self.backlog.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
    }

    /// A handler's word was taken out of the inbox.
    pub(super) fn taken(&mut self, response: &Response) {
        self.taken += weight(response);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.id);
        self.registry.changed.notify_all();
    }
}
