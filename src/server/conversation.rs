//! The other side of a client's connection: a built-in app, or somebody else's handler.

use std::time::Instant;

use bytes::Bytes;

use super::{
    cold_start::Cold,
    jobs::{Input, Response},
    relay::Relay,
    session::{Output, Session},
};

/// Begins a session of an app.
pub(super) type Begin = Box<dyn FnOnce(Instant) -> Conversation + Send>;

/// One side of a connection.
pub(super) enum Conversation {
    /// The app is not warm yet. How it begins is taken once.
    Cold(Cold, Option<Begin>),
    Builtin(Box<Session>),
    Handler(Relay),
}

impl Conversation {
    /// Takes a binary message.
    pub(super) fn input(&mut self, input: Bytes, now: Instant) {
        match self {
            Self::Cold(cold, _) => cold.take(Input::Binary(input)),
            Self::Builtin(session) => session.input(input, now),
            Self::Handler(relay) => relay.input(input, now),
        }
    }

    /// Takes a text message.
    pub(super) fn text_input(&mut self, text: &str, now: Instant) {
        match self {
            Self::Cold(cold, _) => cold.take(Input::Text(text.to_owned())),
            Self::Builtin(session) => session.text_input(),
            Self::Handler(relay) => relay.text_input(text.to_owned(), now),
        }
    }

    /// Whether another message may be read; `None`: not before [`Self::resume`].
    pub(super) fn has_room(&self) -> Option<bool> {
        match self {
            Self::Cold(cold, _) => cold.has_room().then_some(true),
            Self::Builtin(session) => Some(session.has_room()),
            Self::Handler(relay) => relay.has_room().then_some(true),
        }
    }

    /// Whether enough results wait to be written that no input is processed.
    pub(super) fn is_saturated(&self) -> bool {
        matches!(self, Self::Builtin(session) if session.is_saturated())
    }

    /// Everything was read that was there. If nobody will ask again in time, it is `urgent`.
    pub(super) fn end_of_read(&mut self, now: Instant, urgent: bool) {
        if let Self::Handler(relay) = self {
            relay.end_of_read(now, urgent);
        }
    }

    /// The handler has taken all inputs.
    pub(super) fn resume(&mut self) {
        if let Self::Handler(relay) = self {
            relay.resume();
        }
    }

    /// Takes what the handler says.
    pub(super) fn respond(&mut self, response: Response) {
        if let Self::Handler(relay) = self {
            relay.respond(response);
        }
    }

    /// Does what is due and gives the next thing to send.
    pub(super) fn next_output(&mut self, now: Instant) -> Option<Output> {
        match self {
            Self::Cold(..) => None,
            Self::Builtin(session) => session.next_output(now),
            Self::Handler(relay) => relay.next_output(),
        }
    }

    /// The app that has become warm takes what came before.
    pub(super) fn begin_if_warm(&mut self, now: Instant) {
        let Self::Cold(cold, begin) = self else { return };
        let Some(inputs) = cold.inputs_if_warm(now) else { return };
        let Some(begin) = begin.take() else { return };
        *self = begin(now);
        for input in inputs {
            match input {
                Input::Binary(input) => self.input(input, now),
                Input::Text(text) => self.text_input(&text, now),
            }
        }
    }

    /// Starts its clock anew: it has said nothing for a while because it was told to be silent.
    pub(super) fn restart_clock(&mut self, now: Instant) {
        if let Self::Builtin(session) = self {
            session.restart_clock(now);
        }
    }

    /// When to ask again though nothing came; `None`: never.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Cold(cold, _) => Some(cold.until()),
            Self::Builtin(session) => session.wake_at(),
            Self::Handler(relay) => relay.wake_at(),
        }
    }

    /// When to ask again though nothing came and nothing may be said; `None`: never.
    pub(super) fn passes_on_at(&self) -> Option<Instant> {
        match self {
            Self::Cold(..) | Self::Handler(_) => self.wake_at(),
            Self::Builtin(_) => None,
        }
    }

    /// Enough of what was said is written that more may be said.
    pub(super) fn writable(&self) {
        if let Self::Handler(relay) = self {
            relay.writable();
        }
    }

    /// The client is gone.
    pub(super) fn disconnected(&mut self) {
        if let Self::Handler(relay) = self {
            relay.disconnected();
        }
    }
}
