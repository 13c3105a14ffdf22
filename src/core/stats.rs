//! The counters of a connection, as `connection.stats()` shows them, but for those of openings.

use std::ops::AddAssign;

/// A snapshot of a connection's counters, taken at one instant.
///
/// `accepted == written + coalesced + dropped + failed + withdrawn + pending` and
/// `received == delivered + received_dropped + late + received_pending` hold in every snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that a send has accepted.
    pub accepted: u64,
    /// Messages handed whole to the socket. One that the server refused together with its session is pending again.
    pub written: u64,
    /// Of these, messages whose session ended before an answer: at most so many have none.
    pub unanswered: u64,
    /// Messages replaced by a newer one in the throttle's slot.
    pub coalesced: u64,
    /// Messages displaced by a newer one in the outgoing ring (`max_buffering`).
    pub dropped: u64,
    /// Messages that can no longer be sent: closed, cancelled, or lost while they were being written.
    pub failed: u64,
    /// Messages of requests that ended before they were written.
    pub withdrawn: u64,
    /// Messages accepted whose fate is open: in the throttle's slot, in the ring, or being written.
    pub pending: u64,
    /// Results that came from the server.
    pub received: u64,
    /// Results handed to the caller.
    pub delivered: u64,
    /// Results displaced by newer ones: in the incoming ring (`max_buffering`), or while nobody receives.
    pub received_dropped: u64,
    /// Answers to requests that had ended before.
    pub late: u64,
    /// Results that wait for the caller.
    pub received_pending: u64,
    /// Times that the connection was opened again after the first.
    pub reconnects: u64,
    /// Bytes of message payload written.
    pub bytes_sent: u64,
    /// Bytes of message payload received.
    pub bytes_received: u64,
    /// Errors that were displaced by newer ones before anybody was told of them.
    pub errors_dropped: u64,
    /// Times that the connection became active.
    pub openings: u64,
    /// Attempts to open that failed.
    pub opening_failures: u64,
}

impl Stats {
    /// Those of a connection that nobody has any more: what waits to be taken is dropped.
    #[must_use]
    pub fn of_let_go(mut self) -> Self {
        self.received_dropped += std::mem::take(&mut self.received_pending);
        self
    }

    /// Those of a connection that is gone: what waited to be written has failed, too.
    #[must_use]
    pub fn of_gone(mut self) -> Self {
        self.failed += std::mem::take(&mut self.pending);
        self.of_let_go()
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.written += other.written;
        self.unanswered += other.unanswered;
        self.coalesced += other.coalesced;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.withdrawn += other.withdrawn;
        self.pending += other.pending;
        self.received += other.received;
        self.delivered += other.delivered;
        self.received_dropped += other.received_dropped;
        self.late += other.late;
        self.received_pending += other.received_pending;
        self.reconnects += other.reconnects;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.errors_dropped += other.errors_dropped;
        self.openings += other.openings;
        self.opening_failures += other.opening_failures;
    }
}
