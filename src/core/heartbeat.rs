//! Liveness of a connection: when to ping, and when to give the peer up.
//!
//! ```text
//!   running -- silent for the interval --> pinged -- silent for the timeout --> lost, or busy
//!      ^  ^                                  |                                    |
//!      |  +------------- any bytes ----------+------------------------------------+
//!      |
//!   paused: nothing is read, so that acknowledgements alone tell of the peer
//! ```
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fal_realtime::core::heartbeat::{Beat, Heartbeat, Silence};
//!
//! let (start, second) = (Instant::now(), Duration::from_secs(1));
//! let mut heartbeat = Heartbeat::new(Some(20 * second), Some(20 * second), Some(Duration::ZERO));
//! heartbeat.start(start);
//! assert_eq!(heartbeat.poll(start + 19 * second, || None), Beat::Idle);
//! assert_eq!(heartbeat.poll(start + 20 * second, || None), Beat::Ping);
//! assert_eq!(heartbeat.poll(start + 40 * second, || None), Beat::Lost(Silence::Unanswered));
//! ```

use std::time::{Duration, Instant};

mod beat;
#[cfg(test)]
mod tests;

pub use beat::{Beat, Sent, Silence};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeartbeatState {
    Stopped,
    Running,
    /// Nothing is read, so that silence says nothing about the peer.
    Paused,
    /// The same, and the system does not tell what is acknowledged.
    PausedUntold,
}

/// Pings a silent peer and declares it lost if the silence goes on.
///
/// Any bytes received are a sign of life, not only pongs. A peer that falls silent is declared lost
/// `interval + timeout` after its last byte, provided that [`poll`](Self::poll) is called at each
/// [`deadline`](Self::deadline). Whoever runs it reads what the socket has before polling: after a stall the
/// pong may be waiting there.
///
/// A peer that may be busy is not declared lost then if its system has acknowledged the ping: a server that works, and
/// does not read meanwhile, answers none. It is pinged on, and lost when a ping is not acknowledged, or the time is
/// over.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    /// How much longer a peer may be silent whose system acknowledges; `None`: for ever.
    busy_timeout: Option<Duration>,
    state: HeartbeatState,
    last_activity: Option<Instant>,
    pinged_at: Option<Instant>,
    /// Since when the peer counts as busy.
    busy_since: Option<Instant>,
    /// What is to be acknowledged after the newest ping, and what was when the system was last asked.
    mark: Option<Sent>,
    /// It was not yet acknowledged when the system was asked for the first time.
    is_late: bool,
    /// How many pings there were: the payload of the newest.
    pings: u32,
    /// When the newest ping was handed to the operating system, until its pong comes.
    unanswered: Option<Instant>,
}

impl Heartbeat {
    /// A century: long enough for "never", short enough to be added to any [`Instant`].
    const MAX_WAIT: Duration = Duration::from_secs(100 * 365 * 86_400);

    /// A system may keep an acknowledgement back for so long (RFC 1122, section 4.2.3.2).
    const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(500);

    /// A heartbeat that is not started. `None` and zero turn the pings (`interval`) or the verdict (`timeout`) off.
    /// `busy_timeout` is how much longer a peer may be silent whose system acknowledges what is sent; `None`: for ever.
    ///
    /// Without a timeout pings go out every interval of silence, which keeps idle middleboxes open.
    pub fn new(
        interval: Option<Duration>,
        timeout: Option<Duration>,
        busy_timeout: Option<Duration>,
    ) -> Self {
        let bounded =
            |wait: Option<Duration>| wait.filter(|wait| !wait.is_zero()).map(|w| w.min(Self::MAX_WAIT));
        Self {
            interval: bounded(interval),
            timeout: bounded(timeout),
            busy_timeout: busy_timeout.map(|wait| wait.min(Self::MAX_WAIT)),
            state: HeartbeatState::Stopped,
            last_activity: None,
            pinged_at: None,
            busy_since: None,
            mark: None,
            is_late: false,
            pings: 0,
            unanswered: None,
        }
    }

    /// The connection is open. Forgets what was before.
    pub fn start(&mut self, now: Instant) {
        self.state = HeartbeatState::Running;
        self.last_activity = Some(now);
        self.pinged_at = None;
        self.busy_since = None;
        self.unanswered = None;
    }

    /// Bytes were received, whichever.
    #[inline]
    pub fn activity(&mut self, now: Instant) {
        self.last_activity = Some(now);
    }

    /// When bytes were received last, or the connection was opened or resumed after that.
    pub fn last_activity(&self) -> Option<Instant> {
        self.last_activity
    }

    /// The ping, or what the peer has to take before it, was handed to the operating system only now: the peer's time
    /// begins anew. A large message on a slow line can hold a ping up for longer than the peer may be silent. `sent` is
    /// asked what has been handed over, where that will matter.
    pub fn ping_moved(&mut self, now: Instant, sent: impl FnOnce() -> Option<Sent>) {
        if self.unanswered.is_some() {
            self.unanswered = Some(now);
        }
        if self.awaited_since().is_some() {
            self.pinged_at = Some(now);
            self.mark = if self.asks() { sent() } else { None };
        }
    }

    /// What the newest ping carries: its pong carries the same.
    pub fn payload(&self) -> [u8; 4] {
        self.pings.to_be_bytes()
    }

