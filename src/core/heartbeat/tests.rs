// A test chooses its times: these subtractions can't go below zero.
#![allow(clippy::unchecked_time_subtraction)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Beat, Heartbeat, Sent, Silence};

const SEC: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);
const NOT_BUSY: Option<Duration> = Some(Duration::ZERO);
/// The longest that an acknowledgement may be kept back, and a little more.
const ACK: Duration = Duration::from_secs(1);

/// A system that does not tell what is acknowledged.
fn untold() -> Option<Sent> {
    None
}

/// A system that was given 100 bytes.
fn acknowledged(acknowledged: u64) -> impl FnOnce() -> Option<Sent> {
    move || Some(Sent { given: 100, acknowledged, is_held_back: false })
}

fn lost(silence: Silence) -> Beat {
    Beat::Lost(silence)
}

fn started(now: Instant) -> Heartbeat {
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), NOT_BUSY);
    heartbeat.start(now);
    heartbeat
}

#[test]
fn a_silent_peer_is_pinged_once_and_then_lost() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL));
    assert_eq!(heartbeat.poll(start + INTERVAL - SEC, untold), Beat::Idle);
    assert_eq!(heartbeat.poll(start + INTERVAL, untold), Beat::Ping);
    assert_eq!(heartbeat.poll(start + INTERVAL + SEC, untold), Beat::Idle);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL + TIMEOUT));
    assert_eq!(heartbeat.poll(start + INTERVAL + TIMEOUT, untold), lost(Silence::Unanswered));
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 10 * INTERVAL, untold)), (None, Beat::Idle));
}

#[test]
fn any_bytes_after_the_ping_are_a_sign_of_life() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.activity(start + 5 * SEC);
    assert_eq!(
        heartbeat.poll(start + INTERVAL, untold),
        Beat::Idle,
        "the interval counts from the last bytes"
    );
    let pinged = start + 5 * SEC + INTERVAL;
    assert_eq!(heartbeat.poll(pinged, untold), Beat::Ping);
    // The pong may come within the same reading of the clock.
    heartbeat.activity(pinged);
    assert_eq!(heartbeat.deadline(), Some(pinged + INTERVAL));
    assert_eq!(heartbeat.poll(pinged + TIMEOUT, untold), Beat::Idle);
    assert_eq!(heartbeat.poll(pinged + INTERVAL, untold), Beat::Ping);
}

#[test]
fn a_ping_that_is_held_up_gets_its_full_time() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.ping_moved(start + SEC, untold);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL), "there was no ping");
    assert_eq!(heartbeat.poll(start + INTERVAL, untold), Beat::Ping);
    let moved = start + INTERVAL + TIMEOUT - SEC;
    heartbeat.ping_moved(moved, untold);
    assert_eq!(heartbeat.poll(moved + SEC, untold), Beat::Idle);
    assert_eq!(heartbeat.poll(moved + TIMEOUT, untold), lost(Silence::Unanswered));
}

#[test]
fn without_interval_nothing_happens() {
    let start = Instant::now();
    for interval in [None, Some(Duration::ZERO)] {
        let mut heartbeat = Heartbeat::new(interval, Some(TIMEOUT), NOT_BUSY);
        heartbeat.start(start);
        assert_eq!(
            (heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL, untold)),
            (None, Beat::Idle)
        );
    }
}

#[test]
fn without_timeout_it_pings_on_and_never_gives_up() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), None, NOT_BUSY);
    heartbeat.start(start);
    for n in 1..10 {
        assert_eq!(heartbeat.deadline(), Some(start + n * INTERVAL));
        assert_eq!(heartbeat.poll(start + n * INTERVAL, untold), Beat::Ping);
        assert_eq!(heartbeat.poll(start + n * INTERVAL + SEC, untold), Beat::Idle);
    }
}

#[test]
fn while_reading_is_paused_no_loss_is_declared_where_the_system_does_not_tell() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.poll(start + INTERVAL, untold), Beat::Ping);
    heartbeat.pause();
    assert_eq!(heartbeat.poll(start + INTERVAL + TIMEOUT, untold), Beat::Idle);
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL, untold)), (None, Beat::Idle));
    let resumed = start + 100 * INTERVAL;
    heartbeat.resume(resumed);
    assert_eq!(heartbeat.poll(resumed, untold), Beat::Idle);
    assert_eq!(heartbeat.poll(resumed + INTERVAL, untold), Beat::Ping);
    assert_eq!(heartbeat.poll(resumed + INTERVAL + TIMEOUT, untold), lost(Silence::Unanswered));
}

#[test]
fn resume_without_pause_does_not_prolong() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.resume(start + SEC);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL));
}

