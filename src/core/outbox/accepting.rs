//! Messages come in: through the throttle, or straight to the ring.

use std::time::Instant;

use super::{Accepted, Lane, Outbox};
use crate::core::{
    message::{Outgoing, RequestKey},
    ring::{Pushed, Weigh},
    throttle::Offer,
};

impl Outbox {
    /// Whether a message of `weight` bytes would be accepted now.
    pub fn has_room(&self, weight: usize) -> bool {
        self.fresh || self.ring.has_room(weight)
    }

    /// Whether the message that was refused last would be accepted now.
    pub fn has_room_for_refused(&self) -> bool {
        self.has_room(self.refused)
    }

    /// Whoever was refused last has given up. Who waits behind it may want less room.
    pub fn forget_refused(&mut self) {
        self.refused = 0;
    }

    /// Takes a message, or gives it back when there is no room.
    pub fn accept(&mut self, now: Instant, message: Outgoing, lane: Lane) -> Result<Accepted, Outgoing> {
        let mut displaced = Vec::new();
        if let Lane::Opening(session) = lane
            && self.opening.is_of(session)
        {
            return self.accept_in_opening(message).map(|()| Accepted::Queued(displaced));
        }
        if lane != Lane::Throttled
            && let Some(held) = self.throttle.peek()
        {
            let weight = held.weight();
            if !self.has_room(weight) {
                self.refused = weight;
                return Err(message);
            }
            displaced = self.throttle.release(now).map(|held| self.queue(held)).unwrap_or_default();
        }
        if !self.has_room(message.weight()) {
            self.refused = message.weight();
            return Err(message);
        }
        self.refused = 0;
        self.accepted += 1;
        self.record.grow_old(now);
        if lane != Lane::Throttled {
            displaced.extend(self.queue(message));
            return Ok(Accepted::Queued(displaced));
        }
        // A held message whose time has come goes first: it is older.
        displaced.extend(self.tick(now));
        // While nothing can be sent, only the latest is worth sending.
        let offer = if self.record.is_open || self.throttle.is_off() {
            self.throttle.offer(now, message)
        } else {
            self.throttle.hold(message)
        };
        match offer {
            Offer::Pass(message) => {
                displaced.extend(self.queue(message));
                Ok(Accepted::Queued(displaced))
            }
            Offer::Held => Ok(Accepted::Held),
            Offer::Replaced(_older) => {
                self.coalesced += 1;
                Ok(Accepted::Held)
            }
        }
    }

    /// Puts a message into the ring; the requests whose messages it displaced.
    fn queue(&mut self, message: Outgoing) -> Vec<RequestKey> {
        self.has_end |= message.ends_inputs();
        match self.ring.push(message) {
            Pushed::Stored => Vec::new(),
            Pushed::Displaced(older) => {
                self.dropped += older.len() as u64;
                self.record.second_left = self.record.second_left.saturating_sub(older.len() as u64);
                older.into_iter().filter_map(|message| message.request).collect()
            }
            // Not reached behind `has_room`; if it were, the message would be kept, not lost.
            Pushed::Refused(message) => {
                self.ring.push_front(message);
                Vec::new()
            }
        }
    }

    /// A message has just come into the ring. `more`: others will follow at once, or [`Outbox::uncork`] will be called.
    /// Where newer messages displace older ones, none waits to be displaced.
    pub fn cork(&mut self, now: Instant, more: bool) {
        let more = more && !self.fresh;
        let bytes = self.ring.back().map_or(0, Weigh::weight);
        self.cork.queued(now, bytes, self.ring.len() == 1, more);
    }

    /// What is in the ring waits no longer for more.
    pub fn uncork(&mut self) {
        self.cork.pull();
    }

    /// Until when what is in the ring waits for more; `None`: it is to be written.
    pub fn corked_until(&self) -> Option<Instant> {
        self.cork.until().filter(|_| self.is_queued())
    }

    /// Moves a held message whose time has come into the ring. Returns the requests displaced by it.
    pub fn tick(&mut self, now: Instant) -> Vec<RequestKey> {
        if !self.record.is_open || !self.throttle.peek_due(now) || !self.has_room(0) {
            return Vec::new();
        }
        let Some(message) = self.throttle.due(now) else { return Vec::new() };
        if self.has_room(message.weight()) {
            self.queue(message)
        } else {
            // It keeps its place until the ring has room; a newer one may still replace it.
            if self.throttle.restore(message).is_some() {
                self.coalesced += 1;
            }
            Vec::new()
        }
    }

    /// Moves a held message into the ring before its time, if there is room. Returns the requests displaced by it.
    pub fn release(&mut self, now: Instant) -> Vec<RequestKey> {
        if self.throttle.peek().is_none_or(|held| !self.has_room(held.weight())) {
            return Vec::new();
        }
        self.throttle.release(now).map(|held| self.queue(held)).unwrap_or_default()
    }

    /// When [`Outbox::tick`] has something to do. While the ring is full it has nothing: room comes with a write; nor
    /// has it while no socket is open.
    pub fn deadline(&self) -> Option<Instant> {
        self.throttle.deadline().filter(|_| self.record.is_open && self.has_room(0))
    }
}
