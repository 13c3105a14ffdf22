//! Liveness of a connection: when to ping, and when to give the peer up.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// What is to be done.
#[must_use = "a heartbeat that is not acted upon keeps nothing alive"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Idle,
    /// Send a ping.
    Ping,
    /// The peer is gone: nothing came in time after the ping.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stopped,
    Running,
    /// Nothing is read, so that silence says nothing about the peer.
    Paused,
}

/// Pings a silent peer and declares it lost if the silence goes on.
///
/// Any bytes received are a sign of life, not only pongs. A peer that falls silent is declared lost
/// `interval + timeout` after its last byte, provided that [`poll`](Self::poll) is called at each
/// [`deadline`](Self::deadline). Whoever runs it reads what the socket has before polling: after a stall the
/// pong may be waiting there.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    state: State,
    last_activity: Option<Instant>,
    pinged_at: Option<Instant>,
    /// How many pings there were: the payload of the newest.
    pings: u32,
    /// When the newest ping was handed to the operating system, until its pong comes.
    unanswered: Option<Instant>,
}

impl Heartbeat {
    /// A century: long enough for "never", short enough to be added to any [`Instant`].
    const MAX_WAIT: Duration = Duration::from_secs(100 * 365 * 86_400);

    /// A heartbeat that is not started. `None` and zero turn the pings (`interval`) or the
    /// verdict (`timeout`) off.
    ///
    /// Without a timeout pings go out every interval of silence, which keeps idle middleboxes open.
    pub fn new(interval: Option<Duration>, timeout: Option<Duration>) -> Self {
        let bounded =
            |wait: Option<Duration>| wait.filter(|wait| !wait.is_zero()).map(|w| w.min(Self::MAX_WAIT));
        Self {
            interval: bounded(interval),
            timeout: bounded(timeout),
            state: State::Stopped,
            last_activity: None,
            pinged_at: None,
            pings: 0,
            unanswered: None,
        }
    }

    /// The connection is open. Forgets what was before.
    pub fn start(&mut self, now: Instant) {
        self.state = State::Running;
        self.last_activity = Some(now);
        self.pinged_at = None;
        self.unanswered = None;
    }

    /// Bytes were received, whichever.
    #[inline]
    pub fn activity(&mut self, now: Instant) {
        self.last_activity = Some(now);
    }

    /// The ping, or what the peer has to take before it, was handed to the operating system only now: the peer's time
    /// begins anew. A large message on a slow line can hold a ping up for longer than the peer may be silent.
    pub fn ping_moved(&mut self, now: Instant) {
        if self.unanswered.is_some() {
            self.unanswered = Some(now);
        }
        if self.awaited_since().is_some() {
            self.pinged_at = Some(now);
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

    /// What is to be done now. [`Beat::Ping`] is said once for each silence (again each interval if there is
    /// no timeout); after [`Beat::Lost`] the heartbeat is stopped.
    pub fn poll(&mut self, now: Instant) -> Beat {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Beat::Idle;
        }
        if self.timeout.is_some() && self.awaited_since().is_some() {
            self.stop();
            return Beat::Lost;
        }
        self.pinged_at = Some(now);
        self.pings = self.pings.wrapping_add(1);
        self.unanswered = Some(now);
        Beat::Ping
    }

    /// When to poll next; `None` when there is nothing to wait for.
    pub fn deadline(&self) -> Option<Instant> {
        if self.state != State::Running {
            return None;
        }
        let interval = self.interval?;
        match self.awaited_since() {
            Some(pinged_at) => Some(pinged_at + self.timeout.unwrap_or(interval)),
            None => self.last_activity.map(|last| last + interval),
        }
    }

    /// Reading stops for back-pressure: no ping, and no loss is declared until [`resume`](Self::resume).
    pub fn pause(&mut self) {
        if self.state == State::Running {
            self.state = State::Paused;
        }
    }

    /// Reading goes on: the peer gets a full interval and timeout again. Does nothing if it was not paused.
    pub fn resume(&mut self, now: Instant) {
        if self.state == State::Paused {
            self.start(now);
        }
    }

    /// The connection is closed or closing.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
        self.pinged_at = None;
    }

    /// When the ping was sent after which nothing came yet.
    fn awaited_since(&self) -> Option<Instant> {
        self.pinged_at.filter(|&pinged_at| self.last_activity.is_none_or(|last| last < pinged_at))
    }
}
