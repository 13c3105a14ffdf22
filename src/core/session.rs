//! The life of a connection as a state machine: inputs in, actions out. No I/O, no clock, no randomness.
//!
//! Whoever runs it owns the socket, the timers and the dice, carries out the actions in their order, and tells
//! what came of them. Inputs about a socket carry its generation; those of an older socket are ignored.
//!
//! Every opening after the first one goes through the back-off, whatever led to it, unless the session before was
//! earned: it ended in the regular way, and either brought an answer to something that we sent or lived for a second.
//! After one that was earned it comes at once; after many that were very short, a tenth of a second after the opening of
//! the last one.
//!
//! ```
//! use std::time::Instant;
//! use fal_realtime::core::session::{Action, Input, Session, SessionConfig, State};
//!
//! let mut session = Session::new(SessionConfig { use_token: true, ..SessionConfig::default() });
//! let now = Instant::now();
//! session.handle(now, 0.5, Input::Open { eager: true });
//! assert_eq!(session.state(), State::Authenticating);
//! let actions = session.handle(now, 0.5, Input::TokenReady);
//! assert!(actions.iter().any(|action| matches!(action, Action::Dial { socket: 1, .. })));
//! session.handle(now, 0.5, Input::Opened { socket: 1 });
//! assert_eq!(session.state(), State::Active);
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::backoff::Backoff;
use crate::error::Error;

mod ending;
mod greeting;
mod retrying;
mod unused;
mod vocabulary;

use retrying::{is_refusal, refused_in_band};
use unused::Use;
pub use vocabulary::{Action, Finals, Input, Loss, SessionConfig, State, Traffic};

/// The state machine of one connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    state: State,
    socket: u64,
    backoff: Backoff,
    /// Somebody waits for the opening.
    eager: bool,
    /// A socket was open once.
    established: bool,
    /// When the first opening began.
    opening_since: Option<Instant>,
    /// When the newest socket opened.
    opened_at: Option<Instant>,
    /// How many sessions in a row were very short.
    quick: u32,
    /// No opening before this.
    not_before: Option<Instant>,
    /// A token was refused, and the fresh one that was asked for has not proved good yet: there will be no other.
    refused: bool,
    /// The token at hand is the one that was refused.
    stale: bool,
    /// This socket's session is over, as the server has said or we have decided.
    over: bool,
    /// This socket's session is ended by us, since it is not used.
    is_given_up: bool,
    /// The newest socket is open, and the caller sends what is to go before all others.
    is_greeting: bool,
    used: Use,
    /// Why the newest attempt or session failed.
    last: Option<Error>,
}

