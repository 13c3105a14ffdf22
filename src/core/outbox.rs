//! Outgoing messages from `send` until their fate is known: throttle slot, ring, in flight.
//!
//! Every accepted message ends as exactly one of written, coalesced, dropped, failed or withdrawn; until then it is
//! pending. The counters live beside the queues, so that the sum holds whenever it is read. A message that a server
//! has refused together with its session is pending again: it was not processed.

use std::{collections::VecDeque, time::Duration};

use super::{
    cork::Cork,
    message::{Outgoing, RequestKey},
    ring::{Overflow, Ring, Weigh},
    stats::Stats,
    throttle::Throttle,
};

mod accepting;
mod leftover;
mod opening;
mod record;
mod sessions;

pub use leftover::{Leftover, Written};
use opening::OpeningQueue;
use record::SessionRecord;
pub use sessions::{Ended, SessionEnd};

/// The most messages that the outgoing ring holds when the caller did not ask for freshness.
pub const MAX_QUEUED: usize = 1024;
/// The most bytes that the outgoing ring holds.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;

/// The lane by which a message comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Through the throttle: a newer message may take its place.
    Throttled,
    /// Straight to the ring, behind what the throttle holds: that is older, and goes now.
    Direct,
    /// In the opening of this session: before all others, while it lasts; then like [`Lane::Direct`].
    Opening(u64),
}

/// The outcome for an offered message.
#[derive(Debug)]
pub enum Accepted {
    /// It is in the ring; the writer has work. Requests whose messages it displaced are named.
    Queued(Vec<RequestKey>),
    /// It waits in the throttle's slot until [`Outbox::deadline`].
    Held,
}

/// The way out of one connection.
#[derive(Debug)]
pub struct Outbox {
    throttle: Throttle<Outgoing>,
    ring: Ring<Outgoing>,
    opening: OpeningQueue,
    /// The ring makes room by dropping the oldest.
    fresh: bool,
    /// A message that ends the inputs may be in the ring: each is to be checked.
    has_end: bool,
    in_flight: usize,
    cork: Cork,
    /// The weight of the message that was refused last: whoever waits for room waits for this much.
    refused: usize,
    accepted: u64,
    written: u64,
    coalesced: u64,
    dropped: u64,
    failed: u64,
    withdrawn: u64,
    unanswered: u64,
    bytes: u64,
    record: SessionRecord,
}

impl Outbox {
    /// An empty outbox. `max_buffering` asks for freshness: a ring of so many messages, drop-oldest.
    pub fn new(throttle: Duration, max_buffering: Option<u8>) -> Self {
        let ring = match max_buffering {
            Some(n) => Ring::new(usize::from(n), MAX_QUEUED_BYTES, Overflow::DropOldest),
            None => Ring::new(MAX_QUEUED, MAX_QUEUED_BYTES, Overflow::Refuse),
        };
        Self {
            throttle: Throttle::new(throttle),
            ring,
            opening: OpeningQueue::default(),
            fresh: max_buffering.is_some(),
            has_end: false,
            in_flight: 0,
            cork: Cork::default(),
            refused: 0,
            accepted: 0,
            written: 0,
            coalesced: 0,
            dropped: 0,
            failed: 0,
            withdrawn: 0,
            unanswered: 0,
            bytes: 0,
            record: SessionRecord::default(),
        }
    }

    /// The next message to write; it is in flight until its fate is told.
    pub fn take(&mut self) -> Option<Outgoing> {
        if let Some(message) = self.opening.pop() {
            self.in_flight += 1;
            self.record.took_in_opening(&message);
            return Some(message);
        }
        if self.opening.is_under_way() {
            return None;
        }
        let message = self.ring.pop()?;
        self.has_end &= !self.ring.is_empty();
        self.in_flight += 1;
        self.record.took(&message);
        Some(message)
    }

