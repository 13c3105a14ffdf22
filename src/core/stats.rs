//! The counters of a connection, as `connection.stats()` shows them.

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
}
