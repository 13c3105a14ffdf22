//! The load of a loop and its sockets.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::core::trial::Sample;

/// The load of a loop and its sockets.
#[derive(Debug, Default)]
pub(super) struct Load {
    reads: AtomicU64,
    bytes: AtomicU64,
    /// The I/O thread wants to know the loop's clock.
    asked: AtomicBool,
    /// The processor time of the loop's thread when it was asked last, in nanoseconds; 0 before that.
    loop_cpu: AtomicU64,
}

impl Load {
    /// On the loop's thread: measures its processor time, if that is asked for.
    pub(super) fn note_loop(&self) {
        if self.asked.load(Ordering::Relaxed) {
            self.loop_cpu.store(thread_cpu().as_nanos() as u64, Ordering::Relaxed);
            self.asked.store(false, Ordering::Release);
        }
    }

    /// A turn has read so many bytes.
    pub(super) fn note_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// On the I/O thread: what is known, and asks for more. `None` when the loop has not come since it was asked.
    pub(super) fn sample(&self, now: Instant) -> Option<Sample> {
        let was_asked = self.asked.swap(true, Ordering::AcqRel);
        let loop_cpu = self.loop_cpu.load(Ordering::Relaxed);
        (!was_asked && loop_cpu > 0).then(|| Sample {
            at: now,
            loop_cpu: Duration::from_nanos(loop_cpu),
            io_cpu: thread_cpu(),
            reads: self.reads.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }
}

/// The processor time of this thread.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
