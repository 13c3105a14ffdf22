//! What the messages of one read mean, gathered without any lock, to be handed over in one go.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    settings::Dialect,
    shared::{Inner, Interest},
};
use crate::{
    core::{
        envelope::{Inbound, classify_binary, classify_binary_without_id, classify_text, control_text},
        frame::Kind,
        inbox::{Item, Notice, Numbered, Placed},
        message::Received,
    },
    error::{Error, ErrorKind},
};

/// The error codes after which the server ends its session.
const FATAL: &str = "INTERNAL_ERROR";

/// An idle connection keeps room for so many messages.
const KEPT: usize = 16;

/// One message, understood.
enum Arrival {
    Result(Received, Option<String>),
    Realtime { error: Error, fatal: bool },
    Error(Error),
    Timings(f64),
}

/// What a message asks of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// The token was refused.
    Unauthorized,
    /// The server's session is over; it will close.
    SessionOver,
    /// Nothing is under way, and the session is to end then.
    Unused,
}

/// The arrivals of one read.
pub(super) struct Intake {
    dialect: Dialect,
    /// Results that answer no request, before anything else came.
    plain: VecDeque<Numbered<Item>>,
    arrivals: Vec<Arrival>,
    /// How many plain results came last time: so many will probably come again.
    expected: usize,
    /// A request waits: request ids are of interest.
    pub(super) expects_answers: bool,
}

impl Intake {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, plain: VecDeque::new(), arrivals: Vec::new(), expected: 0, expects_answers: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.arrivals.is_empty()
    }

    /// Whether there is a result among the arrivals.
    pub(super) fn has_result(&self) -> bool {
        !self.plain.is_empty() || self.arrivals.iter().any(|arrival| matches!(arrival, Arrival::Result(..)))
    }

    /// Takes a data message.
    pub(super) fn take(&mut self, kind: Kind, payload: Bytes) -> Verdict {
        let inbound = match (self.dialect, kind) {
            (Dialect::Raw, _) => Inbound::Result { request_id: None },
            (_, Kind::Text) => {
                let text = std::str::from_utf8(&payload).unwrap_or_default();
                match self.dialect {
                    Dialect::Fal => classify_text(text),
                    _ => control_text(text).unwrap_or_else(|| self.custom(&payload)),
                }
            }
            (Dialect::Fal, Kind::Binary) if self.expects_answers => classify_binary(&payload),
            (Dialect::Fal, Kind::Binary) => classify_binary_without_id(&payload),
            (_, Kind::Binary) => self.custom(&payload),
        };
        let (arrival, verdict) = match inbound {
            Inbound::Result { request_id } => {
                let id = request_id.filter(|_| self.expects_answers).map(std::borrow::Cow::into_owned);
                if id.is_none() && self.arrivals.is_empty() {
                    if self.plain.capacity() == 0 {
                        self.plain.reserve(self.expected);
                    }
                    self.plain
                        .push_back(Numbered { number: 0, what: Item::Result(Received { kind, payload }) });
                    return Verdict::Nothing;
                }
                (Arrival::Result(Received { kind, payload }, id), Verdict::Nothing)
            }
            Inbound::Error { error, reason } => {
                let fatal = error == FATAL;
                let message =
                    if reason.is_empty() { error.to_string() } else { format!("{error}: {reason}") };
                let (error, reason) = (error.into_owned(), reason.into_owned());
                let error = Error::new(ErrorKind::Realtime { error, reason, payload }, message);
                let verdict = if fatal { Verdict::SessionOver } else { Verdict::Nothing };
                (Arrival::Realtime { error, fatal }, verdict)
            }
            Inbound::Unauthorized => return Verdict::Unauthorized,
            Inbound::EndOfSession { .. } => return Verdict::SessionOver,
            Inbound::Timings { seconds } => (Arrival::Timings(seconds), Verdict::Nothing),
            Inbound::Control { action } => {
                let message = format!("the server sent a control message with the unknown action {action:?}");
                (Arrival::Error(Error::new(ErrorKind::Decode, message)), Verdict::Nothing)
            }
            Inbound::Malformed { why } => {
                let what = if kind == Kind::Text { "text" } else { "binary" };
                let message =
                    format!("a {what} message of {} bytes could not be decoded: {why}", payload.len());
                (Arrival::Error(Error::new(ErrorKind::Decode, message)), Verdict::Nothing)
            }
        };
        self.arrivals.push(arrival);
        verdict
    }

    /// Takes an error that is not a message: what came before it goes before it.
    pub(super) fn fail(&mut self, error: Error) {
        self.arrivals.push(Arrival::Error(error));
    }

    /// A message in the caller's own format is a result, whatever it looks like. Only when a request waits is it
    /// worth a look whether it is one of the two common formats and carries a `request_id`.
    fn custom<'a>(&self, payload: &'a Bytes) -> Inbound<'a> {
        if !self.expects_answers {
            return Inbound::Result { request_id: None };
        }
        let looked = match std::str::from_utf8(payload) {
            Ok(text) if text.trim_start().starts_with('{') => classify_text(text),
            _ => classify_binary(payload),
        };
        match looked {
            result @ Inbound::Result { .. } => result,
            _ => Inbound::Result { request_id: None },
        }
    }

    /// Hands everything over, in order. Answers what is there now.
    pub(super) fn deliver(&mut self, inner: &mut Inner) -> Interest {
        let mut kind = Interest::NONE;
        if !self.plain.is_empty() {
            self.expected = self.plain.len();
            inner.inbox.push_results(&mut self.plain);
            inner.outbox.result_came();
            if self.plain.capacity() > KEPT {
                self.plain = VecDeque::new();
            }
            kind = Interest::ITEMS;
        }
        for arrival in self.arrivals.drain(..) {
            // An app, or whoever is between it and us, may repeat what it was told.
            let arrival = match arrival {
                Arrival::Realtime { error, fatal } => {
                    Arrival::Realtime { error: inner.told.without(error), fatal }
                }
                Arrival::Error(error) => Arrival::Error(inner.told.without(error)),
                other => other,
            };
            let more = match arrival {
                Arrival::Result(received, id) => {
                    inner.outbox.result_came();
                    match inner.inbox.push_result(received, id.as_deref()) {
                        Placed::Queued => Interest::ITEMS,
                        Placed::Answered => Interest::ANSWERS,
                        Placed::Late => Interest::NONE,
                    }
                }
                Arrival::Realtime { error, fatal } => {
                    inner.outbox.server_spoke();
                    // The server does not say which input failed.
                    let failed =
                        if fatal { inner.fail_sent(&error) } else { inner.fail_only_request(&error) };
                    inner.end_is_told |= fatal && !failed;
                    if failed { Interest::ANSWERS } else { inner.push_error(error) }
                }
                Arrival::Error(error) => {
                    inner.outbox.server_spoke();
                    inner.push_error(error)
                }
                Arrival::Timings(seconds) if inner.routes.timings => {
                    inner.inbox.push_notice(Notice::Timings(seconds));
                    Interest::NOTICES
                }
                Arrival::Timings(_) => Interest::NONE,
            };
            kind = kind.and(more);
        }
        if self.arrivals.capacity() > KEPT {
            self.arrivals = Vec::new();
        }
        kind
    }
}
