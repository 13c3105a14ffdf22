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
use tokio::sync::mpsc;

use super::{
    backlog::Backlog,
    jobs::Response,
    orders::{Mailbox, Order},
    records::HandshakeRecord,
    session_handle::SessionHandle,
    tally::Tally,
};

/// One open connection.
struct Place {
    /// The app and the handshake; of one that is opened to say no there is no app.
    app: Option<String>,
    handshake: Arc<HandshakeRecord>,
    mailbox: Mailbox,
    tally: Arc<Tally>,
}

/// All open connections.
#[derive(Default)]
pub(super) struct Registry {
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Place>>,
    changed: Condvar,
}

impl Registry {
    /// Enters a new connection.
    pub(super) fn enter(self: &Arc<Self>, app: Option<String>, handshake: Arc<HandshakeRecord>) -> Entry {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (orders, inbox) = mpsc::unbounded_channel();
        let (backlog, tally) = (Arc::<Backlog>::default(), Arc::<Tally>::default());
        let mailbox = Mailbox::new(orders, Arc::clone(&backlog));
        self.open.lock().insert(id, Place { app, handshake, mailbox, tally: Arc::clone(&tally) });
        self.changed.notify_all();
        Entry { id, inbox, backlog, tally, taken: 0, registry: Arc::clone(self) }
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Tells every connection.
    pub(super) fn tell_all(&self, order: impl Fn() -> Order) {
        for place in self.open.lock().values() {
            place.mailbox.send(order());
        }
    }

    /// Tells every session of an app, or of all.
    pub(super) fn tell_sessions(&self, app: Option<&str>, order: impl Fn() -> Order) {
        for place in self.open.lock().values() {
            if app.is_none() || place.app.as_deref() == app {
                place.mailbox.send(order());
            }
        }
    }

    /// The open sessions of an app, or of all, in the order in which they were opened.
    pub(super) fn sessions(&self, app: Option<&str>) -> Vec<SessionHandle> {
        let open = self.open.lock();
        let handle = |(id, place): (&u64, &Place)| {
            let name = place.app.as_ref()?;
            app.is_none_or(|app| app == name).then(|| SessionHandle {
                id: *id,
                app: name.clone(),
                handshake: Arc::clone(&place.handshake),
                mailbox: place.mailbox.clone(),
                tally: Arc::clone(&place.tally),
            })
        };
        let mut sessions: Vec<_> = open.iter().filter_map(handle).collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    /// Passes on what a handler says; `false` when it must not say more before it hears [`Event::Writable`], or
    /// [`Event::Closed`].
    ///
    /// [`Event::Writable`]: super::jobs::Event::Writable
    /// [`Event::Closed`]: super::jobs::Event::Closed
    pub(super) fn respond(&self, session: u64, response: Response) -> bool {
        let mailbox = self.open.lock().get(&session).map(|place| place.mailbox.clone());
        let Some(mailbox) = mailbox else { return false };
        mailbox.respond(response)
    }

    /// Tells a session that its handler has taken all inputs.
    pub(super) fn resume(&self, session: u64) {
        if let Some(place) = self.open.lock().get(&session) {
            place.mailbox.send(Order::InputsTaken);
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

/// A connection's place in the registry; it leaves on drop.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) inbox: mpsc::UnboundedReceiver<Order>,
    pub(super) tally: Arc<Tally>,
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
        self.taken += response.weight();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tally.end();
        self.registry.open.lock().remove(&self.id);
        self.registry.changed.notify_all();
        // Nobody writes any more.
        self.backlog.block();
    }
}
