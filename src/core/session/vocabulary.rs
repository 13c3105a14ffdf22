//! The vocabulary of a session: its states, inputs and actions.

use std::time::Duration;

use crate::{
    core::{backoff::BackoffPolicy, envelope::GATEWAY_REFUSAL},
    error::{Error, ErrorKind},
};

/// The state of a connection.
///
/// ```text
///   idle -- opened --> authenticating -- token --> connecting -- open, greeted --> active
///    ^                   ^      | failed             | failed                       |  |
///    |                   |      v                    |                              |  |
///    |    back-off is over --- waiting <-------------+------------- lost -----------+  |
///    +------------------ ended, and no message waits ----------------------------------+
///
///   active -- the caller closes --> closing -- the socket is gone --> closed
///   idle, authenticating, connecting, waiting -- the caller closes --> closed
///   any but idle and closing -- failed for good ---------------------> closed
/// ```
///
/// Without tokens it goes to `connecting` where it would go to `authenticating`. From a session that has ended while
/// messages wait it goes there at once, or, where the session was not earned, to `waiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No socket; the next message opens one.
    Idle,
    /// Waiting for a token.
    Authenticating,
    /// Opening the socket.
    Connecting,
    /// Messages flow.
    Active,
    /// The socket was lost; waiting to open another.
    Waiting,
    /// Closing the socket.
    Closing,
    /// Over.
    Closed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Authenticating,
        Self::Connecting,
        Self::Active,
        Self::Waiting,
        Self::Closing,
        Self::Closed,
    ];

    /// The name that Python sees.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Authenticating => "authenticating",
            Self::Connecting => "connecting",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// The loss of a socket: how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// A close frame came with this code (1005 if it had none).
    Close {
        /// The close code.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// It broke: reset, end of file in the middle, no pong.
    Broken(String),
    /// What came was refused: it broke the protocol, or was too large.
    Refused {
        /// The close code that we answer with: 1002, 1007 or 1009.
        code: u16,
        /// What was wrong.
        why: String,
    },
}

impl Loss {
    /// The error that it is to whoever waited for something of the socket.
    pub fn into_error(self) -> Error {
        match self {
            Self::Close { code: 1011, reason } if reason == GATEWAY_REFUSAL => {
                let error = Error::closed(1011, reason);
                let message = format!(
                    "{}; fal's gateway says so when the app behind it refuses the handshake or is not there",
                    error.message
                );
                error.with_message(message)
            }
            Self::Close { code, reason } => Error::closed(code, reason),
            Self::Broken(reason) => Error::closed(1006, reason),
            Self::Refused { code: 1009, why } => Error::new(ErrorKind::TooLarge, why),
            Self::Refused { code, why } => Error::new(ErrorKind::Protocol { code }, why),
        }
    }
}

/// The traffic of a socket: what passed on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// A message of ours was written.
    pub wrote: bool,
    /// A result came.
    pub received: bool,
    /// A result came behind a message of ours. What a server says unasked it can say for ever, so that alone does not
    /// make it quicker to open the next session.
    pub answered: bool,
}

