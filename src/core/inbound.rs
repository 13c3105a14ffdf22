//! The inbound messages of one read: what each means, gathered to be handed over in one go.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    envelope::{Envelope, classify_binary, classify_binary_without_id, classify_text, control_text},
    frame::MessageKind,
    inbox::{Item, Numbered},
    message::Received,
};
use crate::error::{Error, ErrorKind};

/// The error code after which the server ends its session.
const FATAL_ERROR: &str = "INTERNAL_ERROR";

/// The most inbound messages that an idle connection keeps room for.
const MAX_IDLE_MESSAGES: usize = 16;

/// The dialect of a connection: how messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// fal's: msgpack results and control messages.
    Fal,
    /// fal's, whose results are passed on as they came: what cannot be understood is one, too.
    Relayed,
    /// The caller decodes: only control messages in text are classified.
    Custom,
    /// Nothing is classified (the raw mode).
    Raw,
}

/// One message, understood.
#[derive(Debug)]
pub enum Arrival {
    /// A result, with its `request_id` where a request waits.
    Result(Received, Option<String>),
    /// The server reports an error. `fatal`: it ends its session with it.
    Realtime {
        /// The error.
        error: Error,
        /// The session is over.
        fatal: bool,
        /// The `request_id` of the input that it is about, where a request waits and the server says so.
        about: Option<String>,
    },
    /// A message that cannot be decoded, in the place of a result.
    Undecodable(Error),
    /// A control message that cannot be understood.
    Error(Error),
    /// How long the app took, in seconds.
    Timings(f64),
    /// The server has ended its session, in the regular way.
    EndOfSession,
}

/// The consequence of a message: what it asks of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
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
#[derive(Debug)]
pub struct Inbound {
    dialect: Dialect,
    /// Results that answer no request, before anything else came.
    plain: VecDeque<Numbered<Item>>,
    arrivals: Vec<Arrival>,
    /// How many plain results came last time: so many will probably come again.
    expected: usize,
    /// A request waits: request ids are of interest.
    pub expects_answers: bool,
}

impl Inbound {
    /// Nothing has arrived yet.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, plain: VecDeque::new(), arrivals: Vec::new(), expected: 0, expects_answers: false }
    }

    /// Whether there is nothing to be handed over.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.arrivals.is_empty()
    }

    /// Whether there is a result among the arrivals.
    pub fn has_result(&self) -> bool {
        !self.plain.is_empty() || self.arrivals.iter().any(|arrival| matches!(arrival, Arrival::Result(..)))
    }

    /// Takes a data message.
    pub fn take(&mut self, kind: MessageKind, payload: Bytes) -> Consequence {
        let envelope = match (self.dialect, kind) {
            (Dialect::Raw, _) => Envelope::Result { request_id: None },
            (_, MessageKind::Text) => {
                let text = std::str::from_utf8(&payload).unwrap_or_default();
                match self.dialect {
                    Dialect::Fal | Dialect::Relayed => classify_text(text),
                    _ => control_text(text).unwrap_or_else(|| self.custom(&payload)),
                }
            }
            (Dialect::Fal | Dialect::Relayed, MessageKind::Binary) if self.expects_answers => {
                classify_binary(&payload)
            }
            (Dialect::Fal | Dialect::Relayed, MessageKind::Binary) => classify_binary_without_id(&payload),
            (_, MessageKind::Binary) => self.custom(&payload),
        };
        let envelope = match envelope {
            Envelope::Malformed { .. } if self.dialect == Dialect::Relayed => {
                Envelope::Result { request_id: None }
            }
            understood => understood,
        };
        let (arrival, consequence) = match envelope {
            Envelope::Result { request_id } => {
                let id = request_id.filter(|_| self.expects_answers).map(std::borrow::Cow::into_owned);
                if id.is_none() && self.arrivals.is_empty() {
                    if self.plain.capacity() == 0 {
                        self.plain.reserve(self.expected);
                    }
                    self.plain
                        .push_back(Numbered { number: 0, what: Item::Result(Received { kind, payload }) });
                    return Consequence::Nothing;
                }
                (Arrival::Result(Received { kind, payload }, id), Consequence::Nothing)
            }
            Envelope::Error { error, reason, request_id } => {
                let about = request_id.filter(|id| self.expects_answers && !id.is_empty());
                let about = about.map(std::borrow::Cow::into_owned);
                let fatal = error == FATAL_ERROR;
                let message =
                    if reason.is_empty() { error.to_string() } else { format!("{error}: {reason}") };
                let (error, reason) = (error.into_owned(), reason.into_owned());
                let error = Error::new(ErrorKind::Realtime { error, reason, payload }, message);
                let consequence = if fatal { Consequence::SessionOver } else { Consequence::Nothing };
                (Arrival::Realtime { error, fatal, about }, consequence)
            }
            Envelope::Unauthorized => return Consequence::Unauthorized,
            Envelope::EndOfSession { .. } => (Arrival::EndOfSession, Consequence::SessionOver),
            Envelope::Timings { seconds } => (Arrival::Timings(seconds), Consequence::Nothing),
            Envelope::Control { action } => {
                let message = format!("the server sent a control message with the unknown action {action:?}");
                (Arrival::Error(Error::new(ErrorKind::Decode, message)), Consequence::Nothing)
            }
            Envelope::Malformed { why } => {
                let what = if kind == MessageKind::Text { "text" } else { "binary" };
                let message =
                    format!("a {what} message of {} bytes could not be decoded: {why}", payload.len());
                (Arrival::Undecodable(Error::new(ErrorKind::Decode, message)), Consequence::Nothing)
            }
        };
        self.arrivals.push(arrival);
        consequence
    }

    /// A message in the caller's own format is a result, whatever it looks like. Only when a request waits is it
    /// checked whether it is one of the two common formats and carries a `request_id`.
    fn custom<'a>(&self, payload: &'a Bytes) -> Envelope<'a> {
        if !self.expects_answers {
            return Envelope::Result { request_id: None };
        }
        let parsed = match std::str::from_utf8(payload) {
            Ok(text) if text.trim_start().starts_with('{') => classify_text(text),
            _ => classify_binary(payload),
        };
        match parsed {
            result @ Envelope::Result { .. } => result,
            _ => Envelope::Result { request_id: None },
        }
    }

    /// The results that came before anything else and answer no request. To be handed over before
    /// [`Inbound::arrivals`].
    pub fn plain(&mut self) -> &mut VecDeque<Numbered<Item>> {
        if !self.plain.is_empty() {
            self.expected = self.plain.len();
        }
        &mut self.plain
    }

    /// Everything else, in order.
    pub fn arrivals(&mut self) -> std::vec::Drain<'_, Arrival> {
        self.arrivals.drain(..)
    }

    /// Keeps little room until more comes. To be called when all is handed over.
    pub fn rest(&mut self) {
        if self.plain.capacity() > MAX_IDLE_MESSAGES {
            self.plain = VecDeque::new();
        }
        if self.arrivals.capacity() > MAX_IDLE_MESSAGES {
            self.arrivals = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests;
