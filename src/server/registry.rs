//! The open connections, and the way to reach them from any thread.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::sync::{Condvar, Mutex};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{backlog::Backlog, jobs::Response};

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
    /// What a handler says to the session.
    Respond(Response),
    /// The handler has taken all inputs.
    InputsTaken,
    /// Look again whether the server is paused.
    Resume,
}

/// Where a connection's orders go.
#[derive(Clone)]
pub(super) struct Mailbox {
    orders: mpsc::UnboundedSender<Order>,
    backlog: Arc<Backlog>,
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
        let backlog = Arc::<Backlog>::default();
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

    /// Passes on what a handler says; `false` when it must not say more before it hears [`Event::Writable`], or
    /// [`Event::Closed`].
    ///
    /// [`Event::Writable`]: super::jobs::Event::Writable
    /// [`Event::Closed`]: super::jobs::Event::Closed
    pub(super) fn respond(&self, session: u64, response: Response) -> bool {
        let Some(mailbox) = self.open.lock().get(&session).cloned() else { return false };
        mailbox.backlog.add(weight(&response));
        mailbox.send(Order::Respond(response));
        mailbox.backlog.may_go_on()
    }

    /// Tells a session that its handler has taken all inputs.
    pub(super) fn resume(&self, session: u64) {
        if let Some(mailbox) = self.open.lock().get(&session) {
            mailbox.send(Order::InputsTaken);
        }
    }

    /// Waits until exactly `count` connections are open; whether they were in time.
    pub(super) fn wait_for(&self, count: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut open = self.open.lock();
        while open.len() != count {
            let is_over;
            (open, is_over) = self.changed.wait_until(open, deadline);
            if is_over {
                return open.len() == count;
            }
        }
        true
    }
}

fn weight(response: &Response) -> usize {
    match response {
        Response::Binary(bytes) => bytes.len(),
        Response::Text(text) => text.len(),
        Response::Close(_) | Response::End => 0,
    }
}

/// A connection's place in the registry; it leaves on drop.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) inbox: mpsc::UnboundedReceiver<Order>,
    backlog: Arc<Backlog>,
    /// What of the backlog is taken and not yet written.
    taken: usize,
    registry: Arc<Registry>,
}

impl Entry {
    /// What was taken so far is written; whether the handler is to be told that it may say more.
    pub(super) fn wrote_all(&mut self) -> bool {
        self.backlog.wrote(std::mem::take(&mut self.taken))
    }

    /// The client does not take what was written.
    pub(super) fn block(&self) {
        self.backlog.block();
    }

    /// What a handler said was taken out of the inbox.
    pub(super) fn taken(&mut self, response: &Response) {
        self.taken += weight(response);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.id);
        self.registry.changed.notify_all();
        // Nobody writes any more.
        self.backlog.block();
    }
}