#[test]
fn stopped_it_stays_stopped_until_started() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), NOT_BUSY);
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start, untold)), (None, Beat::Idle));
    heartbeat.start(start);
    heartbeat.stop();
    heartbeat.pause();
    heartbeat.resume(start);
    heartbeat.activity(start);
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL, untold)), (None, Beat::Idle));
    heartbeat.start(start + SEC);
    assert_eq!(heartbeat.deadline(), Some(start + SEC + INTERVAL));
}

#[test]
fn endless_waits_and_a_clock_that_steps_back_do_not_overflow() {
    let start = Instant::now() + Duration::from_secs(3600);
    let mut heartbeat = Heartbeat::new(Some(Duration::MAX), Some(Duration::MAX), Some(Duration::MAX));
    heartbeat.start(start);
    assert_eq!(heartbeat.poll(start - 60 * SEC, untold), Beat::Idle);
    assert!(heartbeat.deadline().is_some());
}

proptest! {
    /// Whatever came before, a peer that falls silent is lost exactly `interval + timeout` later, and one
    /// that answers each ping within the timeout never is.
    #[test]
    fn half_open_is_found_in_time(gaps in prop::collection::vec(0..60_u64, 0..50), answer in 0..10_u64) {
        let start = Instant::now();
        let mut heartbeat = started(start);
        let mut last_bytes = start;
        let mut now = start;
        for gap in gaps {
            let bytes_at = now + Duration::from_secs(gap);
            while let Some(deadline) = heartbeat.deadline() && deadline <= bytes_at {
                now = deadline;
                prop_assert_eq!(heartbeat.poll(now, untold), Beat::Ping);
                now += Duration::from_secs(answer);
                heartbeat.activity(now);
                last_bytes = now;
            }
            now = now.max(bytes_at);
            heartbeat.activity(now);
            last_bytes = last_bytes.max(now);
        }
        prop_assert_eq!(heartbeat.deadline(), Some(last_bytes + INTERVAL));
        prop_assert_eq!(heartbeat.poll(last_bytes + INTERVAL, untold), Beat::Ping);
        prop_assert_eq!(heartbeat.deadline(), Some(last_bytes + INTERVAL + TIMEOUT));
        prop_assert_eq!(heartbeat.poll(last_bytes + INTERVAL + TIMEOUT, untold), lost(Silence::Unanswered));
    }
}

#[test]
fn only_the_pong_of_the_newest_ping_tells_how_long_it_took() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.pong(start + SEC, &heartbeat.payload()), None, "there was no ping");
    assert_eq!(heartbeat.poll(start + INTERVAL, untold), Beat::Ping);
    let payload = heartbeat.payload();
    heartbeat.ping_moved(start + INTERVAL + SEC, untold);
    let answered = start + INTERVAL + 3 * SEC;
    assert_eq!(heartbeat.pong(answered, b""), None, "a pong that nobody asked for");
    assert_eq!(heartbeat.pong(answered, &payload), Some(2 * SEC), "from when it was handed over");
    assert_eq!(heartbeat.pong(answered + SEC, &payload), None, "a second time");
    heartbeat.activity(answered);
    assert_eq!(heartbeat.poll(answered + INTERVAL, untold), Beat::Ping);
    assert_eq!(heartbeat.pong(answered + INTERVAL + SEC, &payload), None, "that of an older one");
    // What waited while nothing was read says nothing about the way.
    heartbeat.pause();
    heartbeat.resume(answered + 2 * INTERVAL);
    assert_eq!(heartbeat.pong(answered + 2 * INTERVAL, &heartbeat.payload()), None);
}

#[test]
fn while_reading_is_paused_only_what_is_not_acknowledged_is_a_loss() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.pause();
    let mut now = start + INTERVAL;
    assert_eq!(heartbeat.poll(now, acknowledged(0)), Beat::Ping, "so that there is something to acknowledge");
    for _ in 0..100 {
        heartbeat.ping_moved(now, acknowledged(0));
        now += TIMEOUT;
        assert_eq!((heartbeat.deadline(), heartbeat.poll(now, acknowledged(100))), (Some(now), Beat::Ping));
    }
    heartbeat.ping_moved(now, acknowledged(90));
    assert_eq!(heartbeat.poll(now + TIMEOUT, acknowledged(90)), lost(Silence::Unacknowledged));
}

