//! What a heartbeat answers, and what it is told of the bytes that were sent.

/// The next thing to be done for a heartbeat.
#[must_use = "a heartbeat that is not acted upon keeps nothing alive"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Idle,
    /// Send a ping.
    Ping,
    /// The peer is gone, or as good as gone.
    Lost(Silence),
}

/// The kind of silence that a peer was given up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing came after the ping.
    Unanswered,
    /// Not even the peer's system has acknowledged what was sent.
    Unacknowledged,
    /// The peer's system acknowledged what was sent, but the peer said nothing for longer than it may be busy.
    Busy,
}

/// The bytes in the system's hands: what it says of those that it was given to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// How many bytes it was given.
    pub given: u64,
    /// How many of them the peer's system has acknowledged.
    pub acknowledged: u64,
    /// The peer's system takes no more for now, has acknowledged the rest, and answers when it is asked.
    pub is_held_back: bool,
}
