// A test chooses its times: these subtractions can't go below zero.
#![allow(clippy::unchecked_time_subtraction)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Offer, Throttle};

const MS: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_millis(128);

#[test]
fn the_leading_call_passes_and_the_latest_of_the_others_follows() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    assert_eq!(throttle.offer(start, 1), Offer::Pass(1));
    assert_eq!((throttle.held(), throttle.deadline()), (false, None));
    assert_eq!(throttle.offer(start + MS, 2), Offer::Held);
    assert_eq!(throttle.offer(start + 2 * MS, 3), Offer::Replaced(2));
    assert_eq!(throttle.deadline(), Some(start + INTERVAL), "a newer item does not move the deadline");
    assert_eq!(throttle.due(start + 127 * MS), None);
    assert!(throttle.held() && !throttle.peek_due(start + 127 * MS) && throttle.peek_due(start + INTERVAL));
    assert_eq!(throttle.due(start + INTERVAL), Some(3));
    assert_eq!(throttle.due(start + INTERVAL), None);
    // Taking it was a pass: the next one is held.
    assert_eq!(throttle.offer(start + 129 * MS, 4), Offer::Held);
    assert_eq!(throttle.due(start + 2 * INTERVAL), Some(4));
}

#[test]
fn after_a_quiet_interval_a_call_passes_at_once() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    assert_eq!(throttle.offer(start, 1), Offer::Pass(1));
    assert_eq!(throttle.offer(start + INTERVAL, 2), Offer::Pass(2));
    assert_eq!(throttle.offer(start + 2 * INTERVAL - MS, 3), Offer::Held);
}

#[test]
fn an_overdue_item_is_replaced_by_a_newer_one_which_is_due_at_once() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    assert_eq!(throttle.offer(start, 1), Offer::Pass(1));
    assert_eq!(throttle.offer(start + MS, 2), Offer::Held);
    assert_eq!(throttle.offer(start + 10 * INTERVAL, 3), Offer::Replaced(2));
    assert_eq!(throttle.due(start + 10 * INTERVAL), Some(3));
}

#[test]
fn zero_turns_it_off() {
    let start = Instant::now();
    let mut throttle = Throttle::new(Duration::ZERO);
    for id in 0..10 {
        assert_eq!(throttle.offer(start, id), Offer::Pass(id));
    }
    assert_eq!(throttle.deadline(), None);
}

#[test]
fn cancel_gives_the_item_up() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    let _ = throttle.offer(start, 1);
    assert_eq!(throttle.cancel(), None);
    let _ = throttle.offer(start, 2);
    assert_eq!(throttle.cancel(), Some(2));
    assert_eq!((throttle.held(), throttle.due(start + INTERVAL)), (false, None));
}

#[test]
fn a_restored_item_waits_another_interval_and_yields_to_a_newer_one() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    let _ = throttle.offer(start, 1);
    let _ = throttle.offer(start + MS, 2);
    assert_eq!(throttle.due(start + INTERVAL), Some(2));
    assert_eq!(throttle.restore(2), None);
    assert_eq!(throttle.deadline(), Some(start + 2 * INTERVAL));
    assert_eq!(throttle.due(start + 2 * INTERVAL), Some(2));
    assert_eq!(throttle.offer(start + 2 * INTERVAL, 3), Offer::Held);
    assert_eq!(throttle.restore(2), Some(2));
    assert_eq!(throttle.cancel(), Some(3));
}

#[test]
fn an_item_restored_before_any_pass_is_due() {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    assert_eq!(throttle.restore(1), None);
    assert_eq!(throttle.due(start), Some(1));
}

#[test]
fn time_that_goes_backwards_is_tolerated() {
    let start = Instant::now() + Duration::from_secs(10);
    let mut throttle = Throttle::new(INTERVAL);
    assert_eq!(throttle.offer(start, 1), Offer::Pass(1));
    assert_eq!(throttle.offer(start - 5 * INTERVAL, 2), Offer::Held);
    assert_eq!(throttle.due(start - 2 * INTERVAL), None);
    assert_eq!(throttle.due(start + INTERVAL), Some(2));
}

#[test]
fn an_endless_interval_does_not_overflow() {
    let start = Instant::now();
    let mut throttle = Throttle::new(Duration::MAX);
    let _ = throttle.offer(start, 1);
    let _ = throttle.offer(start, 2);
    assert!(throttle.deadline().is_some());
    assert!(!throttle.peek_due(start + Duration::from_secs(86_400)));
}

/// Runs offers at the given gaps, polling at each deadline as an event loop does; `late` is how late its
/// timer fires. Returns what passed, when, and what was coalesced.
fn run(gaps: &[u64], late: u64) -> (Vec<(usize, Duration)>, Vec<usize>) {
    let start = Instant::now();
    let mut throttle = Throttle::new(INTERVAL);
    let (mut passed, mut coalesced) = (Vec::new(), Vec::new());
    let mut now = start;
    for (id, gap) in gaps.iter().enumerate() {
        now += Duration::from_millis(*gap);
        while let Some(fires) = throttle.deadline().map(|deadline| deadline + Duration::from_millis(late))
            && fires <= now
        {
            passed.extend(throttle.due(fires).map(|id| (id, fires - start)));
        }
        match throttle.offer(now, id) {
            Offer::Pass(id) => passed.push((id, now - start)),
            Offer::Held => {}
            Offer::Replaced(older) => coalesced.push(older),
        }
    }
    if let Some(deadline) = throttle.deadline() {
        let fires = deadline + Duration::from_millis(late);
        passed.extend(throttle.due(fires).map(|id| (id, fires - start)));
    }
    assert!(!throttle.held(), "the last one always comes out");
    (passed, coalesced)
}

proptest! {
    #[test]
    fn random_schedules(
        gaps in prop::collection::vec(prop_oneof![0..20_u64, 100..300_u64], 1..100),
        late in 0..50_u64,
    ) {
        let (passed, coalesced) = run(&gaps, late);
        let times: Vec<Duration> = gaps
            .iter()
            .scan(Duration::ZERO, |now, gap| {
                *now += Duration::from_millis(*gap);
                Some(*now)
            })
            .collect();

        prop_assert_eq!(passed[0], (0, times[0]), "the first call passes at once");
        prop_assert_eq!(passed.last().map(|(id, _)| *id), Some(gaps.len() - 1), "the last call comes out");
        for pair in passed.windows(2) {
            prop_assert!(pair[1].1 - pair[0].1 >= INTERVAL, "passes are an interval apart");
            prop_assert!(pair[1].0 > pair[0].0, "in order");
        }
        for &(id, at) in &passed {
            prop_assert!(at >= times[id]);
            prop_assert!(at - times[id] <= INTERVAL + Duration::from_millis(late), "nobody waits longer");
            let next = times.get(id + 1).copied().unwrap_or(Duration::MAX);
            prop_assert!(next >= at, "what passed was the latest at that time");
        }
        let mut all: Vec<usize> = passed.iter().map(|(id, _)| *id).chain(coalesced).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..gaps.len()).collect::<Vec<_>>(), "each item ends exactly once");
    }
}
