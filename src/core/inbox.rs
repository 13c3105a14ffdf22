//! Incoming messages from the socket until the caller takes them: results in their order, answers to
//! requests past the ring, notices (errors, timings, state changes) beside it.
//!
//! Everything carries the number of its arrival, so that whoever takes from both queues can keep the order.

use std::collections::VecDeque;

use super::{
    message::RequestKey,
    requests::{Answer, Requests},
    ring::{Overflow, Ring},
    stats::Stats,
};
use crate::error::Error;

mod item;
mod pausing;
mod placing;
mod unmatched;

pub use item::{Item, Next, Notice, Numbered, Placed};
pub use pausing::unread_before;
pub use unmatched::Unmatched;

/// The bytes of results that may wait before the socket is no longer read, unless the caller says otherwise. How many
/// messages they are does not matter: while nothing is read, pings go unanswered.
pub const HIGH_WATER_BYTES: usize = 64 << 20;
/// While a request waits for its answer, reading goes on to this multiple of the high-water mark.
const REQUEST_SLACK: usize = 2;
/// Strays that are kept, besides the limit of bytes: results on a connection from which nobody has received yet.
pub const MAX_STRAYS: usize = 1024;
/// Notices that may wait before the socket is no longer read.
const MAX_NOTICES: usize = 1024;

/// The way in of one connection.
#[derive(Debug)]
pub struct Inbox {
    ring: Ring<Numbered<Item>>,
    notices: VecDeque<Numbered<Notice>>,
    /// The requests that wait for an answer.
    pub requests: Requests,
    lossless: bool,
    high_water_bytes: usize,
    /// Somebody receives, or has received; else what comes are strays.
    receiving: bool,
    /// The first strays have just been dropped.
    drops_begin: bool,
    paused: bool,
    /// Ends of streams in the ring.
    ends: usize,
    next_number: u64,
    received: u64,
    delivered: u64,
    dropped: u64,
    late: u64,
    errors_dropped: u64,
    pending: u64,
    bytes: u64,
    /// Results that belong to no request.
    unmatched: Unmatched,
}

impl Inbox {
    /// An empty inbox. `max_buffering` asks for freshness: a ring of so many results, drop-oldest. Without it reading
    /// pauses while `high_water_bytes` wait.
    pub fn new(max_buffering: Option<u8>, high_water_bytes: usize) -> Self {
        let ring = match max_buffering {
            Some(n) => Ring::new(usize::from(n), HIGH_WATER_BYTES, Overflow::DropOldest),
            // Lossless: the bound is that reading pauses, not that the ring refuses.
            None => Ring::new(usize::MAX, usize::MAX, Overflow::Refuse),
        };
        Self {
            ring,
            notices: VecDeque::new(),
            requests: Requests::default(),
            lossless: max_buffering.is_none(),
            high_water_bytes,
            receiving: false,
            drops_begin: false,
            paused: false,
            ends: 0,
            next_number: 0,
            received: 0,
            delivered: 0,
            dropped: 0,
            late: 0,
            errors_dropped: 0,
            pending: 0,
            bytes: 0,
            unmatched: Unmatched::default(),
        }
    }

    /// The results so far that belong to no request. Without requests that wait nobody asks for a `request_id`, and all
    /// count as having none.
    pub fn unmatched(&self) -> Unmatched {
        self.unmatched
    }

    /// Somebody receives: from now on nothing that it could take is dropped.
    pub fn receive(&mut self) {
        self.receiving = true;
    }

    /// Whether the first strays were dropped since this was last asked.
    pub fn take_drops_begin(&mut self) -> bool {
        std::mem::take(&mut self.drops_begin)
    }

    /// Whether a stream has ended whose end nobody has taken.
    pub fn has_end(&self) -> bool {
        self.ends > 0
    }

    /// The oldest item. A result among them is delivered with this.
    pub fn pop(&mut self) -> Option<Numbered<Item>> {
        self.receiving = true;
        let item = self.ring.pop()?;
        match item.what {
            Item::Result(_) => {
                self.pending -= 1;
                self.delivered += 1;
            }
            Item::End(_) => self.ends -= 1,
            Item::Error(_) => {}
        }
        Some(item)
    }

