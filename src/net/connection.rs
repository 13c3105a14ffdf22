//! A connection: its boxes, its link, and who drives that. What callers do with it is in [`handle`](super::handle),
//! what its driver task does in [`driver`](super::driver).

use std::sync::{Arc, OnceLock, atomic::Ordering};

use super::{
    duty::Duty, hooks::Hooks, poller::Poller, process, recorder::Recorder, settings::Settings, shared::Shared,
};
use crate::sync::{FairMutex, Mutex};

mod counting;
mod driving;
mod open_link;
mod recording;

pub(super) use driving::LinkSlot;
pub(super) use open_link::OpenLink;
pub use recording::NotRecorded;

/// A connection.
pub struct Connection {
    pub(super) shared: Shared,
    /// The open socket. Its lock comes before that of the boxes.
    link: FairMutex<Option<OpenLink>>,
    pub(super) duty: Duty,
    /// The poller of its event loop, if it belongs to one.
    poller: OnceLock<Arc<Poller>>,
    /// The questions that the caller wants to be asked.
    hooks: OnceLock<Arc<dyn Hooks>>,
    /// The recorder of what passes. No other lock is taken with it.
    recorder: Mutex<Option<Arc<Recorder>>>,
    process: u32,
}

impl Connection {
    /// A connection in the state `idle`. Opens nothing.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            shared: Shared::new(settings),
            link: FairMutex::new(None),
            duty: Duty::default(),
            poller: OnceLock::new(),
            hooks: OnceLock::new(),
            recorder: Mutex::new(None),
            process: process::number(),
        })
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The process that it belongs to.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// Sets the poller that watches the sockets of its event loop. To be said before it opens.
    pub fn set_poller(&self, poller: Arc<Poller>) {
        let _ = self.poller.set(poller);
    }

    /// Whether a session is being opened in which the caller's hook sends before all others.
    pub fn is_greeting(&self) -> bool {
        self.shared.is_greeting.load(Ordering::Relaxed)
    }

    /// Sets what the caller wants to be asked. To be said before it opens.
    pub fn set_hooks(&self, hooks: Arc<dyn Hooks>) {
        let _ = self.hooks.set(hooks);
    }

    pub(super) fn hooks(&self) -> Option<&Arc<dyn Hooks>> {
        self.hooks.get()
    }

    pub(super) fn poller(&self) -> Option<&Arc<Poller>> {
        self.poller.get()
    }
}
