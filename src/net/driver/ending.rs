//! The end of a session, and of the connection: the accounts, and who is told.

use super::Driver;
use crate::{
    core::{
        boxes::Interest,
        outbox::SessionEnd,
        session::{State, Traffic},
    },
    error::Error,
    net::{
        connection::OpenLink,
        driven::Side,
        panics,
        recorder::{Close, Event},
        report, shared,
    },
};

impl Driver {
    pub(super) fn finish(&mut self, error: Option<Error>) {
        self.lease = None;
        self.drop_link(SessionEnd::Lost, Close::abandoned(""));
        let mut inner = self.connection.shared.lock();
        if inner.boxes.state() == State::Closed {
            return;
        }
        // What the caller has closed did not fail.
        let error = error.filter(|_| !inner.boxes.is_closed_by_caller());
        let kind = inner.boxes.finish(error);
        shared::tell(inner, kind);
        self.connection.end_recording();
    }

    /// The connection ends with a defect of ours. What is left of its link is not touched, but counted.
    pub(super) fn panicked(&mut self, error: Error) {
        self.has_panicked = true;
        report::notable(|| format!("{self}: closed: {error}"));
        self.lease = None;
        let link = self.connection.with_link(Side::IoThread, |slot| slot.take());
        if let Err(again) = panics::caught(|| drop(link.map(OpenLink::end))) {
            report::notable(|| format!("{self}: and again, while it was cleared away: {again}"));
        }
        let mut inner = self.connection.shared.lock();
        if inner.boxes.state() == State::Closed {
            return;
        }
        inner.boxes.outbox.lose_all();
        inner.failed(&error);
        let kind = inner.boxes.finish(Some(error));
        shared::tell(inner, kind);
        self.connection.end_recording();
    }

    /// A session has ended, and what follows is known. Answers how it ended, if it did: the error that the server ended
    /// it with says more than its close.
    pub(super) fn tell_loss(&mut self) -> Option<Error> {
        let ended = self.ended.take()?;
        let said = {
            let mut inner = self.connection.shared.lock();
            if let Some((code, reason)) = ended.close() {
                inner.boxes.session_closed(code, reason);
            }
            let said = inner.boxes.take_ended_with();
            if let Some(said) = &said {
                inner.failed(said);
            }
            said
        };
        // What the server said tells more than how it closed then.
        if let Some(said) = &said {
            report::notable(|| format!("{self}: the server ended the session: {}", shortened(&said.message)));
        }
        let what_follows = match self.session.state() {
            // Whoever waits is told of the end of the connection.
            State::Closing | State::Closed => return said,
            State::Idle => "the next message begins another",
            _ => "the connection is being opened again",
        };
        report::notable(|| format!("{self}: the session ended: {ended}; {what_follows}"));
        let mut inner = self.connection.shared.lock();
        let kind = inner.boxes.tell_loss(ended.clone(), what_follows);
        shared::tell(inner, kind);
        Some(said.unwrap_or(ended))
    }

    /// The socket is gone: what of its messages can be sent again goes back, the rest has failed. Answers whether
    /// messages wait, and what has passed. `otherwise` is how it ended where the link does not know better.
    pub(super) fn drop_link(&mut self, end: SessionEnd, otherwise: Close) -> (bool, Traffic) {
        let open = self.connection.with_link(Side::IoThread, |slot| slot.take());
        let leftover = open.map(|mut open| {
            let close = open.link.take_close().unwrap_or(otherwise);
            let close = close.with_reason(|reason| self.connection.without_secrets(reason));
            self.connection.record_event(|| Event::Close(close));
            open.end().abandon().1
        });
        let mut inner = self.connection.shared.lock();
        let kind = leftover.map_or(Interest::NONE, |leftover| inner.boxes.lose_link(leftover, end));
        let (unsent, traffic) = (inner.boxes.has_unsent(), inner.boxes.traffic());
        shared::tell(inner, kind);
        (unsent, traffic)
    }
}

/// The beginning of what a server said, which may be long, for a record.
fn shortened(text: &str) -> &str {
    const MAX_BYTES: usize = 1_000;
    let end = (0..=MAX_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
