//! A connection: its boxes, its link, and who drives that. What callers do with it is in [`handle`](super::handle), what
//! its driver task does in [`actor`](super::actor).

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{duty::Duty, poller::Poller, runtime, settings::Settings, shared::Shared};

mod driving;
mod open_link;

pub(super) use driving::LinkSlot;
pub(super) use open_link::OpenLink;

/// A connection.
pub struct Connection {
    pub(super) shared: Shared,
    /// The open socket. Its lock comes before that of the boxes.
    link: Mutex<Option<OpenLink>>,
    pub(super) duty: Duty,
    /// The poller of its event loop, if it belongs to one.
    poller: OnceLock<Arc<Poller>>,
    process: u32,
}

impl Connection {
    /// A connection in the state `idle`. Opens nothing.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            shared: Shared::new(settings),
            link: Mutex::new(None),
            duty: Duty::default(),
            poller: OnceLock::new(),
            process: runtime::process(),
        })
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The process that it belongs to.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The poller that watches the sockets of its event loop. To be said before it opens.
    pub fn set_poller(&self, poller: Arc<Poller>) {
        let _ = self.poller.set(poller);
    }

    pub(super) fn poller(&self) -> Option<&Arc<Poller>> {
        self.poller.get()
    }
}