#[test]
fn a_busy_peer_whose_system_acknowledges_is_pinged_on_until_the_time_is_over() {
    let (start, busy) = (Instant::now(), 35 * SEC);
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), Some(busy));
    heartbeat.start(start);
    let mut now = start + INTERVAL;
    assert_eq!(heartbeat.poll(now, acknowledged(0)), Beat::Ping);
    for _ in 0..4 {
        heartbeat.ping_moved(now, acknowledged(0));
        now += TIMEOUT;
        assert_eq!(heartbeat.poll(now, acknowledged(100)), Beat::Ping);
    }
    let over = start + INTERVAL + TIMEOUT + busy;
    assert_eq!(
        (heartbeat.deadline(), heartbeat.poll(over - SEC, acknowledged(100))),
        (Some(over), Beat::Idle)
    );
    assert_eq!(heartbeat.poll(over, acknowledged(100)), lost(Silence::Busy));
}

#[test]
fn a_busy_peer_that_says_something_may_be_busy_for_as_long_again() {
    let (start, busy) = (Instant::now(), 5 * SEC);
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), Some(busy));
    heartbeat.start(start);
    let mut silent_since = start;
    for _ in 0..3 {
        let pinged = silent_since + INTERVAL;
        assert_eq!(heartbeat.poll(pinged, acknowledged(0)), Beat::Ping);
        heartbeat.ping_moved(pinged, acknowledged(0));
        assert_eq!(heartbeat.poll(pinged + TIMEOUT, acknowledged(100)), Beat::Ping);
        silent_since = pinged + TIMEOUT + busy - SEC;
        heartbeat.activity(silent_since);
        assert_eq!(heartbeat.deadline(), Some(silent_since + INTERVAL));
    }
}

#[test]
fn a_busy_peer_whose_system_falls_silent_is_lost_in_time() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), None);
    heartbeat.start(start);
    let mut now = start + INTERVAL;
    assert_eq!(heartbeat.poll(now, acknowledged(0)), Beat::Ping);
    for _ in 0..1000 {
        heartbeat.ping_moved(now, acknowledged(0));
        now += TIMEOUT;
        assert_eq!(heartbeat.poll(now, acknowledged(100)), Beat::Ping);
    }
    heartbeat.ping_moved(now, acknowledged(0));
    assert_eq!(heartbeat.poll(now + TIMEOUT, acknowledged(0)), lost(Silence::Unacknowledged));
}

#[test]
fn without_a_busy_timeout_nobody_is_asked_and_where_the_system_does_not_tell_pongs_alone_count() {
    let start = Instant::now();
    for busy in [NOT_BUSY, Some(300 * SEC), None] {
        let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT), busy);
        heartbeat.start(start);
        let answer = || if busy == NOT_BUSY { panic!("asked") } else { None };
        assert_eq!(heartbeat.poll(start + INTERVAL, answer), Beat::Ping);
        heartbeat.ping_moved(start + INTERVAL, answer);
        assert_eq!(heartbeat.poll(start + INTERVAL + TIMEOUT, answer), lost(Silence::Unanswered));
    }
}

#[test]
fn an_acknowledgement_may_take_half_a_second_and_one_that_is_under_way_counts() {
    let (start, soon) = (Instant::now(), Duration::from_millis(10));
    let mut heartbeat = Heartbeat::new(Some(soon), Some(soon), None);
    heartbeat.start(start);
    let mut now = start + soon;
    assert_eq!(heartbeat.poll(now, acknowledged(0)), Beat::Ping);
    heartbeat.ping_moved(now, acknowledged(0));
    assert_eq!(heartbeat.poll(now + soon, acknowledged(0)), Beat::Idle);
    assert_eq!(heartbeat.poll(now + soon * 2, acknowledged(0)), Beat::Idle);
    for progress in 1..50 {
        now += ACK;
        assert_eq!(heartbeat.poll(now, acknowledged(progress)), Beat::Idle, "a slow line");
    }
    let held_back = || Some(Sent { given: 100, acknowledged: 49, is_held_back: true });
    assert_eq!(heartbeat.poll(now + ACK, held_back), Beat::Ping, "it is not to take more yet");
}

#[test]
fn what_is_sent_after_the_ping_need_not_be_acknowledged() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    let sent = |given, acknowledged| move || Some(Sent { given, acknowledged, is_held_back: false });
    // Pinged before it was paused: what is to be acknowledged was not known then.
    assert_eq!(heartbeat.poll(start + INTERVAL, untold), Beat::Ping);
    heartbeat.ping_moved(start + INTERVAL, untold);
    heartbeat.pause();
    let mut now = start + INTERVAL + TIMEOUT;
    assert_eq!(heartbeat.poll(now, sent(1000, 990)), Beat::Idle);
    for n in 1..10 {
        now += TIMEOUT;
        assert_eq!(heartbeat.poll(now, sent(1000 * (n + 1), 1000 * n + 990)), Beat::Ping);
        heartbeat.ping_moved(now, sent(1000 * (n + 1) + 10, 1000 * n + 990));
    }
}
