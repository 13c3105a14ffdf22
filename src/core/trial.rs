//! A trial of two threads for an event loop instead of one, since no threshold tells whether a core is free.
//!
//! While the loop's thread is saturated, the I/O thread takes over reading and writing for a moment. If more gets
//! through, or as much while the loop has time to spare, it goes on so until there is less to do; if not, the next
//! trial comes later.

use std::time::{Duration, Instant};

/// The share of its time from which on a loop is saturated.
const SATURATED_SHARE: f64 = 0.93;
/// The share of its time from which on a loop is so busy that two threads may get more through: the peer waits for it,
/// and it for the peer.
const BUSY_SHARE: f64 = 0.5;
/// The share of its time below which a loop has gained, even if no more gets through.
const RELIEVED_SHARE: f64 = 0.85;
/// The share of the time of both together below which one is enough.
const UNLOADED_SHARE: f64 = 0.7;
/// The least that two threads must get through, compared with one that was saturated.
const MIN_GAIN: f64 = 1.05;
/// The least where that one was not saturated, so that the load itself may have grown meanwhile.
const MIN_GAIN_UNSATURATED: f64 = 1.15;
/// The least where the loop is relieved.
const MIN_GAIN_RELIEVED: f64 = 0.97;
/// The reads a second from which on a trial is worth it.
const MIN_READS_A_SECOND: f64 = 2_000.0;
/// The bytes a second from which on a trial is worth it.
const MIN_BYTES_A_SECOND: f64 = 100e6;
/// The number of windows in a row that have to agree.
const WINDOWS_THAT_AGREE: u32 = 3;
/// The number of windows at the beginning of a trial that do not count: the queues fill or drain.
const SKIPPED_WINDOWS: u32 = 1;
/// The time from a trial that failed to the next, which doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The clocks and counters at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The moment.
    pub at: Instant,
    /// The processor time of the loop's thread.
    pub loop_cpu: Duration,
    /// The processor time of the I/O thread.
    pub io_cpu: Duration,
    /// How many reads of sockets there were.
    pub reads: u64,
    /// How many bytes they gave.
    pub bytes: u64,
}

/// Advice on who is to read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Whoever does so now.
    Unchanged,
    /// The I/O thread, beside the loop.
    Both,
    /// The loop's thread.
    Loop,
}

/// The window between two samples: what happened in it.
struct Window {
    loop_share: f64,
    io_share: f64,
    reads: f64,
    bytes: f64,
}

#[derive(Debug, Clone, Copy)]
enum TrialStage {
    /// The loop's thread does all. So many windows in a row it was busy, with this in all of them.
    One { windows: u32, sum: Sum },
    /// Both are tried, against what one did.
    Trying { windows: u32, sum: Sum, alone: Sum },
    /// Both, for good. So many windows in a row there was little to do.
    Both { windows: u32 },
}

/// The sum of some windows.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    bytes: f64,
    loop_share: f64,
}

impl Sum {
    fn add(&mut self, window: &Window) {
        self.bytes += window.bytes;
        self.loop_share += window.loop_share;
    }

    /// The mean share of the loop, over all windows.
    fn loop_share(&self) -> f64 {
        self.loop_share / f64::from(WINDOWS_THAT_AGREE)
    }
}

/// Decides whether the I/O thread reads and writes beside a loop.
#[derive(Debug)]
pub struct Trial {
    stage: TrialStage,
    last: Option<Sample>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Default for Trial {
    fn default() -> Self {
        let stage = TrialStage::One { windows: 0, sum: Sum::default() };
        Self { stage, last: None, pause: FIRST_PAUSE, not_before: None }
    }
}

impl Trial {
    /// The clocks were not read for a while, or the loop does not come: what they say next means nothing.
    pub fn interrupt(&mut self) {
        self.last = None;
        if matches!(self.stage, TrialStage::One { .. }) {
            self.one();
        }
    }

    /// Takes a sample, at regular times while there is traffic.
    pub fn sample(&mut self, sample: Sample) -> Advice {
        let Some(window) = self.last.replace(sample).and_then(|last| Window::between(&last, &sample)) else {
            return Advice::Unchanged;
        };
        match &mut self.stage {
            TrialStage::One { windows, sum } => {
                let is_busy = window.loop_share > BUSY_SHARE
                    && (window.reads > MIN_READS_A_SECOND || window.bytes > MIN_BYTES_A_SECOND);
                if !is_busy || self.not_before.is_some_and(|at| sample.at < at) {
                    self.one();
                    return Advice::Unchanged;
                }
                *windows += 1;
                sum.add(&window);
                if *windows < WINDOWS_THAT_AGREE {
                    return Advice::Unchanged;
                }
                self.stage = TrialStage::Trying { windows: 0, sum: Sum::default(), alone: *sum };
                Advice::Both
            }
            TrialStage::Trying { windows, sum, alone } => {
                *windows += 1;
                if *windows <= SKIPPED_WINDOWS {
                    return Advice::Unchanged;
                }
                sum.add(&window);
                if *windows < SKIPPED_WINDOWS + WINDOWS_THAT_AGREE {
                    return Advice::Unchanged;
                }
                let gain = sum.bytes / alone.bytes;
                let was_saturated = alone.loop_share() > SATURATED_SHARE;
                let is_relieved = was_saturated && sum.loop_share() < RELIEVED_SHARE;
                let enough = if was_saturated { MIN_GAIN } else { MIN_GAIN_UNSATURATED };
                if gain > enough || (is_relieved && gain > MIN_GAIN_RELIEVED) {
                    self.pause = FIRST_PAUSE;
                    self.stage = TrialStage::Both { windows: 0 };
                    return Advice::Unchanged;
                }
                self.not_before = Some(sample.at + self.pause);
                self.pause = (self.pause * 2).min(MAX_PAUSE);
                self.one()
            }
            TrialStage::Both { windows } => {
                *windows =
                    if window.loop_share + window.io_share < UNLOADED_SHARE { *windows + 1 } else { 0 };
                if *windows < WINDOWS_THAT_AGREE { Advice::Unchanged } else { self.one() }
            }
        }
    }

