//! Courses of events over several inputs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Action, Input, Loss, Session, SessionConfig, State, Traffic},
    setup::{OPEN_TIMEOUT, words},
};
use crate::{
    core::backoff::BackoffPolicy,
    error::{Error, ErrorKind, Refusal},
};

struct Scene {
    session: Session,
    now: Instant,
}

impl Scene {
    fn new(use_token: bool, reconnect: Option<BackoffPolicy>) -> Self {
        let config =
            SessionConfig { use_token, reconnect, open_timeout: OPEN_TIMEOUT, ..SessionConfig::default() };
        Self { session: Session::new(config), now: Instant::now() }
    }

    fn give(&mut self, input: Input) -> String {
        words(&self.session.handle(self.now, 1.0, input))
    }

    /// The delay that the input leads to.
    fn delay(&mut self, input: Input) -> Duration {
        let actions = self.session.handle(self.now, 1.0, input);
        let [Action::Wait { delay, .. }] = actions[..] else { panic!("not a wait: {actions:?}") };
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
        self.lost(Loss::Broken("reset".into()), false, Traffic::default())
    }

    fn lost(&self, loss: Loss, unsent: bool, traffic: Traffic) -> Input {
        Input::Lost { socket: self.session.socket(), loss, unsent, traffic }
    }

    fn closed_by(&self, code: u16, unsent: bool, traffic: Traffic) -> Input {
        self.lost(Loss::Close { code, reason: String::new() }, unsent, traffic)
    }

    fn unauthorized(&self, traffic: Traffic) -> Input {
        Input::Unauthorized { socket: self.session.socket(), traffic }
    }

    /// Past the back-off, to the next open socket.
    fn open_again(&mut self) {
        self.give(Input::Elapsed);
        if self.session.state() == State::Authenticating {
            self.give(Input::TokenReady);
        }
        self.give(self.opened());
        assert_eq!(self.session.state(), State::Active);
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
    max_fruitless: None,
};

/// A message was written.
const WROTE: Traffic = Traffic { wrote: true, received: false, answered: false };
/// A greeting came.
const GREETED: Traffic = Traffic { wrote: false, received: true, answered: false };
/// A message was answered.
const ANSWERED: Traffic = Traffic { wrote: true, received: true, answered: true };

#[test]
fn a_refusal_is_answered_by_one_new_token_and_then_by_an_authentication_error() {
    let mut scene = Scene::new(true, Some(POLICY));
    assert_eq!(scene.give(Input::Open { eager: true }), "fetch");
    assert_eq!(scene.give(Input::TokenReady), "dial");
    assert_eq!(scene.give(scene.refused()), "wait");
    assert_eq!(scene.give(Input::Elapsed), "fetch fresh");
    assert_eq!(scene.give(Input::TokenReady), "dial");
    assert_eq!(scene.give(scene.refused()), "finish: authentication");
    assert_eq!(scene.session.state(), State::Closed);
}

#[test]
fn a_refusal_in_band_after_one_in_the_handshake_is_the_second() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.give(Input::Open { eager: false });
    scene.give(Input::TokenReady);
    assert_eq!(scene.give(scene.refused()), "wait");
    scene.open_again();
    assert_eq!(scene.give(scene.unauthorized(WROTE)), "abandon, finish: authentication");
}

#[test]
fn the_token_that_took_the_place_of_a_refused_one_is_kept() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.open();
    assert_eq!(scene.give(scene.unauthorized(WROTE)), "abandon, wait");
    assert_eq!(scene.give(Input::Elapsed), "fetch fresh");
    scene.give(Input::TokenReady);
    scene.give(scene.opened());
    assert_eq!(scene.give(scene.broken()), "wait");
    assert_eq!(scene.give(Input::Elapsed), "fetch");
}

#[test]
fn a_fresh_token_that_could_not_be_had_is_still_wanted() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.open();
    scene.give(scene.unauthorized(WROTE));
    assert_eq!(scene.give(Input::Elapsed), "fetch fresh");
    let error = Error::new(ErrorKind::Timeout, "slow").transient();
    assert_eq!(scene.give(Input::TokenFailed(error)), "wait");
    assert_eq!(scene.give(Input::Elapsed), "fetch fresh");
}

