//! Properties that hold for any course of events.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    super::{Action, Input, Loss, Session, SessionConfig, State, Traffic},
    setup::{INPUTS, OPEN_TIMEOUT, find},
};
use crate::{
    core::backoff::BackoffPolicy,
    error::{Error, ErrorKind},
};

/// What a session is given: an input, after so many milliseconds, with this traffic.
type Step = (usize, u64, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly as fast as it goes: that is what a storm is.
    let wait = prop_oneof![6 => Just(0_u64), 2 => 0..200_u64, 1 => 0..20_000_u64];
    proptest::collection::vec((any::<usize>(), wait, any::<u8>()), 0..200)
}

/// The input of a step: any, or more often one that says something in this state and does not end it all.
fn input((number, _, bits): Step, session: &Session) -> Input {
    let fitting: &[&str] = match session.state() {
        State::Idle => &["open lazy", "open eager"],
        State::Authenticating => &["token ready", "token ready", "token ready", "token transient"],
        State::Connecting if session.is_greeting() => &[
            "greeted",
            "greeted",
            "greet failed",
            "unauthorized",
            "over",
            "lost 1000 unsent",
            "lost 1008",
            "lost 1011 unsent",
            "lost broken",
        ],
        State::Connecting => &["opened", "opened", "opened", "failed transient", "failed 401"],
        State::Active => &[
            "unauthorized",
            "over",
            "polled",
            "polled used",
            "unused",
            "lost 1000",
            "lost 1000 unsent",
            "lost 1001",
            "lost 1008",
            "lost 1011 unsent",
            "lost broken",
        ],
        State::Waiting => &["elapsed"],
        State::Closing | State::Closed => &[],
    };
    let given = if bits & 0xf0 == 0 || fitting.is_empty() {
        INPUTS[number % INPUTS.len()]
    } else {
        find(fitting[number % fitting.len()])
    };
    let mut input = (given.make)(session.socket());
    if let Input::Lost { traffic: passed, .. }
    | Input::Unauthorized { traffic: passed, .. }
    | Input::GreetFailed { traffic: passed, .. } = &mut input
    {
        *passed = traffic(bits);
    }
    input
}

fn configs() -> impl Strategy<Value = SessionConfig> {
    let attempts = proptest::option::of(1..4_u32);
    let fruitless = proptest::option::of(1..6_u32);
    let limit = || proptest::option::of((0..3_000_u64).prop_map(Duration::from_millis));
    (any::<[bool; 5]>(), attempts, fruitless, (limit(), limit())).prop_map(
        |([use_token, streaming, reconnects, raw, greets], max_attempts, max_fruitless, limits)| {
            SessionConfig {
                use_token,
                streaming,
                raw,
                greets,
                max_session: limits.0,
                idle_close: limits.1,
                open_timeout: OPEN_TIMEOUT,
                reconnect: reconnects.then(|| BackoffPolicy {
                    max_attempts,
                    max_fruitless,
                    ..BackoffPolicy::default()
                }),
                ..SessionConfig::default()
            }
        },
    )
}

/// Of what can have passed on a socket.
fn traffic(bits: u8) -> Traffic {
    let (wrote, received) = (bits & 1 != 0, bits & 2 != 0);
    Traffic { wrote, received, answered: wrote && received && bits & 4 != 0 }
}

/// Runs a session as the driver does: timers fire when they are due, and not before.
struct Run {
    session: Session,
    now: Instant,
    opened_at: Instant,
    rings_at: Option<Instant>,
}