    /// The newest result; older ones are dropped. An error or end that came before it is given first, and the results
    /// behind it stay.
    pub fn pop_newest(&mut self) -> Option<Numbered<Item>> {
        self.receiving = true;
        let is_result = |item: &Numbered<Item>| matches!(item.what, Item::Result(_));
        let mut results = self.ring.iter().filter(|item| is_result(item)).count();
        while results > 1 && self.ring.front().is_some_and(is_result) {
            results -= 1;
            self.ring.pop();
            self.dropped += 1;
            self.pending -= 1;
        }
        self.pop()
    }

    /// A result that [`Inbox::pop`] or [`Inbox::take_answer`] gave is not delivered yet: its taker works on it.
    pub fn hold(&mut self) {
        self.pending += 1;
        self.delivered -= 1;
    }

    /// A result that was held is delivered.
    pub fn deliver_held(&mut self) {
        self.pending -= 1;
        self.delivered += 1;
    }

    /// A result that was held is nobody's: it answers a request for which nobody waits any more.
    pub fn abandon_held(&mut self) {
        self.pending -= 1;
        self.late += 1;
    }

    /// Takes back an item that [`Inbox::pop`] gave and that its taker could not use.
    pub fn unpop(&mut self, item: Numbered<Item>) {
        match item.what {
            Item::Result(_) => {
                self.pending += 1;
                self.delivered -= 1;
            }
            Item::End(_) => self.ends += 1,
            Item::Error(_) => {}
        }
        let number = item.number;
        self.ring.restore(item, |other| other.number < number);
    }

    /// The oldest notice.
    pub fn pop_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front().map(|notice| notice.what)
    }

    /// The oldest of both.
    pub fn pop_any(&mut self) -> Option<Next> {
        match (self.ring.front(), self.notices.front()) {
            (Some(item), Some(notice)) if notice.number < item.number => self.pop_notice().map(Next::Notice),
            (None, Some(_)) => self.pop_notice().map(Next::Notice),
            (Some(_), _) => self.pop().map(Next::Item),
            (None, None) => None,
        }
    }

    /// The oldest error that waits between the results, and how many do.
    pub fn waiting_errors(&self) -> Option<(&Error, usize)> {
        let mut errors = self.ring.iter().filter_map(|item| match &item.what {
            Item::Error(error) => Some(&**error),
            Item::Result(_) | Item::End(_) => None,
        });
        let oldest = errors.next()?;
        Some((oldest, 1 + errors.count()))
    }

    /// How many items wait.
    pub fn items(&self) -> usize {
        self.ring.len()
    }

    /// How many notices wait.
    pub fn notices(&self) -> usize {
        self.notices.len()
    }

    /// Whether [`Inbox::pop`] has something.
    pub fn has_items(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether [`Inbox::pop_notice`] has something.
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes the outcome of a request, if it is there; a result is delivered with this.
    pub fn take_answer(&mut self, key: RequestKey) -> Option<Result<Numbered<Item>, Error>> {
        let Answer { number, outcome } = self.requests.take(key)?;
        Some(outcome.map(|received| {
            self.pending -= 1;
            self.delivered += 1;
            Numbered { number, what: Item::Result(received) }
        }))
    }

    /// Nobody waits for this request any more. An answer that is already there is nobody's, like one that is yet to
    /// come. Answers whether its message was with the socket.
    pub fn forget_request(&mut self, key: RequestKey) -> bool {
        let (was_sent, answer) = self.requests.forget(key);
        if let Some(Answer { outcome: Ok(_), .. }) = answer {
            self.late += 1;
            self.pending -= 1;
        }
        was_sent
    }

    /// How many results have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Fills in the incoming part of `stats`.
    pub fn report(&self, stats: &mut Stats) {
        stats.received = self.received;
        stats.delivered = self.delivered;
        stats.received_dropped = self.dropped;
        stats.late = self.late;
        stats.errors_dropped = self.errors_dropped;
        stats.received_pending = self.pending;
        stats.bytes_received = self.bytes;
    }
}

#[cfg(test)]
mod tests;
