//! Sessions brought into every state there is, and every input there is.

use std::time::{Duration, Instant};

use super::super::{Action, Input, Loss, Session, SessionConfig, State, Traffic};
use crate::{
    core::backoff::BackoffPolicy,
    error::{Error, ErrorKind},
};

pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Later than every limit of the session.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// What a session has been through, besides its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is one dimension of the table
pub(super) struct Setup {
    pub(super) state: State,
    /// A token is needed.
    pub(super) token: bool,
    pub(super) streaming: bool,
    /// There is a policy to reconnect.
    pub(super) reconnect: bool,
    /// No socket was open yet.
    pub(super) first: bool,
    /// Somebody waits for the opening.
    pub(super) eager: bool,
    /// The token was refused once.
    pub(super) refused: bool,
    /// The socket gave an answer to a message.
    pub(super) useful: bool,
    /// The server has said that its session is over.
    pub(super) over: bool,
    /// The input comes after all limits of time.
    pub(super) late: bool,
    /// The socket is open, and the caller sends first.
    pub(super) greeting: bool,
}

impl Setup {
    /// Every combination that can be.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        State::ALL.into_iter().flat_map(|state| {
            (0..1_u32 << 10).filter_map(move |bits| {
                let bit = |n: u32| bits & (1 << n) != 0;
                let setup = Self {
                    state,
                    token: bit(0),
                    streaming: bit(1),
                    reconnect: bit(2),
                    first: bit(3),
                    eager: bit(4),
                    refused: bit(5),
                    useful: bit(6),
                    over: bit(7),
                    late: bit(8),
                    greeting: bit(9),
                };
                setup.is_possible().then_some(setup)
            })
        })
    }

    fn is_possible(self) -> bool {
        let opening = matches!(self.state, State::Authenticating | State::Connecting | State::Waiting);
        // Without a token there is nothing to refuse a second time.
        (!self.refused || self.token)
            && (!self.eager || opening)
            && (!self.useful || self.state == State::Active)
            && (!self.over || self.state == State::Active)
            && (!self.greeting || self.state == State::Connecting)
            && (!self.first || opening || (self.state == State::Idle && !self.refused))
            && (self.token || self.state != State::Authenticating)
            && (self.reconnect || self.state != State::Waiting)
    }

    /// Whether a condition of the table holds: words joined by spaces, `!` negates.
    pub(super) fn meets(self, condition: &str) -> bool {
        condition.split_whitespace().all(|word| {
            let (wanted, name) = word.strip_prefix('!').map_or((true, word), |name| (false, name));
            let is = match name {
                "token" => self.token,
                "streaming" => self.streaming,
                "reconnect" => self.reconnect,
                "first" => self.first,
                "eager" => self.eager,
                "refused" => self.refused,
                "useful" => self.useful,
                "over" => self.over,
                "late" => self.late,
                "greeting" => self.greeting,
                _ => panic!("no such condition: {name}"),
            };
            is == wanted
        })
    }

    /// An input as it comes to a session that has been through this.
    pub(super) fn input(self, given: &Given, socket: u64) -> Input {
        let mut input = (given.make)(socket);
        if let Input::Lost { traffic, .. } | Input::Unauthorized { traffic, .. } = &mut input {
            *traffic = Traffic { wrote: self.useful, received: self.useful, answered: self.useful };
        }
        input
    }

    /// A session that has been through this, at `start`.
    pub(super) fn build(self, start: Instant) -> Session {
        let policy = BackoffPolicy::default();
        let mut session = Session::new(SessionConfig {
            use_token: self.token,
            streaming: self.streaming,
            reconnect: self.reconnect.then_some(policy),
            open_timeout: OPEN_TIMEOUT,
            greets: self.greeting,
            ..SessionConfig::default()
        });
        let mut driver = Driver { session: &mut session, now: start };
        if !self.first || self.state == State::Closed {
            driver.open(false);
            // A refusal is remembered past a socket that gave no result.
            if self.refused {
                driver.refuse();
            }
            driver.dialled();
            driver.opened();
        }
        match self.state {
            State::Idle if self.first => {}
            State::Idle => driver.lost(Loss::Close { code: 1000, reason: String::new() }),
            State::Authenticating | State::Connecting => {
                if !self.first {
                    driver.lost(Loss::Close { code: 1000, reason: String::new() });
                }
                driver.open(self.eager);
                if self.first && self.refused {
                    driver.refuse();
                }
                if self.state == State::Connecting {
                    driver.dialled();
                }
                if self.greeting {
                    driver.give(&find("opened"));
                }
            }
            State::Waiting if self.first => {
                driver.open(false);
                if self.refused {
                    driver.refuse();
                }
                driver.dialled();
                driver.give(&OPEN_FAILED_TRANSIENT);
                if self.eager {
                    driver.open(true);
                }
            }
            State::Waiting => {
                driver.lost(Loss::Broken("reset".into()));
                if self.eager {
                    driver.open(true);
                }
            }
            State::Active => {
                if self.over {
                    driver.give(&find("over"));
                }
            }
            State::Closing => driver.give(&find("close")),
            State::Closed => {
                driver.give(&find("close"));
                driver.lost(Loss::Broken("reset".into()));
            }
        }
        assert_eq!(session.state(), self.state, "{self:?}");
        session
    }
}