#[test]
fn an_answer_between_two_refusals_earns_another_new_token_and_a_greeting_does_not() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.open();
    for _ in 0..3 {
        assert_eq!(scene.give(scene.unauthorized(ANSWERED)), "abandon, wait");
        assert_eq!(scene.give(Input::Elapsed), "fetch fresh");
        assert_eq!(scene.give(Input::TokenReady), "dial");
        scene.give(scene.opened());
    }
    assert_eq!(scene.give(scene.closed_by(1008, false, GREETED)), "finish: authentication");
}

#[test]
fn a_session_that_is_over_before_messages_flow_is_not_refused_by_how_it_is_closed() {
    let mut scene = Scene::new(true, Some(POLICY));
    scene.open();
    Arc::make_mut(&mut scene.session.config).greets = true;
    scene.give(scene.broken());
    scene.give(Input::Elapsed);
    scene.give(Input::TokenReady);
    assert_eq!(scene.give(scene.opened()), "greet");
    let socket = scene.session.socket();
    assert_eq!(scene.give(Input::SessionOver { socket }), "stop writing");
    assert!(scene.session.is_over());
    assert_eq!(scene.give(scene.closed_by(1008, false, GREETED)), "");
    assert_eq!(scene.session.state(), State::Idle);
}

#[test]
fn policies_say_which_refusals_and_closes_are_final() {
    let statuses = |statuses: Option<Vec<u16>>| {
        let mut scene = Scene::new(false, Some(POLICY));
        Arc::make_mut(&mut scene.session.config).finals.statuses = statuses;
        scene.open();
        scene.give(scene.broken());
        scene.give(Input::Elapsed);
        scene
    };
    let failed = |scene: &Scene, status: u16| {
        let error = Error::new(ErrorKind::Handshake { status: Some(status) }, "no");
        Input::OpenFailed { socket: scene.session.socket(), error }
    };
    for (given, status, said) in [
        (None, 404, "finish: handshake"),
        (None, 302, "finish: handshake"),
        (None, 101, "wait"),
        (None, 403, "finish: authentication"),
        (Some(vec![401]), 403, "wait"),
        (Some(vec![401]), 404, "wait"),
        (Some(vec![401]), 401, "finish: authentication"),
        (Some(vec![503]), 503, "finish: handshake"),
    ] {
        let mut scene = statuses(given.clone());
        assert_eq!(scene.give(failed(&scene, status)), said, "{status} with {given:?}");
    }
    let mut scene = Scene::new(false, Some(POLICY));
    Arc::make_mut(&mut scene.session.config).finals.codes = vec![4401];
    scene.open();
    assert_eq!(scene.give(scene.closed_by(4400, false, ANSWERED)), "wait");
    scene.open_again();
    assert_eq!(scene.give(scene.closed_by(4401, false, ANSWERED)), "finish: 4401");
}

#[test]
fn a_server_is_not_asked_before_the_time_that_it_named() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    scene.give(scene.broken());
    scene.give(Input::Elapsed);
    let error = Error::new(ErrorKind::Handshake { status: Some(429) }, "busy").transient();
    let error =
        error.with_refusal(Refusal { retry_after: Some(Duration::from_secs(7)), ..Refusal::default() });
    assert_eq!(
        scene.delay(Input::OpenFailed { socket: scene.session.socket(), error }),
        Duration::from_secs(7)
    );
}

/// Refused, to be asked again after so long.
fn put_off(scene: &Scene, wait: Option<Duration>) -> Input {
    let error = Error::new(ErrorKind::Handshake { status: Some(429) }, "busy").transient();
    let error = error.with_refusal(Refusal { retry_after: wait, ..Refusal::default() });
    Input::OpenFailed { socket: scene.session.socket(), error }
}

#[test]
fn who_waits_for_the_first_opening_waits_as_long_as_the_server_says_if_that_is_in_time() {
    const SECOND: Duration = Duration::from_secs(1);
    let mut scene = Scene::new(false, Some(POLICY));
    scene.give(Input::Open { eager: true });
    for wait in [3 * SECOND, 7 * SECOND] {
        assert_eq!(scene.delay(put_off(&scene, Some(wait))), wait);
        scene.now += wait;
        assert_eq!(scene.give(Input::Elapsed), "dial");
    }
    // A date that is past: the back-off alone.
    assert_eq!(scene.delay(put_off(&scene, Some(Duration::ZERO))), POLICY.bound(2));
    scene.now += POLICY.bound(2);
    assert_eq!(scene.give(Input::Elapsed), "dial");
    assert_eq!(scene.give(put_off(&scene, Some(OPEN_TIMEOUT))), "finish: handshake", "too long");
}

