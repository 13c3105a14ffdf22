#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn recorded(durations: impl IntoIterator<Item = Duration>) -> Durations {
    let histogram = Histogram::default();
    durations.into_iter().for_each(|duration| histogram.record(duration));
    histogram.snapshot()
}

#[test]
fn the_buckets_follow_each_other_and_are_at_most_5_percent_wide() {
    for bucket in 0..BUCKETS {
        let (above, to) = (lower_edge(bucket), lower_edge(bucket + 1));
        assert!(above < to);
        assert_eq!((bucket_of(above + 1), bucket_of(to)), (bucket, bucket), "{above} to {to}");
        assert!(bucket == 0 || (to - above) * 20 <= above, "{above} to {to}");
    }
    assert_eq!((lower_edge(1), lower_edge(BUCKETS)), (1_000, 10_000_000_000_000));
}

#[test]
fn usual_edges_are_edges() {
    for microseconds in [1, 5, 10, 25, 75, 100, 250, 500, 2_500, 7_500, 10_000_000, 30_000_000, 3_600_000_000]
    {
        let bucket = recorded([Duration::from_micros(microseconds)]).buckets().next().unwrap();
        assert_eq!(bucket.to, Duration::from_micros(microseconds));
    }
}

#[test]
fn of_nothing_there_is_no_quantile() {
    let nothing = recorded([]);
    assert_eq!((nothing.count(), nothing.sum(), nothing.quantile(0.5)), (0, Duration::ZERO, None));
    assert_eq!(nothing.buckets().count(), 0);
}

#[test]
fn what_is_out_of_range_is_counted_in_the_outermost_buckets() {
    let durations = recorded([Duration::ZERO, Duration::MAX]);
    let ends: Vec<_> = durations.buckets().map(|bucket| bucket.to).collect();
    assert_eq!(ends, [Duration::from_micros(1), Duration::from_secs(10_000)]);
}

#[test]
fn threads_count_in_it_together() {
    let histogram = Histogram::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|n| histogram.record(Duration::from_micros(n))));
        }
    });
    let durations = histogram.snapshot();
    assert_eq!((durations.count(), durations.sum()), (4_000, Duration::from_millis(1_998)));
}

#[test]
fn edges_of_no_bucket_are_refused() {
    let known = recorded([Duration::from_millis(5)]).buckets().next().unwrap();
    assert_eq!((known.above, known.to), (Duration::from_micros(4_900), Duration::from_millis(5)));
    for wrong in [
        Bucket { above: Duration::from_micros(4_800), ..known },
        Bucket { to: Duration::from_micros(4_999), ..known },
        Bucket { to: Duration::MAX, ..known },
    ] {
        assert_eq!(Durations::of([known, wrong], Duration::ZERO), Err(wrong));
    }
}

#[test]
fn counts_that_exceed_an_integer_stay_at_its_limit() {
    let bucket = Bucket { count: u64::MAX, ..recorded([Duration::from_millis(5)]).buckets().next().unwrap() };
    let most = Durations::of([bucket, bucket], Duration::MAX).unwrap();
    let both = &most + &recorded([Duration::from_secs(1)]);
    assert_eq!((both.count(), both.quantile(1.0)), (u64::MAX, Some(Duration::from_millis(5))));
}

proptest! {
    #[test]
    fn what_was_taken_apart_and_added_is_what_was_counted_together(
        ours in prop::collection::vec(0..20_000_000_000_000_u64, 0..20),
        theirs in prop::collection::vec(0..20_000_000_000_000_u64, 0..20),
    ) {
        let [one, other] = [&ours, &theirs].map(|all| recorded(all.iter().copied().map(Duration::from_nanos)));
        let again = Durations::of(other.buckets(), other.sum()).unwrap();
        prop_assert_eq!(&again, &other);
        let together = ours.iter().chain(&theirs).copied().map(Duration::from_nanos);
        prop_assert_eq!(&one + &again, recorded(together));
    }

    #[test]
    fn a_duration_is_in_its_bucket(nanoseconds in 1_u64..10_000_000_000_000) {
        let duration = Duration::from_nanos(nanoseconds);
        let bucket = recorded([duration]).buckets().next().unwrap();
        prop_assert!(bucket.above < duration && duration <= bucket.to);
    }

    #[test]
    fn a_quantile_is_at_most_5_percent_above_that_of_the_durations(
        mut nanoseconds in prop::collection::vec(1_000_u64..10_000_000_000_000, 1..100),
        q in 0.0..=1.0_f64,
    ) {
        let durations = recorded(nanoseconds.iter().copied().map(Duration::from_nanos));
        prop_assert_eq!(durations.count(), nanoseconds.len() as u64);
        prop_assert_eq!(durations.sum(), Duration::from_nanos(nanoseconds.iter().sum()));
        nanoseconds.sort_unstable();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((q * nanoseconds.len() as f64).ceil() as usize).max(1);
        let exact = Duration::from_nanos(nanoseconds[rank - 1]);
        let found = durations.quantile(q).unwrap();
        prop_assert!(exact <= found && found <= exact + exact / 20 + Duration::from_nanos(1), "{exact:?} {found:?}");
    }
}
