//! The events of a recording beside the messages.

use crate::core::session::Loss;

/// RFC 6455, section 7.1.5: there was no close frame.
const ABNORMAL_CLOSE: u16 = 1006;

/// An event of a recording that is no message.
#[derive(Debug, Clone)]
pub(in crate::net) enum Event {
    /// The recording begins, in this state of the connection.
    Start { state: &'static str },
    /// A session begins.
    Open { subprotocol: Option<String> },
    /// A session is over.
    Close(Close),
    /// The messages before this one that found no room.
    Dropped { messages: u64, bytes: u64 },
}

/// Who ended a session, and how: by the first close frame, or with code 1006 without one.
#[derive(Debug, Clone)]
pub(in crate::net) struct Close {
    pub(super) by: Closer,
    pub(super) code: u16,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Closer {
    Client,
    /// Or whatever is between it and the client.
    Server,
}

impl Close {
    /// The same with what `said` makes of the reason.
    pub(in crate::net) fn with_reason(mut self, said: impl FnOnce(&str) -> String) -> Self {
        self.reason = said(&self.reason);
        self
    }

    /// The client's close frame.
    pub(in crate::net) fn by_client(code: u16, reason: impl Into<String>) -> Self {
        Self { by: Closer::Client, code, reason: reason.into() }
    }

    /// The client ends it without a close frame.
    pub(in crate::net) fn abandoned(why: impl Into<String>) -> Self {
        Self::by_client(ABNORMAL_CLOSE, why)
    }

    /// The end of a socket to which the client did nothing.
    pub(in crate::net) fn by_server(loss: &Loss) -> Self {
        let (code, reason) = match loss {
            Loss::Close { code, reason } => (*code, reason),
            Loss::Broken(reason) => (ABNORMAL_CLOSE, reason),
            Loss::Refused { code, why } => (*code, why),
        };
        Self { by: Closer::Server, code, reason: reason.clone() }
    }
}

impl Closer {
    /// Its name in a recording.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