#[test]
fn who_waits_for_the_first_opening_is_told_at_once_where_the_server_does_not_say_how_long() {
    let opening = |reconnect| {
        let mut scene = Scene::new(false, reconnect);
        scene.give(Input::Open { eager: true });
        scene
    };
    let mut scene = opening(Some(POLICY));
    assert_eq!(scene.give(put_off(&scene, None)), "finish: handshake");
    let wait = Some(Duration::from_secs(1));
    let mut scene = opening(None);
    assert_eq!(scene.give(put_off(&scene, wait)), "finish: handshake", "no policy, no second attempt");
    let mut scene = opening(Some(BackoffPolicy { max_attempts: Some(1), ..POLICY }));
    assert_eq!(
        scene.give(put_off(&scene, wait)),
        "finish: handshake",
        "nor where one is all that there may be"
    );
    let mut scene = opening(Some(POLICY));
    let error = Error::new(ErrorKind::Handshake { status: Some(404) }, "gone");
    let error = error.with_refusal(Refusal { retry_after: wait, ..Refusal::default() });
    assert_eq!(scene.give(Input::OpenFailed { socket: 1, error }), "finish: handshake", "it does not pass");
}

#[test]
fn sessions_in_a_row_without_a_result_are_limited() {
    let policy = BackoffPolicy { max_fruitless: Some(3), ..POLICY };
    let mut scene = Scene::new(false, Some(policy));
    scene.open();
    let lose = |scene: &mut Scene, traffic| {
        scene.now += Duration::from_secs(5);
        let said = scene.give(scene.closed_by(1011, true, traffic));
        if said == "wait" {
            scene.open_again();
        }
        said
    };
    // The third is of some use.
    for traffic in [WROTE, Traffic::default(), GREETED, WROTE, WROTE] {
        assert_eq!(lose(&mut scene, traffic), "wait");
    }
    assert_eq!(lose(&mut scene, WROTE), "finish: 1011");
}

#[test]
fn a_session_that_lived_for_long_is_not_fruitless_nor_is_one_that_ended_in_the_regular_way() {
    let policy = BackoffPolicy { max_fruitless: Some(1), stable_after: Duration::from_secs(9), ..POLICY };
    let mut scene = Scene::new(false, Some(policy));
    scene.open();
    for _ in 0..3 {
        scene.now += Duration::from_secs(9);
        assert_eq!(scene.give(scene.broken()), "wait");
        scene.open_again();
    }
    for _ in 0..3 {
        assert_eq!(scene.give(scene.closed_by(1000, false, WROTE)), "");
        scene.now += Duration::from_secs(9);
        assert_eq!(scene.give(Input::Open { eager: false }), "dial");
        scene.give(scene.opened());
    }
    assert_eq!(scene.give(scene.broken()), "finish: 1006");
}

