//! The one error type of the crate: what happened, in words, and whether trying again may help.

use std::{
    error::Error as StdError,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

/// What went wrong. Each kind is one exception class in Python (see `python/fal_realtime/_exceptions.py`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// An option or argument is not acceptable (`ValueError`).
    InvalidOption,
    /// The credentials or the token were refused (`AuthenticationError`).
    Authentication,
    /// An HTTP request to fal's API (the token request) was answered with an error (`ApiError`).
    Api {
        /// The HTTP status, 0 when no answer came.
        status: u16,
    },
    /// The WebSocket could not be opened: DNS, TCP, TLS, proxy or HTTP upgrade (`HandshakeError`).
    Handshake {
        /// The HTTP status of the refusal, if one came.
        status: Option<u16>,
    },
    /// The connection is closed (`ConnectionClosedError`).
    Closed {
        /// The close code (RFC 6455, section 7.4); 1006 when no close frame was seen.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// The peer broke the WebSocket protocol (`ConnectionClosedError` with the code that we answered).
    Protocol {
        /// The close code that we answer with: 1002, 1007 or 1009.
        code: u16,
    },
    /// The server reported an error in band (`RealtimeError`).
    Realtime {
        /// The server's error code, for example `INTERNAL_ERROR`.
        error: String,
        /// The server's reason.
        reason: String,
        /// The whole message, as it came.
        payload: bytes::Bytes,
    },
    /// The session ended, and the connection goes on (`ConnectionLostError`).
    Lost {
        /// The close code; 1006 when no close frame was seen.
        code: u16,
        /// The close reason.
        reason: String,
        /// At most so many messages of the session have no answer.
        unanswered: u64,
    },
    /// The stream ended while it was being sent (`StreamEndedError`).
    StreamEnded,
    /// An answer cannot be read, since too many results wait to be taken (`UnreadResultsError`).
    Unread,
    /// An answer did not come in time (`RequestTimeoutError`).
    Timeout,
    /// A message is larger than `max_message_size` (`MessageTooLargeError`).
    TooLarge,
    /// No room in the outgoing queue (`BufferFullError`).
    BufferFull,
    /// A value cannot be encoded (`EncodeError`).
    Encode,
    /// A message cannot be decoded (`DecodeError`).
    Decode,
    /// The connection belongs to the parent process (`ForkedProcessError`).
    Forked,
}

/// An error. One word: every connection has room for several, and most operations return one or nothing.
#[derive(Debug, Clone)]
pub struct Error(Box<Parts>);

/// What an [`Error`] consists of: its [`ErrorKind`], a sentence for people, whether it is transient, and its cause.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What went wrong.
    pub kind: ErrorKind,
    /// A sentence that says what was wrong, where, and what would be accepted. Never holds a secret.
    pub message: String,
    /// Whether the same operation may succeed later.
    pub transient: bool,
    /// Whether it is certain that the message which it is about was not processed: it was not written.
    pub unprocessed: bool,
    refusal: Option<Refusal>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What an HTTP answer that refuses says beside its status. Never holds a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How long the server wants to be left alone (`Retry-After`), if it says so.
    pub retry_after: Option<Duration>,
    /// fal's id of the request, by which it can be asked about; empty when the answer names none.
    pub request_id: String,
    /// The header fields that say why, or whom to ask, under their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most a few kilobytes of it.
    pub body: String,
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A permanent error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            transient: false,
            unprocessed: false,
            refusal: None,
            source: None,
        }))
    }

    /// The same error, marked as one that may pass.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The same error, about a message that was not written.
    #[must_use]
    pub fn unprocessed(mut self) -> Self {
        self.unprocessed = true;
        self
    }

    /// The same error as another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error in other words.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same error with what the answer said.
    #[must_use]
    pub fn with_refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// What the answer said, if one came.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// How long the server wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    /// The same error, where the server wants to be left alone for so long.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.refusal.get_or_insert_default().retry_after = Some(wait);
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Its cause, if that is an error of this type.
    pub fn cause(&self) -> Option<&Self> {
        self.source.as_ref()?.downcast_ref()
    }

    /// The close code and the reason of a session that ended with this error; `None`: it says nothing of that.
    pub fn close(&self) -> Option<(u16, &str)> {
        match &self.kind {
            ErrorKind::Closed { code, reason } => Some((*code, reason)),
            ErrorKind::Protocol { code } => Some((*code, &self.message)),
            ErrorKind::TooLarge => Some((1009, &self.message)),
            _ => None,
        }
    }

    /// A `ConnectionLostError`: `ended` is how the session did. `torn` messages were written in part.
    pub fn lost(ended: &Self, unanswered: u64, torn: u64, what_follows: &str) -> Self {
        let (code, reason) = ended.close().unwrap_or((1006, &ended.message));
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let messages = |count| if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
        let left = match (unanswered, torn) {
            (0, 0) => String::new(),
            (0, torn) => format!(" with {} not written whole", messages(torn)),
            (count, 0) => format!(" with at most {} without an answer", messages(count)),
            (count, torn) => {
                format!(" with at most {} without an answer, and {torn} not written whole", messages(count))
            }
        };
        let message = format!("the session ended (code {code}{why}){left}; {what_follows}");
        let reason = reason.to_owned();
        Self::new(ErrorKind::Lost { code, reason, unanswered }, message).transient()
    }

    /// A `HandshakeError`: the opening failed before the server answered.
    pub fn not_opened(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Handshake { status: None }, message)
    }

    /// A `ConnectionLostError`, to a request of `on_open`.
    pub fn not_written_in_opening() -> Self {
        let kind = ErrorKind::Lost { code: 1006, reason: String::new(), unanswered: 0 };
        Self::new(kind, "the session ended before this request of its on_open was written").transient()
    }

    /// A `ConnectionClosedError`.
    pub fn closed(code: u16, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let message = if reason.is_empty() {
            format!("the connection is closed (code {code})")
        } else {
            format!("the connection is closed (code {code}: {reason})")
        };
        Self::new(ErrorKind::Closed { code, reason }, message)
    }
}

impl Deref for Error {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
