//! Courses of events over several inputs.

use std::time::{Duration, Instant};

use super::{
    super::{Action, Input, Loss, Session, SessionConfig, State},
    setup::{OPEN_TIMEOUT, words},
};
use crate::{
    core::backoff::BackoffPolicy,
    error::{Error, ErrorKind},
};

struct Scene {
    session: Session,
    now: Instant,
}

impl Scene {
    fn new(use_token: bool, reconnect: Option<BackoffPolicy>) -> Self {
        let config =
            SessionConfig { use_token, streaming: false, reconnect, open_timeout: OPEN_TIMEOUT, raw: false };
        Self { session: Session::new(config), now: Instant::now() }
    }

    fn give(&mut self, input: Input) -> String {
        words(&self.session.handle(self.now, 1.0, input))
    }

    /// The delay that the input leads to.
    fn delay(&mut self, input: Input) -> Duration {
        let actions = self.session.handle(self.now, 1.0, input);
        let [Action::Wait(delay)] = actions[..] else { panic!("not a wait: {actions:?}") };
        delay
    }

    fn opened(&self) -> Input {
        Input::Opened { socket: self.session.socket() }
    }

    fn failed(&self) -> Input {
        let error = Error::new(ErrorKind::Handshake { status: None }, "no answer").transient();
        Input::OpenFailed { socket: self.session.socket(), error }
    }

    fn refused(&self) -> Input {
        let error = Error::new(ErrorKind::Handshake { status: Some(401) }, "no");
        Input::OpenFailed { socket: self.session.socket(), error }
    }

    fn broken(&self) -> Input {
        Input::Lost { socket: self.session.socket(), loss: Loss::Broken("reset".into()), unsent: false }
    }

    /// Opens the first socket.
    fn open(&mut self) {
        self.give(Input::Open { eager: false });
        if self.session.state() == State::Authenticating {
            self.give(Input::TokenReady);
        }
        self.give(self.opened());
        assert_eq!(self.session.state(), State::Active);
    }
}

const POLICY: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_millis(500),
    cap: Duration::from_secs(4),
    factor: 2.0,
    stable_after: Duration::from_secs(10),
    max_attempts: None,
};

#[test]
fn a_refusal_is_answered_by_one_new_token_and_then_by_an_authentication_error() {
    let mut scene = Scene::new(true, Some(POLICY));
    assert_eq!(scene.give(Input::Open { eager: false }), "fetch");
    assert_eq!(scene.give(Input::TokenReady), "dial");
    assert_eq!(scene.give(scene.refused()), "fetch fresh");
    assert_eq!(scene.give(Input::TokenReady), "dial");
    assert_eq!(scene.give(scene.refused()), "finish: authentication");
    assert_eq!(scene.session.state(), State::Closed);
}

#[test]
fn a_refusal_in_band_after_one_in_the_handshake_is_the_second() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.give(Input::Open { eager: false });
    scene.give(Input::TokenReady);
    assert_eq!(scene.give(scene.refused()), "fetch fresh");
    scene.give(Input::TokenReady);
    scene.give(scene.opened());
    let refused = Input::Unauthorized { socket: scene.session.socket() };
    assert_eq!(scene.give(refused), "abandon, finish: authentication");
}

#[test]
fn a_result_between_two_refusals_earns_another_new_token() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.open();
    for _ in 0..3 {
        let socket = scene.session.socket();
        assert_eq!(scene.give(Input::Accepted { socket }), "");
        assert_eq!(scene.give(Input::Unauthorized { socket }), "abandon, fetch fresh");
        assert_eq!(scene.give(Input::TokenReady), "dial");
        scene.give(scene.opened());
    }
}

#[test]
fn what_an_older_socket_says_is_ignored() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    scene.delay(scene.broken());
    scene.give(Input::Elapsed);
    scene.give(scene.opened());
    assert_eq!(scene.session.socket(), 2);
    for loss in [Loss::Close { code: 1000, reason: String::new() }, Loss::Broken("late".into())] {
        assert_eq!(scene.give(Input::Lost { socket: 1, loss, unsent: true }), "");
    }
    assert_eq!(scene.give(Input::Unauthorized { socket: 1 }), "");
    assert_eq!(scene.give(Input::SessionOver { socket: 1 }), "");
    assert_eq!(scene.give(Input::OpenFailed { socket: 1, error: Error::closed(1006, "") }), "");
    assert_eq!(scene.session.state(), State::Active);
    // Not even in `closing`: the new socket has not said goodbye.
    assert_eq!(scene.give(Input::Close), "send close");
    assert_eq!(scene.give(Input::Lost { socket: 1, loss: Loss::Broken("late".into()), unsent: false }), "");
    assert_eq!(scene.session.state(), State::Closing);
}

#[test]
fn an_eager_first_opening_fails_at_once() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.give(Input::Open { eager: true });
    assert_eq!(scene.give(scene.failed()), "finish: handshake");
}

#[test]
fn somebody_who_begins_to_wait_for_a_lazy_opening_is_told_of_its_next_failure() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.give(Input::Open { eager: false });
    assert_eq!(scene.give(scene.failed()), "wait");
    assert_eq!(scene.give(Input::Open { eager: true }), "");
    assert_eq!(scene.give(Input::Elapsed), "dial");
    assert_eq!(scene.give(scene.failed()), "finish: handshake");
}