#[test]
fn what_a_server_says_unasked_does_not_make_it_be_dialled_faster() {
    let policy = BackoffPolicy { max_fruitless: Some(5), ..POLICY };
    let mut scene = Scene::new(false, Some(policy));
    scene.open();
    let delays: Vec<_> = (0..5)
        .map(|_| {
            let delay = scene.delay(scene.closed_by(1011, false, GREETED));
            scene.open_again();
            delay.as_millis()
        })
        .collect();
    assert_eq!(delays, [500, 1000, 2000, 4000, 4000]);
    // With a message that it never takes it is given up after a few.
    let mut delays = Vec::new();
    let end = loop {
        let actions = scene.session.handle(scene.now, 1.0, scene.closed_by(1000, true, GREETED));
        match actions[..] {
            [Action::Wait { delay, .. }] => delays.push(delay.as_millis()),
            _ => break words(&actions),
        }
        scene.now += Duration::from_millis(delays[delays.len() - 1] as u64);
        scene.open_again();
    };
    assert_eq!((delays.as_slice(), end.as_str()), (&[4000; 4][..], "finish: 1006"));
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
        let traffic = ANSWERED;
        assert_eq!(scene.give(Input::Lost { socket: 1, loss, unsent: true, traffic }), "");
    }
    assert_eq!(scene.give(Input::Unauthorized { socket: 1, traffic: ANSWERED }), "");
    assert_eq!(scene.give(Input::SessionOver { socket: 1 }), "");
    assert_eq!(scene.give(Input::OpenFailed { socket: 1, error: Error::closed(1006, "") }), "");
    assert_eq!(scene.session.state(), State::Active);
    // Not even in `closing`: the new socket has not said goodbye.
    assert_eq!(scene.give(Input::Close), "send close");
    let loss = Loss::Broken("late".into());
    assert_eq!(scene.give(Input::Lost { socket: 1, loss, unsent: false, traffic: ANSWERED }), "");
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
    let end = loop {
        let delay = scene.delay(scene.failed());
        delays.push(delay.as_millis());
        scene.now += delay;
        match scene.give(Input::Elapsed) {
            dial if dial == "dial" => {}
            end => break end,
        }
    };
    assert_eq!(delays, [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 2500]);
    assert_eq!((end.as_str(), scene.now - start), ("finish: handshake", OPEN_TIMEOUT));
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
fn attempts_that_open_nothing_are_limited_by_the_policy() {
    let mut scene = Scene::new(false, Some(BackoffPolicy { max_attempts: Some(2), ..POLICY }));
    scene.open();
    for _ in 0..3 {
        assert_eq!(scene.give(scene.broken()), "wait");
        scene.give(Input::Elapsed);
        assert_eq!(scene.give(scene.failed()), "wait");
        scene.open_again();
    }
    assert_eq!(scene.give(scene.broken()), "wait");
    scene.give(Input::Elapsed);
    assert_eq!(scene.give(scene.failed()), "wait");
    scene.give(Input::Elapsed);
    assert_eq!(scene.give(scene.failed()), "finish: handshake");
}

#[test]
fn the_back_off_starts_over_after_a_stable_time_or_an_answer_and_not_before() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    let mut lose_after = |lived: Duration, traffic| {
        scene.now += lived;
        let delay = scene.delay(scene.lost(Loss::Broken("reset".into()), false, traffic));
        scene.open_again();
        delay.as_millis()
    };
    let short = Duration::from_secs(9);
    assert_eq!(lose_after(short, WROTE), 500);
    assert_eq!(lose_after(short, GREETED), 1000);
    assert_eq!(lose_after(short, WROTE), 2000);
    assert_eq!(lose_after(POLICY.stable_after, Traffic::default()), 500);
    assert_eq!(lose_after(short, WROTE), 1000);
    assert_eq!(lose_after(Duration::ZERO, ANSWERED), 500);
}

#[test]
fn a_server_that_closes_every_session_at_once_is_not_dialled_at_full_speed() {
    for reconnect in [Some(POLICY), None] {
        let mut scene = Scene::new(false, reconnect);
        scene.open();
        let mut waited = Duration::ZERO;
        for _ in 0..4 {
            waited += scene.delay(scene.closed_by(1000, true, Traffic::default()));
            scene.open_again();
        }
        assert_eq!(waited, Duration::from_millis(500 + 1000 + 2000 + 4000));
    }
}

#[test]
fn nor_is_it_when_messages_come_after_each_close() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    let mut waited = Duration::ZERO;
    for _ in 0..4 {
        assert_eq!(scene.give(scene.closed_by(1000, false, WROTE)), "");
        waited += scene.delay(Input::Open { eager: false });
        scene.open_again();
    }
    assert_eq!(waited, Duration::from_millis(500 + 1000 + 2000 + 4000));
    // One that lives for a second may close as often as it likes.
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.give(scene.closed_by(1000, true, WROTE)), "dial");
}