    /// Like [`Outbox::take`] for everything at once, into `to`, which is empty: the time that this takes does not
    /// depend on how many messages there are. False, and nothing is taken, if they have more than `most` bytes of
    /// payload, or if each of them has to be checked.
    pub fn take_all(&mut self, most: usize, to: &mut VecDeque<Outgoing>) -> bool {
        let comes_later = self.opening.is_under_way() || self.opening.len() > 0;
        let is_each_looked_at = self.has_end || self.record.copies();
        if comes_later || self.ring.is_empty() || self.ring.weight() > most || is_each_looked_at {
            return false;
        }
        self.in_flight += self.ring.len();
        self.record.took_many(self.ring.len());
        self.ring.take_all(to);
        true
    }

    /// How many messages [`Outbox::take`] has.
    pub fn queued(&self) -> usize {
        self.opening.len() + if self.opening.is_under_way() { 0 } else { self.ring.len() }
    }

    /// Whether [`Outbox::take`] has something.
    pub fn is_queued(&self) -> bool {
        self.queued() > 0
    }

    /// The payload size of the next message to write.
    pub fn next_weight(&self) -> Option<usize> {
        let next = if self.opening.is_under_way() { None } else { self.ring.front() };
        self.opening.front().or(next).map(Weigh::weight)
    }

    /// `count` messages in flight, together `bytes` of payload, have been handed to the socket.
    pub fn wrote(&mut self, count: usize, bytes: usize) {
        self.in_flight -= count;
        self.written += count as u64;
        self.bytes += bytes as u64;
    }

    /// Puts untouched messages in flight back in front of the ring, in their order. Those that were sent in the opening
    /// of the session fail: they are for no other. Returns the requests among these.
    pub fn give_back(&mut self, messages: impl DoubleEndedIterator<Item = Outgoing>) -> Vec<RequestKey> {
        let mut failed = Vec::new();
        for message in messages.rev() {
            self.in_flight -= 1;
            if self.record.came_back(&message) {
                self.failed += 1;
                failed.extend(message.request);
            } else {
                self.has_end |= message.ends_inputs();
                self.ring.push_front(message);
            }
        }
        failed
    }

    /// `count` messages in flight are lost: they were partly written, so they are not sent again.
    pub fn lost(&mut self, count: usize) {
        self.in_flight -= count;
        self.failed += count as u64;
    }

    /// What is in flight is lost, whatever has become of it.
    pub fn lose_all(&mut self) {
        self.lost(self.in_flight);
    }

    /// Throws away what the throttle holds.
    pub fn cancel_throttled(&mut self) {
        if self.throttle.cancel().is_some() {
            self.failed += 1;
        }
    }

    /// Throws away everything that is not in flight. Returns the requests among it.
    pub fn fail_all(&mut self) -> Vec<RequestKey> {
        self.cancel_throttled();
        let mut requests = self.fail_opening();
        self.failed += self.ring.len() as u64;
        self.record.second_left = 0;
        requests.extend(self.ring.drain().filter_map(|message| message.request));
        requests
    }

    /// Messages whose fate is open.
    pub fn pending(&self) -> usize {
        usize::from(self.throttle.held()) + self.opening.len() + self.ring.len() + self.in_flight
    }

    /// Whether a message was taken whose fate has not been told.
    pub fn is_writing(&self) -> bool {
        self.in_flight > 0
    }

    /// Messages that were taken over.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Messages that were given up.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Fills in the outgoing part of `stats`.
    pub fn report(&self, stats: &mut Stats) {
        stats.accepted = self.accepted;
        stats.written = self.written;
        stats.coalesced = self.coalesced;
        stats.dropped = self.dropped;
        stats.failed = self.failed;
        stats.withdrawn = self.withdrawn;
        stats.unanswered = self.unanswered;
        stats.pending = self.pending() as u64;
        stats.bytes_sent = self.bytes;
    }
}

#[cfg(test)]
mod tests;