    /// A pong came. Answers how long it took, if it is that of the newest ping.
    pub fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let sent = self.unanswered.filter(|_| payload == self.payload())?;
        self.unanswered = None;
        Some(now.saturating_duration_since(sent))
    }

    /// What is to be done now. [`Beat::Ping`] is said once for each silence (again each interval if there is no
    /// timeout); after [`Beat::Lost`] the heartbeat is stopped. `sent` is asked what has been acknowledged, where that
    /// matters; `None`: the system does not tell.
    pub fn poll(&mut self, now: Instant, sent: impl FnOnce() -> Option<Sent>) -> Beat {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Beat::Idle;
        }
        let (Some(timeout), Some(pinged_at)) = (self.timeout, self.awaited_since()) else {
            return self.ping(now);
        };
        if !self.asks() {
            return self.lost(Silence::Unanswered);
        }
        let Some(sent) = sent() else {
            if self.state == HeartbeatState::Running {
                return self.lost(Silence::Unanswered);
            }
            self.state = HeartbeatState::PausedUntold;
            return Beat::Idle;
        };
        if self.busy_until().is_some_and(|until| until <= now) {
            return self.lost(Silence::Busy);
        }
        let Some(mark) = self.mark else {
            // What is to be acknowledged is known from now on only.
            self.poll_acknowledged(now, sent, sent.given);
            return Beat::Idle;
        };
        if sent.is_held_back || sent.acknowledged >= mark.given {
            return self.acknowledged(now, pinged_at + timeout);
        }
        if sent.acknowledged > mark.acknowledged {
            // On a slow line: its way there is free.
            self.poll_acknowledged(now, sent, mark.given);
            return Beat::Idle;
        }
        if now < pinged_at + timeout.max(Self::ACKNOWLEDGED_WITHIN) {
            self.is_late = true;
            return Beat::Idle;
        }
        self.lost(Silence::Unacknowledged)
    }

    fn ping(&mut self, now: Instant) -> Beat {
        self.pinged_at = Some(now);
        self.mark = None;
        self.is_late = false;
        self.pings = self.pings.wrapping_add(1);
        self.unanswered = Some(now);
        Beat::Ping
    }

    fn lost(&mut self, silence: Silence) -> Beat {
        self.stop();
        Beat::Lost(silence)
    }

    /// The peer's system has the ping, whose time is up `at`.
    fn acknowledged(&mut self, now: Instant, at: Instant) -> Beat {
        if self.state == HeartbeatState::Running && !self.is_busy() {
            self.busy_since = Some(at);
            if self.busy_until().is_some_and(|until| until <= now) {
                return self.lost(Silence::Busy);
            }
        }
        self.ping(now)
    }

    /// The peer's time begins anew: so much is to be acknowledged in it.
    fn poll_acknowledged(&mut self, now: Instant, sent: Sent, given: u64) {
        self.pinged_at = Some(now);
        self.mark = Some(Sent { given, ..sent });
        self.is_late = true;
    }

    /// When to poll next; `None` when there is nothing to wait for.
    pub fn deadline(&self) -> Option<Instant> {
        if !matches!(self.state, HeartbeatState::Running | HeartbeatState::Paused) {
            return None;
        }
        let interval = self.interval?;
        let Some(pinged_at) = self.awaited_since() else {
            return self.last_activity.map(|last| last + interval);
        };
        let Some(timeout) = self.timeout else { return Some(pinged_at + interval) };
        let at = if self.is_late {
            pinged_at + timeout.max(Self::ACKNOWLEDGED_WITHIN)
        } else if self.state == HeartbeatState::Running && !self.is_busy() {
            pinged_at + timeout
        } else {
            // The next ping goes out no later than it would to a peer that answers.
            pinged_at + timeout.min(interval)
        };
        Some(self.busy_until().map_or(at, |until| at.min(until)))
    }

    /// Reading stops for back-pressure: until [`resume`](Self::resume), only what is not acknowledged makes a loss.
    pub fn pause(&mut self) {
        if self.state == HeartbeatState::Running {
            self.state = HeartbeatState::Paused;
            self.busy_since = None;
        }
    }

    /// Reading goes on: the peer gets a full interval and timeout again. Does nothing if it was not paused.
    pub fn resume(&mut self, now: Instant) {
        if matches!(self.state, HeartbeatState::Paused | HeartbeatState::PausedUntold) {
            self.start(now);
        }
    }

    /// The connection is closed or closing.
    pub fn stop(&mut self) {
        self.state = HeartbeatState::Stopped;
        self.pinged_at = None;
    }

    /// Whether acknowledgements matter.
    fn asks(&self) -> bool {
        self.state == HeartbeatState::Paused || self.busy_timeout.is_none_or(|timeout| !timeout.is_zero())
    }

    fn is_busy(&self) -> bool {
        self.busy_since.is_some_and(|since| self.last_activity.is_none_or(|last| last < since))
    }

    /// Until when the peer may be busy, if it is.
    fn busy_until(&self) -> Option<Instant> {
        let since = self.busy_since.filter(|_| self.is_busy())?;
        Some(since + self.busy_timeout?)
    }

    /// When the ping was sent after which nothing came yet.
    fn awaited_since(&self) -> Option<Instant> {
        self.pinged_at.filter(|&pinged_at| self.last_activity.is_none_or(|last| last < pinged_at))
    }
}