struct Driver<'a> {
    session: &'a mut Session,
    now: Instant,
}

impl Driver<'_> {
    fn give(&mut self, given: &Given) {
        let input = (given.make)(self.session.socket());
        self.session.handle(self.now, 0.5, input);
    }

    fn open(&mut self, eager: bool) {
        let was_idle = self.session.state() == State::Idle;
        self.session.handle(self.now, 0.5, Input::Open { eager });
        if was_idle {
            self.waited();
        }
    }

    /// Past the back-off.
    fn waited(&mut self) {
        if self.session.state() == State::Waiting {
            self.session.handle(self.now, 0.5, Input::Elapsed);
        }
    }

    /// From the beginning of an opening to `connecting`.
    fn dialled(&mut self) {
        if self.session.state() == State::Authenticating {
            self.session.handle(self.now, 0.5, Input::TokenReady);
        }
        assert_eq!(self.session.state(), State::Connecting);
    }

    fn opened(&mut self) {
        let socket = self.session.socket();
        self.session.handle(self.now, 0.5, Input::Opened { socket });
        if self.session.is_greeting() {
            self.give(&find("greeted"));
        }
        assert_eq!(self.session.state(), State::Active);
    }

    /// From the beginning of an opening, past a refusal, to the request for a fresh token.
    fn refuse(&mut self) {
        self.dialled();
        self.give(&find("failed 401"));
        self.waited();
        assert_eq!(self.session.state(), State::Authenticating);
    }

    fn lost(&mut self, loss: Loss) {
        let socket = self.session.socket();
        let traffic = Traffic::default();
        self.session.handle(self.now, 0.5, Input::Lost { socket, loss, unsent: false, traffic });
    }
}

/// A named input. `make` is given the generation of the newest socket.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) name: &'static str,
    pub(super) make: fn(u64) -> Input,
}

const OPEN_FAILED_TRANSIENT: Given = Given {
    name: "failed transient",
    make: |socket| Input::OpenFailed { socket, error: handshake(None).transient() },
};

fn handshake(status: Option<u16>) -> Error {
    Error::new(ErrorKind::Handshake { status }, "no")
}

fn api(status: u16) -> Error {
    Error::new(ErrorKind::Api { status }, "no")
}

fn authentication() -> Error {
    Error::new(ErrorKind::Authentication, "no")
}

fn lost(socket: u64, code: u16, unsent: bool) -> Input {
    Input::Lost {
        socket,
        loss: Loss::Close { code, reason: String::new() },
        unsent,
        traffic: Traffic::default(),
    }
}

fn broken(socket: u64, unsent: bool) -> Input {
    Input::Lost { socket, loss: Loss::Broken("reset".into()), unsent, traffic: Traffic::default() }
}

fn unauthorized(socket: u64) -> Input {
    Input::Unauthorized { socket, traffic: Traffic::default() }
}