impl Session {
    /// A session in the state `idle`.
    pub fn new(config: impl Into<Arc<SessionConfig>>) -> Self {
        let config = config.into();
        Self {
            // Without a policy a loss ends the connection; back-off is then for messages behind a normal close, and
            // for a refused token.
            backoff: Backoff::new(config.reconnect.clone().unwrap_or_default()),
            config,
            state: State::Idle,
            socket: 0,
            eager: false,
            established: false,
            opening_since: None,
            opened_at: None,
            quick: 0,
            not_before: None,
            refused: false,
            stale: false,
            over: false,
            is_given_up: false,
            is_greeting: false,
            used: Use::default(),
            last: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The generation of the newest socket; 0 before the first.
    pub fn socket(&self) -> u64 {
        self.socket
    }

    /// Why the newest attempt or session failed; `None` when it did not.
    pub fn last_error(&self) -> Option<&Error> {
        self.last.as_ref()
    }

    /// The newest session was ended by us, since it was not used.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    fn is_dialling(&self, socket: u64) -> bool {
        socket == self.socket && !self.is_greeting
    }

    fn greets(&self, socket: u64) -> bool {
        socket == self.socket && self.is_greeting
    }

    /// This socket is open.
    fn is_open(&self, socket: u64) -> bool {
        socket == self.socket && (self.state == State::Active || self.is_greeting())
    }

    /// The session is over, as the server has said or we have decided, and its socket is still open.
    pub fn is_over(&self) -> bool {
        self.over && (self.state == State::Active || self.is_greeting())
    }

    /// Takes an input; `jitter` is a random number in 0..1.
    #[allow(clippy::match_same_arms)] // "nothing after the end" comes first, "everything else" last
    pub fn handle(&mut self, now: Instant, jitter: f64, input: Input) -> Vec<Action> {
        use State::{Active, Authenticating, Closed, Closing, Connecting, Idle, Waiting};
        match (self.state, input) {
            (Closed, _) => Vec::new(),
            (Idle, Input::Open { eager }) => {
                self.eager = eager;
                self.opening_since = Some(now);
                self.open_again(now)
            }
            (Authenticating | Connecting | Waiting, Input::Open { eager }) => {
                self.eager |= eager;
                Vec::new()
            }

            (Authenticating, Input::TokenReady) => {
                self.stale = false;
                self.dial()
            }
            (Authenticating | Connecting, Input::Stopped(error)) => self.finish(error),
            (Authenticating, Input::TokenFailed(error)) => self.retry(now, jitter, error),

            (Connecting, Input::Opened { socket }) if self.is_dialling(socket) => self.opened(now),
            (Connecting, Input::Greeted { socket }) if self.greets(socket) => self.activate(now),
            (Connecting, Input::GreetFailed { socket, error, traffic }) if self.greets(socket) => {
                self.greet_failed(now, jitter, error, traffic)
            }
            (Connecting, Input::Lost { socket, loss, unsent, traffic }) if self.greets(socket) => {
                self.lost_in_greeting(now, jitter, loss, unsent, traffic)
            }
            (Connecting, Input::OpenFailed { socket, error }) if self.is_dialling(socket) => {
                if is_refusal(&error) {
                    self.refuse(now, jitter, error)
                } else {
                    self.retry(now, jitter, error)
                }
            }

            (Active | Connecting, Input::SessionOver { socket }) if self.is_open(socket) => {
                self.over = true;
                vec![Action::StopWriting]
            }
            (Active, Input::Polled { socket, moved, is_used }) if socket == self.socket => {
                self.polled(now, moved, is_used)
            }
            (Active, Input::Unused { socket }) if socket == self.socket => self.unused(),
            (Active | Connecting, Input::Unauthorized { socket, traffic }) if self.is_open(socket) => {
                self.is_greeting = false;
                let mut actions = vec![Action::Abandon];
                actions.extend(self.refused_session(now, jitter, refused_in_band(), traffic));
                actions
            }
            (Active, Input::Lost { socket, loss, unsent, traffic }) if socket == self.socket => {
                self.lost(now, jitter, loss, unsent, traffic)
            }

            (Waiting, Input::Elapsed) => match &self.last {
                Some(error) if self.is_too_late(now) => self.finish(error.clone()),
                _ => self.open(),
            },

            (Active, Input::Close) => {
                self.state = Closing;
                vec![Action::SendClose]
            }
            (Idle | Authenticating | Connecting | Waiting, Input::Close) => {
                self.state = Closed;
                vec![Action::Abandon, Action::Finish(None)]
            }
            (Closing, Input::Lost { socket, .. }) if socket == self.socket => {
                self.state = Closed;
                vec![Action::Finish(None)]
            }

            // What an abandoned socket, token request or timer still says is of no interest.
            (Idle | Authenticating | Connecting | Active | Waiting | Closing, _) => Vec::new(),
        }
    }

    // --- opening ---

    /// Opens as soon as the back-off lets it.
    fn open_again(&mut self, now: Instant) -> Vec<Action> {
        let delay = self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if delay.is_zero() {
            return self.open();
        }
        self.state = State::Waiting;
        vec![Action::Wait {
            delay,
            reason: Error::closed(1000, "the last session ended as soon as it had begun"),
        }]
    }

    fn open(&mut self) -> Vec<Action> {
        self.not_before = None;
        if self.config.use_token {
            self.state = State::Authenticating;
            vec![Action::FetchToken { fresh: self.stale }]
        } else {
            self.dial()
        }
    }

    fn dial(&mut self) -> Vec<Action> {
        self.state = State::Connecting;
        self.is_greeting = false;
        self.socket += 1;
        vec![Action::Dial { socket: self.socket }]
    }

    fn finish(&mut self, error: Error) -> Vec<Action> {
        self.state = State::Closed;
        vec![Action::Finish(Some(error))]
    }
}

#[cfg(test)]
mod tests;
