//! The life of a connection as a state machine: inputs in, actions out. No I/O, no clock, no randomness.
//!
//! Whoever runs it owns the socket, the timers and the dice, carries out the actions in their order, and tells
//! what came of them. Inputs about a socket carry its generation; those of an older socket are ignored.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::error::{Error, ErrorKind};

mod vocabulary;

pub use vocabulary::{Action, Input, Loss, SessionConfig, State};

/// A socket that was open for so long had been accepted.
const ACCEPTED_AFTER: Duration = Duration::from_secs(10);
/// A socket that gave no result and closed sooner than this is not replaced at once: a server that accepts and
/// then closes would be dialled at full speed.
const SHORT_LIVED: Duration = Duration::from_secs(1);

/// The state machine of one connection.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
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
    /// The token was refused, and a fresh one is being tried.
    refused: bool,
    /// The newest socket gave a result.
    useful: bool,
    /// The server has said that this socket's session is over.
    over: bool,
}

impl Session {
    /// A session in the state `idle`.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            // Without a policy a loss ends the connection; back-off is then for messages behind a normal close.
            backoff: Backoff::new(config.reconnect.unwrap_or_default()),
            config,
            state: State::Idle,
            socket: 0,
            eager: false,
            established: false,
            opening_since: None,
            opened_at: None,
            refused: false,
            useful: false,
            over: false,
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

