use std::time::Duration;

use proptest::prelude::*;

use super::{Backoff, BackoffPolicy, spread};

fn policy() -> BackoffPolicy {
    BackoffPolicy::default()
}

#[test]
fn doubles_up_to_the_cap() {
    let mut backoff = Backoff::new(policy());
    let delays: Vec<f64> = (0..9).map(|_| backoff.delay(1.0).as_secs_f64()).collect();
    assert_eq!(delays, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    assert_eq!(backoff.delays(), 9);
    backoff.start_over();
    assert_eq!(backoff.delay(1.0), Duration::from_millis(500));
}

#[test]
fn jitter_scales_the_whole_delay() {
    let delay = |jitter| Backoff::new(policy()).delay(jitter);
    assert_eq!(delay(0.0), Duration::ZERO);
    assert_eq!(delay(0.5), Duration::from_millis(250));
    for out_of_range in [f64::NAN, f64::INFINITY, 2.0] {
        assert_eq!(delay(out_of_range), Duration::from_millis(500));
    }
    assert_eq!(delay(-1.0), Duration::ZERO);
}

#[test]
fn attempts_that_open_nothing_are_limited_in_a_row() {
    let mut backoff = Backoff::new(BackoffPolicy { max_attempts: Some(3), ..policy() });
    assert!(backoff.failed() && backoff.failed());
    backoff.opened();
    assert!(backoff.failed() && backoff.failed());
    assert!(!backoff.failed(), "the third in a row");
    let mut endless = Backoff::new(policy());
    assert!((0..1_000).all(|_| endless.failed()));
}

#[test]
fn fruitless_sessions_are_limited_in_a_row() {
    let mut backoff = Backoff::new(policy());
    assert!((0..4).all(|_| backoff.fruitless()));
    backoff.fruitful();
    assert!((0..4).all(|_| backoff.fruitless()));
    backoff.opened();
    backoff.start_over();
    assert!(!backoff.fruitless(), "neither an opening nor a delay is fruit");
    let mut endless = Backoff::new(BackoffPolicy { max_fruitless: None, ..policy() });
    assert!((0..1_000).all(|_| endless.fruitless()));
}

#[test]
fn validation_names_the_field() {
    assert_eq!(policy().validate(), Ok(()));
    let cases = [
        (BackoffPolicy { initial: Duration::ZERO, ..policy() }, "initial"),
        (BackoffPolicy { cap: Duration::from_millis(1), ..policy() }, "cap"),
        (BackoffPolicy { factor: 0.5, ..policy() }, "factor"),
        (BackoffPolicy { factor: f64::NAN, ..policy() }, "factor"),
        (BackoffPolicy { factor: f64::INFINITY, ..policy() }, "factor"),
    ];
    for (policy, field) in cases {
        let message = policy.validate().unwrap_err();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn spread_is_symmetric() {
    let base = Duration::from_secs(10);
    assert_eq!(spread(base, 0.25, 0.0), Duration::from_millis(7_500));
    assert_eq!(spread(base, 0.25, 0.5), base);
    assert_eq!(spread(base, 0.25, 1.0), Duration::from_millis(12_500));
    assert_eq!(spread(base, 0.0, 0.9), base);
    assert_eq!(spread(Duration::MAX, 1.0, 1.0), Duration::MAX);
}

proptest! {
    #[test]
    fn never_above_the_cap(
        initial in 1..1_000_u64,
        cap in 1_000..u64::MAX,
        factor in 1.0..1e300_f64,
        jitter: f64,
        attempts in 1..200_u32,
    ) {
        let policy = BackoffPolicy {
            initial: Duration::from_millis(initial),
            cap: Duration::from_millis(cap),
            factor,
            ..BackoffPolicy::default()
        };
        let mut backoff = Backoff::new(policy.clone());
        let mut bound = Duration::ZERO;
        for _ in 0..attempts {
            let full = super::scale(policy.bound(backoff.delays()), 1.0);
            prop_assert!(full >= bound, "the bound never shrinks");
            bound = full;
            prop_assert!(backoff.delay(jitter) <= bound);
        }
        // An f64 holds 53 bits of the cap.
        prop_assert!(bound.as_secs_f64() <= policy.cap.as_secs_f64() * (1.0 + 1e-9));
    }
}