/// Every kind of input, with all that it may carry. Those whose names end in "old" are of an older socket.
pub(super) const INPUTS: &[Given] = &[
    Given { name: "open lazy", make: |_| Input::Open { eager: false } },
    Given { name: "open eager", make: |_| Input::Open { eager: true } },
    Given { name: "token ready", make: |_| Input::TokenReady },
    Given { name: "token transient", make: |_| Input::TokenFailed(api(503).transient()) },
    Given { name: "token permanent", make: |_| Input::TokenFailed(api(400)) },
    Given { name: "token refused", make: |_| Input::TokenFailed(authentication()) },
    Given { name: "stopped", make: |_| Input::Stopped(handshake(None)) },
    Given { name: "opened", make: |socket| Input::Opened { socket } },
    Given { name: "greeted", make: |socket| Input::Greeted { socket } },
    Given {
        name: "greet failed",
        make: |socket| Input::GreetFailed {
            socket,
            error: handshake(None).transient(),
            traffic: Traffic::default(),
        },
    },
    Given { name: "opened old", make: |socket| Input::Opened { socket: socket.wrapping_sub(1) } },
    OPEN_FAILED_TRANSIENT,
    Given {
        name: "failed permanent",
        make: |socket| Input::OpenFailed { socket, error: handshake(Some(404)) },
    },
    Given { name: "failed 401", make: |socket| Input::OpenFailed { socket, error: handshake(Some(401)) } },
    Given { name: "failed 403", make: |socket| Input::OpenFailed { socket, error: handshake(Some(403)) } },
    Given { name: "failed refused", make: |socket| Input::OpenFailed { socket, error: authentication() } },
    Given {
        name: "failed old",
        make: |socket| Input::OpenFailed { socket: socket.wrapping_sub(1), error: handshake(Some(401)) },
    },
    Given { name: "unauthorized", make: unauthorized },
    Given { name: "unauthorized old", make: |socket| unauthorized(socket.wrapping_sub(1)) },
    Given { name: "over", make: |socket| Input::SessionOver { socket } },
    Given { name: "over old", make: |socket| Input::SessionOver { socket: socket.wrapping_sub(1) } },
    Given { name: "polled", make: |socket| Input::Polled { socket, moved: 0, is_used: false } },
    Given { name: "polled used", make: |socket| Input::Polled { socket, moved: 1, is_used: true } },
    Given { name: "unused", make: |socket| Input::Unused { socket } },
    Given { name: "unused old", make: |socket| Input::Unused { socket: socket.wrapping_sub(1) } },
    Given { name: "lost 1000", make: |socket| lost(socket, 1000, false) },
    Given { name: "lost 1000 unsent", make: |socket| lost(socket, 1000, true) },
    Given { name: "lost 1000 old", make: |socket| lost(socket.wrapping_sub(1), 1000, true) },
    Given { name: "lost 1001", make: |socket| lost(socket, 1001, false) },
    Given { name: "lost 1005", make: |socket| lost(socket, 1005, false) },
    Given { name: "lost 1008", make: |socket| lost(socket, 1008, false) },
    Given { name: "lost 1008 unsent", make: |socket| lost(socket, 1008, true) },
    Given { name: "lost 1008 old", make: |socket| lost(socket.wrapping_sub(1), 1008, true) },
    Given { name: "lost 1011", make: |socket| lost(socket, 1011, false) },
    Given { name: "lost 1011 unsent", make: |socket| lost(socket, 1011, true) },
    Given { name: "lost broken", make: |socket| broken(socket, false) },
    Given { name: "lost broken unsent", make: |socket| broken(socket, true) },
    Given { name: "lost broken old", make: |socket| broken(socket.wrapping_sub(1), true) },
    Given { name: "elapsed", make: |_| Input::Elapsed },
    Given { name: "close", make: |_| Input::Close },
];

/// The input of this name.
pub(super) fn find(name: &str) -> Given {
    *INPUTS.iter().find(|given| given.name == name).unwrap_or_else(|| panic!("no such input: {name}"))
}

/// Actions in the words of the table.
pub(super) fn words(actions: &[Action]) -> String {
    let words: Vec<String> = actions
        .iter()
        .map(|action| match action {
            Action::FetchToken { fresh: false } => "fetch".into(),
            Action::FetchToken { fresh: true } => "fetch fresh".into(),
            Action::Dial { .. } => "dial".into(),
            Action::Greet { .. } => "greet".into(),
            Action::Abandon => "abandon".into(),
            Action::StopWriting => "stop writing".into(),
            Action::EndWhenUnused { later: false } => "end if unused".into(),
            Action::EndWhenUnused { later: true } => "end when unused".into(),
            Action::SendClose => "send close".into(),
            Action::Wait { .. } => "wait".into(),
            Action::EndStream => "end stream".into(),
            Action::Finish(None) => "finish".into(),
            Action::Finish(Some(error)) => match &error.kind {
                ErrorKind::Authentication => "finish: authentication".into(),
                ErrorKind::Api { .. } => "finish: api".into(),
                ErrorKind::Handshake { .. } => "finish: handshake".into(),
                ErrorKind::Closed { code, .. } => format!("finish: {code}"),
                other => panic!("the session does not fail with {other:?}"),
            },
        })
        .collect();
    words.join(", ")
}
