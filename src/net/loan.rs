//! What passes between a link and a sender that writes in its place.

use super::socket::Pen;
use crate::core::{inbox::RequestKey, outbox::Outgoing};

/// Where the pen of the socket is.
#[derive(Debug, Default)]
pub(super) enum Loan {
    /// With the link, if there is one.
    #[default]
    None,
    /// Here: the link has nothing to write, and a sender may take it.
    Free(Pen),
    /// With a sender.
    Taken {
        /// The link waits for it.
        wanted: bool,
        /// The request that is being written: the server may have it already.
        request: Option<RequestKey>,
    },
}

/// What a sender leaves to the link.
#[derive(Debug)]
pub(super) enum Unfinished {
    Frame(Begun),
    /// Nothing but to flush.
    Flush,
}

/// A frame that the operating system has taken a part of.
#[derive(Debug)]
pub(super) struct Begun {
    /// All of it.
    pub(super) frame: Vec<u8>,
    /// How much of it was taken.
    pub(super) at: usize,
    /// What is in it.
    pub(super) message: Outgoing,
}