impl Run {
    fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        Self { session: Session::new(config), now, opened_at: now, rings_at: None }
    }

    fn step(&mut self, step: Step) -> Vec<Action> {
        self.now += Duration::from_millis(step.1);
        self.give(input(step, &self.session))
    }

    fn give(&mut self, input: Input) -> Vec<Action> {
        if let (Input::Elapsed, Some(at)) = (&input, self.rings_at) {
            self.now = self.now.max(at);
        }
        let was_open = self.is_open();
        let actions = self.session.handle(self.now, 1.0, input);
        if !was_open && self.is_open() {
            self.opened_at = self.now;
        }
        for action in &actions {
            if let Action::Wait { delay, .. } = action {
                self.rings_at = Some(self.now + *delay);
            }
        }
        actions
    }

    fn is_open(&self) -> bool {
        self.session.state() == State::Active || self.session.is_greeting()
    }

    /// Whether this input ends the newest socket, how it does, and what passed on it.
    fn end<'a>(&self, input: &'a Input) -> Option<(Option<&'a Loss>, Traffic)> {
        let (socket, loss, traffic) = match input {
            Input::Lost { socket, loss, traffic, .. } => (socket, Some(loss), traffic),
            Input::Unauthorized { socket, traffic } => (socket, None, traffic),
            Input::GreetFailed { socket, traffic, .. } if self.session.is_greeting() => {
                (socket, None, traffic)
            }
            _ => return None,
        };
        (self.is_open() && *socket == self.session.socket()).then_some((loss, *traffic))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what `filter` and `find` pass
fn asks(action: &&Action) -> bool {
    matches!(
        action,
        Action::FetchToken { .. } | Action::Dial { .. } | Action::Wait { .. } | Action::Greet { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_state_but_the_ends_leads_out(config in configs(), steps in steps()) {
        let mut run = Run::new(config);
        let mut finished = 0;
        // What was asked for and is not answered yet: it is what leads out of the state.
        let mut pending: Option<Action> = None;
        for step in steps {
            let (before, generation) = (run.session.state(), run.session.socket());
            let actions = run.step(step);
            let after = run.session.state();

            prop_assert!(actions.iter().filter(asks).count() <= 1, "{actions:?}");
            finished += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
            if before == State::Closed {
                prop_assert_eq!(after, State::Closed);
                prop_assert!(actions.is_empty());
            }
            prop_assert_eq!(finished == 1, after == State::Closed, "finished {} times", finished);
            prop_assert!(run.session.socket() - generation <= 1);

            if let Some(asked) = actions.iter().find(asks) {
                pending = Some(asked.clone());
            } else if after != before {
                pending = None;
            }
            let leads_out = match (after, &pending) {
                (State::Authenticating, Some(Action::FetchToken { .. }))
                | (State::Waiting, Some(Action::Wait { .. }))
                // The next message, the end of the socket, or nothing at all.
                | (State::Idle | State::Active | State::Closing | State::Closed, None) => true,
                (State::Connecting, Some(Action::Dial { socket })) => {
                    *socket == run.session.socket() && !run.session.is_greeting()
                }
                (State::Connecting, Some(Action::Greet { socket })) => {
                    *socket == run.session.socket() && run.session.is_greeting()
                }
                _ => false,
            };
            prop_assert!(leads_out, "{after:?} waits for {pending:?}");
            // `closing` was asked for only where there is a socket to close.
            if after == State::Closing && before != State::Closing {
                prop_assert!(matches!(actions[..], [Action::SendClose]));
            }
        }
    }

    /// The brake: between two sessions that were worth something, the n-th opening comes no sooner than the back-off's
    /// first n delays after the first one. An opening begins with its token, so that this bounds token requests too.
    #[test]
    fn no_course_of_events_opens_or_asks_for_tokens_faster_than_the_back_off(
        config in configs(),
        steps in steps(),
    ) {
        let policy = config.reconnect.clone().unwrap_or_default();
        let use_token = config.use_token;
        let mut run = Run::new(config);
        // Since the last session that was worth something.
        let mut openings: Vec<Instant> = Vec::new();
        let mut quick = 0;
        let (mut refusals, mut dials, mut fetches) = (0, 0, 0);
        for step in steps {
            let (before, was_over, opened_at) = (run.session.state(), run.session.is_over(), run.opened_at);
            let given = input(step, &run.session);
            let end = run.end(&given).map(|(loss, traffic)| (loss.cloned(), traffic));
            let actions = run.step(step);
            // What we end by ourselves ends only when nothing is under way: it asks for no opening.
            let gives_up = actions.iter().any(|action| matches!(action, Action::EndWhenUnused { .. }));
            prop_assert!(!gives_up || (actions.len() == 1 && before == State::Active && !was_over));
            let mut was_refused = before == State::Connecting && run.session.state() == State::Waiting
                && use_token && run.session.refused;
            if let Some((loss, traffic)) = end {
                let lived_for = run.now - opened_at;
                let was_regular = was_over || matches!(loss, Some(Loss::Close { code: 1000, .. }));
                let is_earned = traffic.answered
                    || lived_for >= policy.stable_after
                    || (was_regular && loss.is_some() && lived_for >= Duration::from_secs(1));
                if is_earned {
                    openings.clear();
                }
                let is_quick = was_regular && traffic.answered && lived_for < Duration::from_millis(100);
                quick = if is_quick { quick + 1 } else { 0 };
                if traffic.answered || lived_for >= Duration::from_secs(10) {
                    refusals = 0;
                }
                was_refused = loss.is_none() && run.session.state() == State::Waiting;
            }
            // Every other failure to open leaves `refused` as it was.
            if was_refused && actions.iter().any(|action| matches!(action, Action::Wait { reason, .. }
                if reason.kind == ErrorKind::Authentication))
            {
                refusals += 1;
                prop_assert!(refusals <= 1, "a second fresh token");
            }
            for action in &actions {
                let opens = match action {
                    Action::FetchToken { .. } => {
                        fetches += 1;
                        true
                    }
                    Action::Dial { .. } => {
                        dials += 1;
                        !use_token
                    }
                    _ => false,
                };
                if opens {
                    let since = run.now - run.opened_at;
                    prop_assert!(quick <= 10 || since >= Duration::from_millis(100), "opened again after {since:?}");
                    openings.push(run.now);
                    let delays = (0_u32..).take(openings.len() - 1).map(|number| policy.bound(number));
                    let least: Duration = delays.sum();
                    prop_assert!(
                        run.now - openings[0] >= least,
                        "opening {} came after {:?}, not {least:?}", openings.len(), run.now - openings[0]
                    );
                }
            }
            prop_assert!(!use_token || dials <= fetches, "an opening without a token");
        }
    }

    #[test]
    fn whatever_has_happened_a_server_that_behaves_is_reached_or_somebody_is_told(
        config in configs(),
        steps in steps(),
    ) {
        let mut run = Run::new(config);
        let mut told = 0;
        for step in steps {
            let actions = run.step(step);
            told += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
        }
        for _ in 0..5 {
            let socket = run.session.socket();
            let actions = match run.session.state() {
                State::Idle => run.give(Input::Open { eager: false }),
                State::Authenticating => run.give(Input::TokenReady),
                State::Connecting if run.session.is_greeting() => run.give(Input::Greeted { socket }),
                State::Connecting => run.give(Input::Opened { socket }),
                State::Waiting => run.give(Input::Elapsed),
                State::Active | State::Closing | State::Closed => break,
            };
            told += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
        }
        let state = run.session.state();
        prop_assert!(
            matches!(state, State::Active | State::Closing) || (state == State::Closed && told == 1),
            "{state:?}, told {told} times"
        );
    }

    /// With messages that wait, and a server that takes none of them or never answers.
    #[test]
    fn a_server_that_is_of_no_use_is_given_up(
        config in configs(),
        before in steps(),
        ways in proptest::collection::vec((0..6_u8, 0..900_u64), 10),
    ) {
        let max_fruitless = config.reconnect.clone().unwrap_or_default().max_fruitless;
        prop_assume!(max_fruitless.is_some());
        let mut run = Run::new(config);
        for step in before {
            run.step(step);
        }
        let mut sessions = 0;
        let mut ways = ways.into_iter().cycle();
        while !matches!(run.session.state(), State::Closed | State::Closing) {
            let socket = run.session.socket();
            let (way, lived) = ways.next().unwrap();
            let input = match run.session.state() {
                State::Idle => Input::Open { eager: false },
                State::Authenticating => Input::TokenReady,
                State::Connecting if run.session.is_greeting() && way == 5 => {
                    sessions += 1;
                    let error = Error::new(ErrorKind::Timeout, "not greeted").transient();
                    Input::GreetFailed { socket, error, traffic: Traffic::default() }
                }
                State::Connecting if run.session.is_greeting() => Input::Greeted { socket },
                State::Connecting => Input::Opened { socket },
                State::Waiting => Input::Elapsed,
                _ => {
                    sessions += 1;
                    // The first one may have been open for a while.
                    run.now = if sessions == 1 { run.now } else { run.now + Duration::from_millis(lived) };
                    let close = |code, traffic| {
                        let loss = Loss::Close { code, reason: String::new() };
                        Input::Lost { socket, loss, unsent: true, traffic }
                    };
                    let wrote = Traffic { wrote: true, ..Traffic::default() };
                    let greeted = Traffic { received: true, ..Traffic::default() };
                    match way {
                        0 => close(1000, greeted),
                        1 => close(1011, wrote),
                        2 => close(1008, Traffic::default()),
                        3 => Input::Unauthorized { socket, traffic: wrote },
                        _ => {
                            let loss = Loss::Broken("reset".into());
                            Input::Lost { socket, loss, unsent: true, traffic: wrote }
                        }
                    }
                }
            };
            run.give(input);
            prop_assert!(sessions <= max_fruitless.unwrap() + 1, "{sessions} sessions");
        }
    }
}
