//! The envelope of a message: what it is, by a borrowing peek at its top-level keys, without building a value.
//!
//! `msgpack` walks the top level of a map and skips the values; `json` does the same with `serde_json`.
//! Both feed the few keys of interest to `EnvelopeKeys`, which decides.
//!
//! ```
//! use fal_realtime::core::envelope::{Envelope, classify_text};
//!
//! let result = classify_text(r#"{"image": {"width": 512}, "request_id": "7"}"#);
//! assert_eq!(result, Envelope::Result { request_id: Some("7".into()) });
//! let timings = classify_text(r#"{"type": "x-fal-message", "action": "timings", "timing": 0.25}"#);
//! assert_eq!(timings, Envelope::Timings { seconds: 0.25 });
//! ```

use std::borrow::Cow;

mod json;
mod msgpack;
#[cfg(test)]
mod tests;

pub use json::{classify_text, control_text};
pub use msgpack::{classify_binary, classify_binary_without_id};

/// The words of fal's gateway, as JSON text or as the reason of close code 1011, when it accepted a handshake that the
/// app behind it then refused.
pub(crate) const GATEWAY_REFUSAL: &str = "Error while forwarding the request";

/// The error code of that text, which has none of its own.
pub(in crate::core) const GATEWAY_ERROR: &str = "GATEWAY_ERROR";

/// The envelope of a message from the server: what it is, as far as the connection must know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Envelope<'a> {
    /// A result of the app, including its own `status: "error"`.
    Result {
        /// Its `request_id`, if that is text or an integer (then its decimal digits). Apps need not copy it.
        request_id: Option<Cow<'a, str>>,
    },
    /// `x-fal-error`: the app raised, or the input was not acceptable.
    Error {
        /// The code, for example `INTERNAL_ERROR`; `UNKNOWN_ERROR` if there is none.
        error: Cow<'a, str>,
        /// The reason; empty if there is none.
        reason: Cow<'a, str>,
        /// The `request_id` of the input that it is about, if it says so. Servers need not.
        request_id: Option<Cow<'a, str>>,
    },
    /// Authentication was refused in band.
    Unauthorized,
    /// How long the app took.
    Timings {
        /// Seconds.
        seconds: f64,
    },
    /// `x-fal-error` with `TIMEOUT`: no input for a while, and the normal end of every streaming session.
    EndOfSession {
        /// The reason; empty if there is none.
        reason: Cow<'a, str>,
    },
    /// Another control message, unknown to this version.
    Control {
        /// Its `action`, or its `type` if it has none.
        action: Cow<'a, str>,
    },
    /// Not a message at all.
    Malformed {
        /// Why, in words.
        why: &'static str,
    },
}

impl Envelope<'_> {
    /// The same, borrowing nothing.
    fn into_owned(self) -> Envelope<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Envelope::Result { request_id } => Envelope::Result { request_id: request_id.map(own) },
            Envelope::Error { error, reason, request_id } => {
                Envelope::Error { error: own(error), reason: own(reason), request_id: request_id.map(own) }
            }
            Envelope::Unauthorized => Envelope::Unauthorized,
            Envelope::Timings { seconds } => Envelope::Timings { seconds },
            Envelope::EndOfSession { reason } => Envelope::EndOfSession { reason: own(reason) },
            Envelope::Control { action } => Envelope::Control { action: own(action) },
            Envelope::Malformed { why } => Envelope::Malformed { why },
        }
    }
}

/// The top-level keys that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Type,
    Status,
    Error,
    Reason,
    Action,
    Timing,
    RequestId,
}

impl Key {
    #[inline]
    fn parse(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"type" => Self::Type,
            b"status" => Self::Status,
            b"error" => Self::Error,
            b"reason" => Self::Reason,
            b"action" => Self::Action,
            b"timing" => Self::Timing,
            b"request_id" => Self::RequestId,
            _ => return None,
        })
    }
}

/// The value of such a key, as far as it matters.
#[derive(Debug, Clone, PartialEq, Default)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// Absent, or of a type that none of the keys has.
    #[default]
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is(&self, expected: &str) -> bool {
        matches!(self, Self::Text(text) if text == expected)
    }
}

/// The values of the keys that matter; of a repeated key the last, as in every decoder.
#[derive(Debug, Default)]
struct EnvelopeKeys<'a> {
    kind: Scalar<'a>,
    status: Scalar<'a>,
    error: Scalar<'a>,
    reason: Scalar<'a>,
    action: Scalar<'a>,
    timing: Scalar<'a>,
    request_id: Scalar<'a>,
}

impl<'a> EnvelopeKeys<'a> {
    fn set(&mut self, key: Key, value: Scalar<'a>) {
        let slot = match key {
            Key::Type => &mut self.kind,
            Key::Status => &mut self.status,
            Key::Error => &mut self.error,
            Key::Reason => &mut self.reason,
            Key::Action => &mut self.action,
            Key::Timing => &mut self.timing,
            Key::RequestId => &mut self.request_id,
        };
        *slot = value;
    }

    /// What a text message with these values is.
    fn decide_text(self) -> Envelope<'a> {
        // Control messages are text: an app's own result may say this too, in msgpack.
        if self.status.is("error") && self.error.is("Unauthorized") {
            return Envelope::Unauthorized;
        }
        let is_bare =
            || [&self.kind, &self.status, &self.request_id].iter().all(|value| **value == Scalar::Other);
        if self.error.is(GATEWAY_REFUSAL) && is_bare() {
            return Envelope::Error {
                error: GATEWAY_ERROR.into(),
                reason: GATEWAY_REFUSAL.into(),
                request_id: None,
            };
        }
        self.decide()
    }

    /// What a binary message with these values is.
    fn decide(self) -> Envelope<'a> {
        let kind = match self.kind {
            Scalar::Text(kind) if kind.starts_with("x-fal-") => kind,
            _ => return Envelope::Result { request_id: digits_or_text(self.request_id) },
        };
        if kind == "x-fal-error" {
            let reason = self.reason.text().unwrap_or_default();
            return match self.error.text() {
                Some(error) if error == "TIMEOUT" => Envelope::EndOfSession { reason },
                error => Envelope::Error {
                    error: error.unwrap_or(Cow::Borrowed("UNKNOWN_ERROR")),
                    reason,
                    request_id: digits_or_text(self.request_id),
                },
            };
        }
        let timing = match self.timing {
            Scalar::Float(seconds) if seconds.is_finite() => Some(seconds),
            Scalar::Signed(seconds) => Some(seconds as f64),
            Scalar::Unsigned(seconds) => Some(seconds as f64),
            Scalar::Float(_) | Scalar::Text(_) | Scalar::Other => None,
        };
        match timing {
            Some(seconds) if kind == "x-fal-message" && self.action.is("timings") => {
                Envelope::Timings { seconds }
            }
            _ => Envelope::Control { action: self.action.text().unwrap_or(kind) },
        }
    }
}

fn digits_or_text(request_id: Scalar<'_>) -> Option<Cow<'_, str>> {
    match request_id {
        Scalar::Text(text) => Some(text),
        Scalar::Signed(number) => Some(Cow::Owned(number.to_string())),
        Scalar::Unsigned(number) => Some(Cow::Owned(number.to_string())),
        Scalar::Float(_) | Scalar::Other => None,
    }
}
