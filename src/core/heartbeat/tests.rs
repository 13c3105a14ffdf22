// A test chooses its times: these subtractions can't go below zero.
#![allow(clippy::unchecked_time_subtraction)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Beat, Heartbeat};

const SEC: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);

fn started(now: Instant) -> Heartbeat {
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT));
    heartbeat.start(now);
    heartbeat
}

#[test]
fn a_silent_peer_is_pinged_once_and_then_lost() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL));
    assert_eq!(heartbeat.poll(start + INTERVAL - SEC), Beat::Idle);
    assert_eq!(heartbeat.poll(start + INTERVAL), Beat::Ping);
    assert_eq!(heartbeat.poll(start + INTERVAL + SEC), Beat::Idle);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL + TIMEOUT));
    assert_eq!(heartbeat.poll(start + INTERVAL + TIMEOUT), Beat::Lost);
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 10 * INTERVAL)), (None, Beat::Idle));
}

#[test]
fn any_bytes_after_the_ping_are_a_sign_of_life() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.activity(start + 5 * SEC);
    assert_eq!(heartbeat.poll(start + INTERVAL), Beat::Idle, "the interval counts from the last bytes");
    let pinged = start + 5 * SEC + INTERVAL;
    assert_eq!(heartbeat.poll(pinged), Beat::Ping);
    // The pong may come within the same reading of the clock.
    heartbeat.activity(pinged);
    assert_eq!(heartbeat.deadline(), Some(pinged + INTERVAL));
    assert_eq!(heartbeat.poll(pinged + TIMEOUT), Beat::Idle);
    assert_eq!(heartbeat.poll(pinged + INTERVAL), Beat::Ping);
}

#[test]
fn a_ping_that_is_held_up_gets_its_full_time() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    heartbeat.ping_moved(start + SEC);
    assert_eq!(heartbeat.deadline(), Some(start + INTERVAL), "there was no ping");
    assert_eq!(heartbeat.poll(start + INTERVAL), Beat::Ping);
    let moved = start + INTERVAL + TIMEOUT - SEC;
    heartbeat.ping_moved(moved);
    assert_eq!(heartbeat.poll(moved + SEC), Beat::Idle);
    assert_eq!(heartbeat.poll(moved + TIMEOUT), Beat::Lost);
}

#[test]
fn without_interval_nothing_happens() {
    let start = Instant::now();
    for interval in [None, Some(Duration::ZERO)] {
        let mut heartbeat = Heartbeat::new(interval, Some(TIMEOUT));
        heartbeat.start(start);
        assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL)), (None, Beat::Idle));
    }
}

#[test]
fn without_timeout_it_pings_on_and_never_gives_up() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), None);
    heartbeat.start(start);
    for n in 1..10 {
        assert_eq!(heartbeat.deadline(), Some(start + n * INTERVAL));
        assert_eq!(heartbeat.poll(start + n * INTERVAL), Beat::Ping);
        assert_eq!(heartbeat.poll(start + n * INTERVAL + SEC), Beat::Idle);
    }
}

#[test]
fn while_reading_is_paused_no_loss_is_declared() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.poll(start + INTERVAL), Beat::Ping);
    heartbeat.pause();
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL)), (None, Beat::Idle));
    let resumed = start + 100 * INTERVAL;
    heartbeat.resume(resumed);
    assert_eq!(heartbeat.poll(resumed), Beat::Idle);
    assert_eq!(heartbeat.poll(resumed + INTERVAL), Beat::Ping);
    assert_eq!(heartbeat.poll(resumed + INTERVAL + TIMEOUT), Beat::Lost);
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
    let mut heartbeat = Heartbeat::new(Some(INTERVAL), Some(TIMEOUT));
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start)), (None, Beat::Idle));
    heartbeat.start(start);
    heartbeat.stop();
    heartbeat.pause();
    heartbeat.resume(start);
    heartbeat.activity(start);
    assert_eq!((heartbeat.deadline(), heartbeat.poll(start + 100 * INTERVAL)), (None, Beat::Idle));
    heartbeat.start(start + SEC);
    assert_eq!(heartbeat.deadline(), Some(start + SEC + INTERVAL));
}

#[test]
fn endless_waits_and_a_clock_that_steps_back_do_not_overflow() {
    let start = Instant::now() + Duration::from_secs(3600);
    let mut heartbeat = Heartbeat::new(Some(Duration::MAX), Some(Duration::MAX));
    heartbeat.start(start);
    assert_eq!(heartbeat.poll(start - 60 * SEC), Beat::Idle);
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
                prop_assert_eq!(heartbeat.poll(now), Beat::Ping);
                now += Duration::from_secs(answer);
                heartbeat.activity(now);
                last_bytes = now;
            }
            now = now.max(bytes_at);
            heartbeat.activity(now);
            last_bytes = last_bytes.max(now);
        }
        prop_assert_eq!(heartbeat.deadline(), Some(last_bytes + INTERVAL));
        prop_assert_eq!(heartbeat.poll(last_bytes + INTERVAL), Beat::Ping);
        prop_assert_eq!(heartbeat.deadline(), Some(last_bytes + INTERVAL + TIMEOUT));
        prop_assert_eq!(heartbeat.poll(last_bytes + INTERVAL + TIMEOUT), Beat::Lost);
    }
}

#[test]
fn only_the_pong_of_the_newest_ping_tells_how_long_it_took() {
    let start = Instant::now();
    let mut heartbeat = started(start);
    assert_eq!(heartbeat.pong(start + SEC, &heartbeat.payload()), None, "there was no ping");
    assert_eq!(heartbeat.poll(start + INTERVAL), Beat::Ping);
    let payload = heartbeat.payload();
    heartbeat.ping_moved(start + INTERVAL + SEC);
    let answered = start + INTERVAL + 3 * SEC;
    assert_eq!(heartbeat.pong(answered, b""), None, "a pong that nobody asked for");
    assert_eq!(heartbeat.pong(answered, &payload), Some(2 * SEC), "from when it was handed over");
    assert_eq!(heartbeat.pong(answered + SEC, &payload), None, "a second time");
    heartbeat.activity(answered);
    assert_eq!(heartbeat.poll(answered + INTERVAL), Beat::Ping);
    assert_eq!(heartbeat.pong(answered + INTERVAL + SEC, &payload), None, "that of an older one");
    // What waited while nothing was read says nothing about the way.
    heartbeat.pause();
    heartbeat.resume(answered + 2 * INTERVAL);
    assert_eq!(heartbeat.pong(answered + 2 * INTERVAL, &heartbeat.payload()), None);
}
