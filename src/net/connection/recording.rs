//! Recording what passes on a connection.

use std::{path::PathBuf, sync::Arc};

use super::Connection;
use crate::{
    core::session::State,
    error::Error,
    net::{
        driven::Side,
        recorder::{About, Event, NotStarted, Recorder},
    },
};

/// Why a connection is not recorded.
#[derive(Debug)]
pub enum NotRecorded {
    /// It is recorded already, into this file.
    Already(PathBuf),
    /// The connection is over.
    Closed(Error),
    /// The recording could not be started.
    NotStarted(NotStarted),
}

impl Connection {
    /// Records from now on what passes, into a new file at `path`.
    pub fn record(&self, path: PathBuf) -> Result<Arc<Recorder>, NotRecorded> {
        self.check_process().map_err(NotRecorded::Closed)?;
        let mut slot = self.recorder.lock();
        if let Some(other) = slot.as_ref().filter(|other| other.is_open()) {
            return Err(NotRecorded::Already(other.path().to_owned()));
        }
        let (state, secrets) = {
            let mut inner = self.shared.lock();
            if inner.boxes.state() == State::Closed {
                return Err(NotRecorded::Closed(inner.boxes.closed_error()));
            }
            (inner.boxes.state(), inner.secrets.finders())
        };
        let app = self.settings().address.name();
        let about = About { app, dialect: self.settings().dialect, path };
        let recorder = Recorder::start(about).map_err(NotRecorded::NotStarted)?;
        recorder.hide(secrets);
        recorder.event(Event::Start { state: state.name() });
        *slot = Some(recorder.clone());
        drop(slot);
        self.show_recorder_to_link();
        Ok(recorder)
    }

    /// Records no more with this one, whose file is ended.
    pub fn stop_recording(&self, recorder: &Arc<Recorder>) {
        if self.check_process().is_err() {
            return;
        }
        recorder.end();
        let mut slot = self.recorder.lock();
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, recorder)) {
            *slot = None;
            drop(slot);
            self.show_recorder_to_link();
        }
    }

    /// Ends the file of a connection that is over.
    pub(in crate::net) fn end_recording(&self) {
        if let Some(recorder) = self.recorder.lock().take() {
            recorder.end();
        }
    }

    /// Tells the recording, if there is one.
    pub(in crate::net) fn record_event(&self, event: impl FnOnce() -> Event) {
        if let Some(recorder) = &*self.recorder.lock() {
            recorder.event(event());
        }
    }

    /// Tells the recording that a session begins, whose secrets it must not show.
    pub(in crate::net) fn record_opening(&self, subprotocol: Option<String>) {
        if let Some(recorder) = self.current_recorder() {
            recorder.hide(self.shared.lock().secrets.finders());
            recorder.event(Event::Open { subprotocol });
        }
    }

    /// The recorder of what passes, if there is one.
    pub(in crate::net) fn current_recorder(&self) -> Option<Arc<Recorder>> {
        self.recorder.lock().clone()
    }

    fn show_recorder_to_link(&self) {
        self.with_link(Side::Caller, |slot| {
            if let Some(open) = slot.as_mut() {
                open.link.set_recorder(self.current_recorder());
            }
        });
    }
}