    fn one(&mut self) -> Advice {
        self.stage = TrialStage::One { windows: 0, sum: Sum::default() };
        Advice::Loop
    }
}

impl Window {
    fn between(before: &Sample, after: &Sample) -> Option<Self> {
        let time = after.at.checked_duration_since(before.at)?.as_secs_f64();
        if time <= 0.0 {
            return None;
        }
        let share = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / time;
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / time;
        Some(Self {
            loop_share: share(before.loop_cpu, after.loop_cpu),
            io_share: share(before.io_cpu, after.io_cpu),
            reads: rate(before.reads, after.reads),
            bytes: rate(before.bytes, after.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(45);

    /// Feeds windows to a trial.
    struct Feed {
        trial: Trial,
        sample: Sample,
    }

    impl Feed {
        fn new() -> Self {
            let zero = Duration::ZERO;
            let sample = Sample { at: Instant::now(), loop_cpu: zero, io_cpu: zero, reads: 0, bytes: 0 };
            let mut trial = Trial::default();
            assert_eq!(trial.sample(sample), Advice::Unchanged, "one sample is no window");
            Self { trial, sample }
        }

        fn window(&mut self, loop_share: f64, io_share: f64, bytes: u64) -> Advice {
            self.sample.at += WINDOW;
            self.sample.loop_cpu += WINDOW.mul_f64(loop_share);
            self.sample.io_cpu += WINDOW.mul_f64(io_share);
            self.sample.reads += 1_000;
            self.sample.bytes += bytes;
            self.trial.sample(self.sample)
        }

        /// Runs until it begins to try, at most so many windows.
        fn until_both(&mut self, loop_share: f64, most: u32) -> u32 {
            (1..=most).find(|_| self.window(loop_share, 0.0, 1_000) == Advice::Both).expect("a trial")
        }

        /// The last advice of a whole trial.
        fn tried(&mut self, loop_share: f64, bytes: u64) -> Advice {
            (1..=SKIPPED_WINDOWS + WINDOWS_THAT_AGREE)
                .map(|_| self.window(loop_share, 0.5, bytes))
                .last()
                .expect("windows")
        }
    }

    #[test]
    fn a_loop_with_time_to_spare_is_left_alone() {
        let mut feed = Feed::new();
        assert!((0..100).all(|_| feed.window(0.45, 0.0, 1_000_000) == Advice::Unchanged));
    }

    #[test]
    fn what_a_trial_must_show() {
        // The loop's share before, and then; the bytes, which were 1,000 before.
        for (before, loop_share, bytes, kept) in [
            (1.0, 1.0, 1_100, true),
            (1.0, 1.0, 1_040, false),
            (1.0, 0.8, 980, true),
            (1.0, 0.8, 960, false),
            (1.0, 0.9, 1_000, false),
            (0.6, 0.4, 1_200, true),
            (0.6, 0.4, 1_100, false),
        ] {
            let mut feed = Feed::new();
            assert_eq!(feed.until_both(before, 10), WINDOWS_THAT_AGREE);
            let advice = feed.tried(loop_share, bytes);
            assert_eq!(advice, if kept { Advice::Unchanged } else { Advice::Loop }, "{loop_share}, {bytes}");
        }
    }

    #[test]
    fn trials_that_fail_become_rare() {
        let mut feed = Feed::new();
        feed.until_both(1.0, 10);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(feed.tried(1.0, 500), Advice::Loop);
            let ended = feed.sample.at;
            feed.until_both(1.0, 2_000);
            pauses.push((feed.sample.at - ended).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn both_go_on_until_there_is_little_to_do() {
        let mut feed = Feed::new();
        feed.until_both(1.0, 10);
        assert_eq!(feed.tried(1.0, 2_000), Advice::Unchanged);
        for _ in 0..10 {
            assert_eq!(feed.window(0.3, 0.2, 100), Advice::Unchanged);
            assert_eq!(feed.window(0.3, 0.2, 100), Advice::Unchanged);
            assert_eq!(feed.window(0.6, 0.2, 100), Advice::Unchanged, "it was busy in between");
        }
        let advice: Vec<_> = (0..WINDOWS_THAT_AGREE).map(|_| feed.window(0.3, 0.2, 100)).collect();
        assert_eq!(advice, [Advice::Unchanged, Advice::Unchanged, Advice::Loop]);
    }
}
