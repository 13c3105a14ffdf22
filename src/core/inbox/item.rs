//! The items of the inbox: what comes in, and where it goes.

use std::time::Instant;

use crate::{
    core::{message::Received, ring::Weigh, session::State},
    error::Error,
};

/// The bytes that an item weighs beyond its payload: a flood of empty messages must be bounded too.
const ITEM_OVERHEAD_BYTES: usize = 128;

/// An item as [`Inbox::pop`](super::Inbox::pop) gives it. Errors are boxed, so that a queue of results is a third of
/// the size.
#[derive(Debug)]
pub enum Item {
    /// A result.
    Result(Received),
    /// An error that belongs between the results around it (no `on_error` took it).
    Error(Box<Error>),
    /// The end of a stream, or of the connection.
    End(Box<Error>),
}

/// A notice for a callback other than `on_result`.
#[derive(Debug)]
pub enum Notice {
    /// For `on_error`.
    Error(Error),
    /// For `on_timings`: seconds.
    Timings(f64),
    /// For `on_state_change`: the new state, and the error that led to it, if one did.
    State(State, Option<Box<Error>>),
}

/// An item or a notice, with the number of its arrival.
#[derive(Debug)]
pub struct Numbered<T> {
    /// Grows by one with each arrival.
    pub number: u64,
    /// What arrived.
    pub what: T,
}

impl Weigh for Numbered<Item> {
    fn weight(&self) -> usize {
        ITEM_OVERHEAD_BYTES
            + match &self.what {
                Item::Result(received) => received.payload.len(),
                Item::Error(_) | Item::End(_) => 0,
            }
    }

    /// Freshness concerns results: the end of a stream displaces none of them.
    fn takes_slot(&self) -> bool {
        !matches!(self.what, Item::End(_))
    }
}

/// The next thing for a caller that takes results and notices in one order.
#[derive(Debug)]
pub enum Next {
    /// From the ring.
    Item(Numbered<Item>),
    /// From beside it.
    Notice(Notice),
}

/// The place of a result: where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// In the ring.
    Queued,
    /// To a pending request, whose message was with the socket since then.
    Answered(Option<Instant>),
    /// Nowhere: it answers a request that has ended.
    Late,
}