    /// Takes an input; `jitter` is a random number in 0..1.
    #[allow(clippy::match_same_arms)] // "nothing after the end" comes first, "everything else" last
    pub fn handle(&mut self, now: Instant, jitter: f64, input: Input) -> Vec<Action> {
        use State::{Active, Authenticating, Closed, Closing, Connecting, Idle, Waiting};
        match (self.state, input) {
            (Closed, _) => Vec::new(),
            (Idle, Input::Open { eager }) => {
                self.eager = eager;
                self.opening_since = Some(now);
                self.open()
            }
            (Authenticating | Connecting | Waiting, Input::Open { eager }) => {
                self.eager |= eager;
                Vec::new()
            }

            (Authenticating, Input::TokenReady) => self.dial(),
            (Authenticating, Input::TokenFailed(error)) => self.retry(now, jitter, error),

            (Connecting, Input::Opened { socket }) if socket == self.socket => {
                self.state = Active;
                self.established = true;
                self.eager = false;
                self.over = false;
                self.useful = false;
                self.opened_at = Some(now);
                self.backoff.opened(now);
                Vec::new()
            }
            (Connecting, Input::OpenFailed { socket, error }) if socket == self.socket => {
                if is_refusal(&error) { self.refuse(error) } else { self.retry(now, jitter, error) }
            }

            (Active, Input::Accepted { socket }) if socket == self.socket => {
                self.refused = false;
                self.useful = true;
                Vec::new()
            }
            (Active, Input::SessionOver { socket }) if socket == self.socket => {
                self.over = true;
                vec![Action::StopWriting]
            }
            (Active, Input::Unauthorized { socket }) if socket == self.socket => {
                self.forgive(now);
                let mut actions = vec![Action::Abandon];
                actions.extend(self.refuse(refused_in_band()));
                actions
            }
            (Active, Input::Lost { socket, loss, unsent }) if socket == self.socket => {
                self.lost(now, jitter, loss, unsent)
            }

            (Waiting, Input::Elapsed) => self.open(),

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

    fn open(&mut self) -> Vec<Action> {
        if self.config.use_token {
            self.state = State::Authenticating;
            vec![Action::FetchToken { fresh: self.refused }]
        } else {
            self.dial()
        }
    }

    fn dial(&mut self) -> Vec<Action> {
        self.state = State::Connecting;
        self.socket += 1;
        vec![Action::Dial { socket: self.socket }]
    }

    fn finish(&mut self, error: Error) -> Vec<Action> {
        self.state = State::Closed;
        vec![Action::Finish(Some(error))]
    }

    /// A socket that lived for a while was accepted, even if no result came to say so.
    fn forgive(&mut self, now: Instant) {
        if self.was_open_for(now, ACCEPTED_AFTER) {
            self.refused = false;
        }
    }

    fn was_open_for(&self, now: Instant, time: Duration) -> bool {
        self.opened_at.is_some_and(|at| now.saturating_duration_since(at) >= time)
    }

    /// The credentials were refused: once, try a fresh token.
    fn refuse(&mut self, error: Error) -> Vec<Action> {
        if self.config.use_token && !self.refused {
            self.refused = true;
            return self.open();
        }
        let message = error.message;
        self.finish(Error::new(ErrorKind::Authentication, message))
    }

    /// An opening failed: try again, if that may help and nobody would rather be told.
    fn retry(&mut self, now: Instant, jitter: f64, error: Error) -> Vec<Action> {
        let first = !self.established;
        // A token provider that fails at the start will fail again; later on, it may just have a bad moment.
        let refused = error.kind == ErrorKind::Authentication;
        let hopeless = if first { refused || !error.transient } else { refused && !error.transient };
        let too_late = first
            && self
                .opening_since
                .is_some_and(|since| now.saturating_duration_since(since) >= self.config.open_timeout);
        if hopeless || too_late || (first && self.eager) {
            return self.finish(error);
        }
        self.reconnect(jitter, error)
    }

    /// Waits before another attempt, if the policy is to make one.
    fn reconnect(&mut self, jitter: f64, error: Error) -> Vec<Action> {
        if self.config.reconnect.is_some() { self.wait(jitter, error) } else { self.finish(error) }
    }

    fn wait(&mut self, jitter: f64, error: Error) -> Vec<Action> {
        match self.backoff.next(jitter) {
            Some(delay) => {
                self.state = State::Waiting;
                vec![Action::Wait(delay)]
            }
            None => self.finish(error),
        }
    }

    fn lost(&mut self, now: Instant, jitter: f64, loss: Loss, unsent: bool) -> Vec<Action> {
        self.forgive(now);
        self.backoff.lost(now);
        if self.config.raw {
            return self.lost_raw(jitter, loss);
        }
        let normal = self.over || matches!(loss, Loss::Close { code: 1000, .. });
        if normal {
            let mut actions = Vec::new();
            if self.config.streaming {
                actions.push(Action::EndStream);
            }
            if !unsent {
                self.state = State::Idle;
            } else if self.useful || self.was_open_for(now, SHORT_LIVED) {
                actions.extend(self.open());
            } else {
                actions.extend(
                    self.wait(jitter, Error::closed(1000, "the server closes every session at once")),
                );
            }
            return actions;
        }
        match loss {
            Loss::Close { code: 1008, reason } => {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.refuse(Error::new(
                    ErrorKind::Authentication,
                    format!("the server refused the session (close code 1008{why})"),
                ))
            }
            Loss::Close { code, reason } => self.reconnect(jitter, Error::closed(code, reason)),
            Loss::Broken(reason) => self.reconnect(jitter, Error::closed(1006, reason)),
        }
    }

    fn lost_raw(&mut self, jitter: f64, loss: Loss) -> Vec<Action> {
        match loss {
            // 1005: a close frame without a code, which is what `close()` of many libraries sends.
            Loss::Close { code: 1000 | 1005, .. } => {
                self.state = State::Closed;
                vec![Action::Finish(None)]
            }
            Loss::Close { code, reason } => self.reconnect(jitter, Error::closed(code, reason)),
            Loss::Broken(reason) => self.reconnect(jitter, Error::closed(1006, reason)),
        }
    }
}

fn is_refusal(error: &Error) -> bool {
    error.kind == ErrorKind::Authentication
        || matches!(error.kind, ErrorKind::Handshake { status: Some(401 | 403) })
}

fn refused_in_band() -> Error {
    Error::new(
        ErrorKind::Authentication,
        "the server refused the credentials (Unauthorized); check that the key is valid and may use this app",
    )
}

#[cfg(test)]
mod tests;
