//! The fate of the messages in flight, as whoever writes them reports it.

use crate::core::message::{Outgoing, RequestKey};

/// The messages that have been handed whole to a socket, and their payload.
#[derive(Debug, Default, Clone, Copy)]
pub struct Written {
    /// How many.
    pub messages: usize,
    /// The bytes of their payload.
    pub bytes: usize,
}

/// The leftover of a lost socket: what became of its messages.
#[derive(Debug)]
pub struct Leftover {
    /// Not a byte of these was written; in their order.
    pub untouched: Vec<Outgoing>,
    /// The messages that were partly written, in their order: of each the request that waits for its answer, if one
    /// does.
    pub torn: Vec<Option<RequestKey>>,
    /// The part that was written and has not been accounted for.
    pub written: Written,
}
