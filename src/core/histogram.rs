//! A histogram of durations from 1 µs to 10,000 s whose buckets are at most 5 % wide.
//!
//! Log-linear: each decade has twenty buckets of a twentieth from 1 to 2, thirty of a tenth from 2 to 5, and twenty of
//! a quarter from 5 to 10 times its power of ten. So the edges are those that people, and the buckets of other
//! monitoring, choose: 1, 2, 2.5, 5 and 7.5 ms, for example.
//!
//! ```
//! use std::time::Duration;
//! use fal_realtime::core::histogram::Histogram;
//!
//! let histogram = Histogram::default();
//! for milliseconds in 1..=100 {
//!     histogram.record(Duration::from_millis(milliseconds));
//! }
//! let durations = histogram.snapshot();
//! assert_eq!((durations.count(), durations.sum()), (100, Duration::from_millis(5050)));
//! assert_eq!(durations.quantile(0.5), Some(Duration::from_millis(50)));
//! assert_eq!(durations.quantile(0.99), Some(Duration::from_millis(100)));
//! ```

use std::{
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[cfg(test)]
mod tests;

/// The power of ten, in nanoseconds, at which the buckets begin: 1 µs. What is shorter has one bucket.
const FIRST_DECADE: u32 = 3;
/// The decades: to 10,000 s. What is longer is counted in the last bucket.
const DECADES: usize = 10;
/// The buckets of a decade.
const PER_DECADE: usize = FINE + MEDIUM + COARSE;
/// Those of a twentieth of its power of ten.
const FINE: usize = 20;
/// Those of two twentieths.
const MEDIUM: usize = 30;
/// Those of five twentieths.
const COARSE: usize = 20;
const BUCKETS: usize = 1 + DECADES * PER_DECADE;

/// Durations are counted in it from any thread, without a lock.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Default for Histogram {
    /// Nothing is counted yet.
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], nanoseconds: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let nanoseconds = in_nanoseconds(duration);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.counts[bucket_of(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far. A duration that is being counted meanwhile may be in the sum and not in a bucket.
    pub fn snapshot(&self) -> Durations {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Durations { counts, nanoseconds: self.nanoseconds.load(Ordering::Relaxed) }
    }
}

/// Counted durations, which no longer change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Durations {
    counts: Box<[u64]>,
    nanoseconds: u64,
}

/// A bucket: how many durations were longer than `above`, and no longer than `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Its lower edge, which is not in it.
    pub above: Duration,
    /// Its upper edge, which is.
    pub to: Duration,
    /// The durations in it.
    pub count: u64,
}

impl Durations {
    /// Those of a histogram that was taken apart: what its buckets and its sum were.
    ///
    /// # Errors
    ///
    /// The first bucket whose edges are not those of one here.
    pub fn of(buckets: impl IntoIterator<Item = Bucket>, sum: Duration) -> Result<Self, Bucket> {
        let mut counts = vec![0_u64; BUCKETS].into_boxed_slice();
        for bucket in buckets {
            let index = bucket_of(in_nanoseconds(bucket.to));
            let edges = [lower_edge(index), lower_edge(index + 1)].map(Duration::from_nanos);
            if edges != [bucket.above, bucket.to] {
                return Err(bucket);
            }
            counts[index] = counts[index].saturating_add(bucket.count);
        }
        Ok(Self { counts, nanoseconds: in_nanoseconds(sum) })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// The upper edge of the bucket of the shortest duration that at least the part `q` (0 to 1) of all do not exceed:
    /// at most 5 % above it from 1 µs on, and never below it up to 10,000 s. `None` if nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        // Rounding cannot take it out of the range: the product is clamped.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut passed = 0;
        self.buckets().find_map(|bucket| {
            passed = bucket.count.saturating_add(passed);
            (passed >= rank).then_some(bucket.to)
        })
    }

    /// The buckets that are not empty, shortest durations first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(index, &count)| {
            let (above, to) = (lower_edge(index), lower_edge(index + 1));
            Bucket { above: Duration::from_nanos(above), to: Duration::from_nanos(to), count }
        })
    }
}

impl Add for &Durations {
    type Output = Durations;

    /// Both together.
    fn add(self, other: Self) -> Durations {
        let counts = self
            .counts
            .iter()
            .zip(&other.counts)
            .map(|(one, another)| one.saturating_add(*another))
            .collect();
        Durations { counts, nanoseconds: self.nanoseconds.saturating_add(other.nanoseconds) }
    }
}

fn in_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A decade's power of ten, in nanoseconds.
const fn power_of(decade: usize) -> u64 {
    10_u64.pow(FIRST_DECADE) * 10_u64.pow(decade as u32)
}

const POWERS: [u64; DECADES + 1] = {
    let mut powers = [0; DECADES + 1];
    let mut decade = 0;
    while decade <= DECADES {
        powers[decade] = power_of(decade);
        decade += 1;
    }
    powers
};

fn bucket_of(nanoseconds: u64) -> usize {
    // An upper edge belongs to its bucket.
    let last = nanoseconds.saturating_sub(1).min(POWERS[DECADES] - 1);
    let Some(decade) = last.checked_ilog10().and_then(|log| log.checked_sub(FIRST_DECADE)) else { return 0 };
    let decade = decade as usize;
    // From 20 to 199: a power of ten can be divided by 20.
    let twentieths = (last / (POWERS[decade] / 20)) as usize;
    let within = match twentieths {
        ..40 => twentieths - 20,
        40..100 => FINE + (twentieths - 40) / 2,
        _ => FINE + MEDIUM + (twentieths - 100) / 5,
    };
    1 + decade * PER_DECADE + within
}

/// Where a bucket begins, in nanoseconds.
fn lower_edge(bucket: usize) -> u64 {
    let Some(index) = bucket.checked_sub(1) else { return 0 };
    let (decade, within) = (index / PER_DECADE, index % PER_DECADE);
    let twentieths = match within {
        ..FINE => 20 + within,
        FINE..50 => 40 + 2 * (within - FINE),
        _ => 100 + 5 * (within - FINE - MEDIUM),
    };
    POWERS[decade] / 20 * twentieths as u64
}
