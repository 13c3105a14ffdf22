//! The state machine under any inputs: it ends once, nothing comes after the end, it asks for one thing at a time,
//! and every state but the ends leads out.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use fal_realtime::{
    core::{
        backoff::BackoffPolicy,
        session::{Action, Input, Loss, Session, SessionConfig, State, Traffic},
    },
    error::{Error, ErrorKind},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Open { eager: bool },
    TokenReady,
    TokenFailed(Failure),
    Opened { old: bool },
    OpenFailed { old: bool, failure: Failure },
    Unauthorized { old: bool, traffic: (bool, bool) },
    SessionOver { old: bool },
    Closed { old: bool, code: u16, unsent: bool, traffic: (bool, bool) },
    Broken { old: bool, unsent: bool, traffic: (bool, bool) },
    Elapsed,
    Close,
}

#[derive(Arbitrary, Debug)]
struct Failure {
    transient: bool,
    /// An HTTP status; 0: none came.
    status: u16,
    authentication: bool,
}

#[derive(Arbitrary, Debug)]
struct Case {
    use_token: bool,
    streaming: bool,
    raw: bool,
    reconnects: bool,
    max_attempts: Option<u8>,
    steps: Vec<(Step, u16, i8)>,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let status = Some(failure.status).filter(|status| *status != 0);
        let kind =
            if failure.authentication { ErrorKind::Authentication } else { ErrorKind::Handshake { status } };
        let error = Error::new(kind, "it failed");
        if failure.transient { error.transient() } else { error }
    }
}

fn passed((wrote, received): (bool, bool)) -> Traffic {
    Traffic { wrote, received, answered: wrote && received }
}

impl Step {
    fn input(self, newest: u64) -> Input {
        let socket = |old: bool| if old { newest.wrapping_sub(1) } else { newest };
        match self {
            Self::Open { eager } => Input::Open { eager },
            Self::TokenReady => Input::TokenReady,
            Self::TokenFailed(failure) => Input::TokenFailed(failure.into()),
            Self::Opened { old } => Input::Opened { socket: socket(old) },
            Self::OpenFailed { old, failure } => {
                Input::OpenFailed { socket: socket(old), error: failure.into() }
            }
            Self::Unauthorized { old, traffic } => {
                Input::Unauthorized { socket: socket(old), traffic: passed(traffic) }
            }
            Self::SessionOver { old } => Input::SessionOver { socket: socket(old) },
            Self::Closed { old, code, unsent, traffic } => Input::Lost {
                socket: socket(old),
                loss: Loss::Close { code, reason: String::new() },
                unsent,
                traffic: passed(traffic),
            },
            Self::Broken { old, unsent, traffic } => Input::Lost {
                socket: socket(old),
                loss: Loss::Broken("reset".into()),
                unsent,
                traffic: passed(traffic),
            },
            Self::Elapsed => Input::Elapsed,
            Self::Close => Input::Close,
        }
    }
}

fuzz_target!(|case: Case| {
    let policy = BackoffPolicy { max_attempts: case.max_attempts.map(u32::from), ..BackoffPolicy::default() };
    let cap = policy.cap;
    let mut session = Session::new(SessionConfig {
        use_token: case.use_token,
        streaming: case.streaming,
        reconnect: case.reconnects.then_some(policy),
        open_timeout: Duration::from_secs(90),
        raw: case.raw,
        ..SessionConfig::default()
    });
    let mut now = Instant::now();
    let mut finished = 0;
    let mut pending: Option<Action> = None;
    for (step, wait, jitter) in case.steps {
        now += Duration::from_millis(wait.into());
        let (before, generation) = (session.state(), session.socket());
        let actions = session.handle(now, f64::from(jitter) / 100.0, step.input(generation));
        let after = session.state();

        let asks = |action: &&Action| {
            matches!(action, Action::FetchToken { .. } | Action::Dial { .. } | Action::Wait { .. })
        };
        assert!(actions.iter().filter(asks).count() <= 1, "{actions:?}");
        finished += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
        assert!(before != State::Closed || (after == State::Closed && actions.is_empty()), "{actions:?}");
        assert_eq!(finished == 1, after == State::Closed);
        assert!(finished <= 1);
        assert!(session.socket() - generation <= 1);
        for action in &actions {
            if let Action::Wait { delay, .. } = action {
                assert!(*delay <= cap, "{delay:?}");
            }
        }

        if let Some(asked) = actions.iter().find(asks) {
            pending = Some(asked.clone());
        } else if after != before {
            pending = None;
        }
        let leads_out = match (after, &pending) {
            (State::Authenticating, Some(Action::FetchToken { .. }))
            | (State::Waiting, Some(Action::Wait { .. }))
            | (State::Idle | State::Active | State::Closing | State::Closed, None) => true,
            (State::Connecting, Some(Action::Dial { socket })) => *socket == session.socket(),
            _ => false,
        };
        assert!(leads_out, "{after:?} with {pending:?}");
    }
});