#[test]
fn one_that_answers_and_closes_ten_times_is_dialled_a_tenth_of_a_second_after_the_last_opening() {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.open();
    for _ in 0..10 {
        scene.now += Duration::from_millis(99);
        assert_eq!(scene.give(scene.closed_by(1000, true, ANSWERED)), "dial");
        scene.give(scene.opened());
    }
    for lived in [0, 1, 30, 99] {
        scene.now += Duration::from_millis(lived);
        let delay = scene.delay(scene.closed_by(1000, true, ANSWERED));
        assert_eq!(delay, Duration::from_millis(100 - lived));
        scene.open_again();
    }
    for lived in [100, 0] {
        scene.now += Duration::from_millis(lived);
        assert_eq!(scene.give(scene.closed_by(1000, true, ANSWERED)), "dial");
        scene.give(scene.opened());
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
        let config =
            SessionConfig { reconnect, open_timeout: OPEN_TIMEOUT, raw: true, ..SessionConfig::default() };
        let mut scene = Self { session: Session::new(config), now: Instant::now() };
        scene.open();
        scene
    }

    fn closed_with(&self, code: u16) -> Input {
        self.closed_by(code, true, Traffic::default())
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

/// An open session with these limits.
fn limited(max_session: Option<Duration>, idle_close: Option<Duration>) -> Scene {
    let mut scene = Scene::new(false, Some(POLICY));
    scene.session = Session::new(SessionConfig { max_session, idle_close, ..SessionConfig::default() });
    scene.open();
    scene
}

impl Scene {
    /// The next poll, at its time.
    fn poll(&mut self, moved: u64, is_used: bool) -> String {
        self.now = self.session.poll_at().unwrap();
        self.give(Input::Polled { socket: self.session.socket(), moved, is_used })
    }
}

#[test]
fn a_session_is_ended_when_nothing_has_passed_and_nothing_is_under_way_for_the_time_that_was_given() {
    let limit = Duration::from_secs(8);
    let mut scene = limited(None, Some(limit));
    assert_eq!(scene.poll(1, false), "", "a message has passed");
    let quiet_since = scene.now;
    for _ in 0..3 {
        assert_eq!(scene.poll(1, false), "");
    }
    assert_eq!(scene.poll(1, false), "end if unused");
    assert_eq!(scene.now - quiet_since, limit);
    // A message was quicker.
    for (moved, is_used) in [(1, true), (1, true), (1, true), (1, true), (1, true), (2, false)] {
        assert_eq!(scene.poll(moved, is_used), "", "something is under way");
    }
    for _ in 0..3 {
        assert_eq!(scene.poll(2, false), "");
    }
    assert_eq!(scene.poll(2, false), "end if unused");
    let socket = scene.session.socket();
    assert_eq!(scene.give(Input::Unused { socket }), "send close");
    assert!(scene.session.is_over() && scene.session.is_given_up());
    assert_eq!(scene.session.poll_at(), None);
    assert_eq!(scene.give(scene.closed_by(1000, false, ANSWERED)), "");
    assert_eq!(scene.session.state(), State::Idle);
    assert_eq!(scene.give(Input::Open { eager: false }), "dial", "it was of use");
}

#[test]
fn an_old_session_is_ended_at_the_next_moment_with_nothing_under_way_and_what_waits_goes_into_the_next() {
    let limit = Duration::from_secs(60);
    let mut scene = limited(Some(limit), None);
    let opened = scene.now;
    assert_eq!(scene.poll(7, true), "end when unused");
    assert_eq!(scene.now - opened, limit);
    assert_eq!(scene.session.poll_at(), None, "that moment comes by itself");
    let socket = scene.session.socket();
    assert_eq!(scene.give(Input::Unused { socket }), "send close");
    // Whatever becomes of the socket.
    assert_eq!(scene.give(scene.lost(Loss::Broken("reset".into()), true, ANSWERED)), "dial");
    scene.give(scene.opened());
    assert!(!scene.session.is_given_up());
    assert_eq!(scene.session.poll_at(), Some(scene.now + limit), "a session of its own");
}

#[test]
fn sessions_that_we_end_unused_are_not_opened_faster_than_the_back_off() {
    let mut scene = limited(None, Some(Duration::from_millis(1)));
    scene.poll(0, false);
    let socket = scene.session.socket();
    scene.give(Input::Unused { socket });
    scene.give(scene.closed_by(1000, false, Traffic::default()));
    assert_eq!(scene.give(Input::Open { eager: false }), "wait");
}