/// An input of a session: what happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message was accepted, or (`eager`) somebody waits for the opening itself.
    Open {
        /// Somebody waits and can be told of a failure.
        eager: bool,
    },
    /// The token that was asked for is there.
    TokenReady,
    /// No token could be had.
    TokenFailed(Error),
    /// The caller wants no further attempt.
    Stopped(Error),
    /// The socket is open.
    Opened {
        /// The socket's generation.
        socket: u64,
    },
    /// [`Action::Greet`] has been done.
    Greeted {
        /// The socket's generation.
        socket: u64,
    },
    /// [`Action::Greet`] could not be done, or not in time.
    GreetFailed {
        /// The socket's generation.
        socket: u64,
        /// Why.
        error: Error,
        /// What passed on it.
        traffic: Traffic,
    },
    /// The socket could not be opened.
    OpenFailed {
        /// The socket's generation.
        socket: u64,
        /// Why.
        error: Error,
    },
    /// The server refused the token in band.
    Unauthorized {
        /// The socket's generation.
        socket: u64,
        /// What passed on it.
        traffic: Traffic,
    },
    /// The server says that its session is over; it will close.
    SessionOver {
        /// The socket's generation.
        socket: u64,
    },
    /// What is known at the time that [`Session::poll_at`](super::Session::poll_at) named.
    Polled {
        /// The socket's generation.
        socket: u64,
        /// Grows with each message in either direction.
        moved: u64,
        /// Something is under way: a message that waits, or has no answer yet.
        is_used: bool,
    },
    /// [`Action::EndWhenUnused`] has been done: nothing is under way, and no further message is written on this socket.
    Unused {
        /// The socket's generation.
        socket: u64,
    },
    /// The socket is gone. `unsent` says whether messages wait to be sent.
    Lost {
        /// The socket's generation.
        socket: u64,
        /// How it ended.
        loss: Loss,
        /// Messages wait.
        unsent: bool,
        /// What passed on it.
        traffic: Traffic,
    },
    /// The time of [`Action::Wait`] is over.
    Elapsed,
    /// The caller closes.
    Close,
}

/// An action of a session: what to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Get a token; `fresh` asks for a newer one than the last. Answer with `TokenReady` or `TokenFailed`.
    FetchToken {
        /// The last token was refused.
        fresh: bool,
    },
    /// Open a socket of this generation. Answer with `Opened` or `OpenFailed`.
    Dial {
        /// The new socket's generation.
        socket: u64,
    },
    /// Let the caller send on this socket before all others. Answer with `Greeted` or `GreetFailed`, unless the socket
    /// is gone before that.
    Greet {
        /// The socket's generation.
        socket: u64,
    },
    /// Give up the token request or the dialling that is under way, or drop the socket.
    Abandon,
    /// Write no further messages on this socket.
    StopWriting,
    /// Write no further messages on this socket once nothing is under way on it, and answer with `Unused`. `later`: at
    /// the next such moment; else now, or not at all.
    EndWhenUnused {
        /// At the next moment at which nothing is under way.
        later: bool,
    },
    /// Send what is queued and a close frame with code 1000. Answer with `Lost`.
    SendClose,
    /// Answer with `Elapsed` after this time.
    Wait {
        /// How long.
        delay: Duration,
        /// What is waited after.
        reason: Error,
    },
    /// The stream has ended.
    EndStream,
    /// The connection is over, for this reason if that was neither the caller's wish nor a normal close.
    Finish(Option<Error>),
}

/// The answers of a server after which trying again is of no use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finals {
    /// These HTTP statuses, where a handshake or a token request was refused; `None`: those that do not pass by
    /// themselves, see [`Error::transient`].
    pub statuses: Option<Vec<u16>>,
    /// These close codes.
    pub codes: Vec<u16>,
}

impl Finals {
    /// Whether a refusal with an HTTP status is final.
    pub fn has(&self, status: u16, error: &Error) -> bool {
        match &self.statuses {
            Some(statuses) => statuses.contains(&status),
            None => matches!(status, 300..=499) && !error.transient,
        }
    }
}

/// The configuration of a session, which it is told at its beginning.
#[derive(Debug, Clone, Default)]
pub struct SessionConfig {
    /// A token is needed to open a socket.
    pub use_token: bool,
    /// The app streams: a normal close is the end of the stream.
    pub streaming: bool,
    /// How to come back after a loss; `None`: a loss ends the connection.
    pub reconnect: Option<BackoffPolicy>,
    /// After what trying again is of no use.
    pub finals: Finals,
    /// How long the first opening is tried, in all: one that nobody waits for, or that the server puts off.
    pub open_timeout: Duration,
    /// The caller wants to send before all others when a socket has opened.
    pub greets: bool,
    /// A session that is older is ended as soon as nothing is under way.
    pub max_session: Option<Duration>,
    /// A session in which nothing has passed for so long is ended, if nothing is under way.
    pub idle_close: Option<Duration>,
    /// The peer is no fal app, so that a close code means no more than RFC 6455 says: a normal close is the end of the
    /// connection, and 1008 is a loss like others.
    pub raw: bool,
}