#[test]
fn a_lazy_first_opening_is_tried_with_back_off_until_the_open_timeout() {
    let mut scene = Scene::new(false, Some(POLICY));
    let start = scene.now;
    scene.give(Input::Open { eager: false });
    let mut delays = Vec::new();
    while scene.now - start < OPEN_TIMEOUT {
        let delay = scene.delay(scene.failed());
        delays.push(delay.as_millis());
        scene.now += delay;
        assert_eq!(scene.give(Input::Elapsed), "dial");
    }
    assert_eq!(delays, [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000]);
    assert_eq!(scene.give(scene.failed()), "finish: handshake");
}

#[test]
fn once_open_it_is_tried_past_the_open_timeout() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    scene.delay(scene.broken());
    for _ in 0..50 {
        scene.now += OPEN_TIMEOUT;
        assert_eq!(scene.give(Input::Elapsed), "dial");
        scene.delay(scene.failed());
    }
}

#[test]
fn attempts_are_limited_by_the_policy() {
    let mut scene = Scene::new(false, Some(BackoffPolicy { max_attempts: Some(2), ..POLICY }));
    scene.open();
    assert_eq!(scene.give(scene.broken()), "wait");
    scene.give(Input::Elapsed);
    assert_eq!(scene.give(scene.failed()), "wait");
    scene.give(Input::Elapsed);
    assert_eq!(scene.give(scene.failed()), "finish: handshake");
}

#[test]
fn the_back_off_starts_over_after_a_stable_time_and_not_before() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    let mut lose_after = |lived: Duration| {
        scene.now += lived;
        let delay = scene.delay(scene.broken());
        scene.give(Input::Elapsed);
        scene.give(scene.opened());
        delay.as_millis()
    };
    let short = Duration::from_secs(9);
    assert_eq!(lose_after(short), 500);
    assert_eq!(lose_after(short), 1000);
    assert_eq!(lose_after(short), 2000);
    assert_eq!(lose_after(POLICY.stable_after), 500);
    assert_eq!(lose_after(short), 1000);
}

#[test]
fn a_server_that_closes_every_session_at_once_is_not_dialled_at_full_speed() {
    for reconnect in [Some(POLICY), None] {
        let mut scene = Scene::new(false, reconnect);
        scene.open();
        let mut waited = Duration::ZERO;
        for _ in 0..4 {
            let loss = Loss::Close { code: 1000, reason: String::new() };
            waited += scene.delay(Input::Lost { socket: scene.session.socket(), loss, unsent: true });
            scene.give(Input::Elapsed);
            scene.give(scene.opened());
        }
        assert_eq!(waited, Duration::from_millis(500 + 1000 + 2000 + 4000));
    }
}

#[test]
fn closing_works_in_every_state_and_nothing_comes_after_it() {
    for state in State::ALL {
        let mut scene = Scene::new(true, Some(POLICY));
        match state {
            State::Idle => {}
            State::Authenticating => drop(scene.give(Input::Open { eager: false })),
            State::Connecting => {
                scene.give(Input::Open { eager: false });
                scene.give(Input::TokenReady);
            }
            State::Active => scene.open(),
            State::Waiting => {
                scene.open();
                scene.delay(scene.broken());
            }
            State::Closing => {
                scene.open();
                scene.give(Input::Close);
            }
            State::Closed => drop(scene.give(Input::Close)),
        }
        assert_eq!(scene.session.state(), state);
        let said = scene.give(Input::Close);
        match state {
            State::Active => assert_eq!(said, "send close"),
            State::Closing | State::Closed => assert_eq!(said, ""),
            _ => assert_eq!(said, "abandon, finish"),
        }
        if scene.session.state() == State::Closing {
            assert_eq!(scene.give(scene.broken()), "finish");
        }
        assert_eq!(scene.session.state(), State::Closed);
        let late =
            [Input::Open { eager: true }, Input::TokenReady, scene.opened(), Input::Elapsed, Input::Close];
        for input in late {
            assert_eq!(scene.give(input), "");
        }
        assert_eq!(scene.session.state(), State::Closed);
    }
}

impl Scene {
    fn new_raw(reconnect: Option<BackoffPolicy>) -> Self {
        let config = SessionConfig {
            use_token: false,
            streaming: false,
            reconnect,
            open_timeout: OPEN_TIMEOUT,
            raw: true,
        };
        let mut scene = Self { session: Session::new(config), now: Instant::now() };
        scene.open();
        scene
    }

    fn closed_with(&self, code: u16) -> Input {
        let loss = Loss::Close { code, reason: String::new() };
        Input::Lost { socket: self.session.socket(), loss, unsent: true }
    }
}

#[test]
fn a_raw_session_ends_with_a_normal_close_even_if_messages_wait() {
    for code in [1000, 1005] {
        let mut scene = Scene::new_raw(Some(POLICY));
        assert_eq!(scene.give(scene.closed_with(code)), "finish", "{code}");
        assert_eq!(scene.session.state(), State::Closed);
    }
}

#[test]
fn a_raw_session_takes_every_other_close_for_a_loss() {
    for code in [1001, 1008, 1011, 4000] {
        let mut scene = Scene::new_raw(None);
        assert!(scene.give(scene.closed_with(code)).starts_with("finish: "), "{code}");
        let mut scene = Scene::new_raw(Some(POLICY));
        assert_eq!(scene.delay(scene.closed_with(code)), POLICY.initial, "{code}");
    }
}
