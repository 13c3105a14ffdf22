//! What comes is given its number and its place.

use std::collections::VecDeque;

use super::{HIGH_WATER_BYTES, Inbox, Item, MAX_NOTICES, MAX_STRAYS, Notice, Numbered, Placed};
use crate::{
    core::{message::Received, requests::Answer, ring::Pushed},
    error::Error,
};

impl Inbox {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn push(&mut self, what: Item) {
        let number = self.number();
        if let Pushed::Displaced(older) = self.ring.push(Numbered { number, what }) {
            self.displaced(older);
        }
        self.limit_strays();
    }

    /// Of what nobody receives the newest stays.
    fn limit_strays(&mut self) {
        if self.receiving || !self.lossless {
            return;
        }
        let mut older = Vec::new();
        while self.ring.len() - self.ends > MAX_STRAYS
            || (self.ring.weight() > HIGH_WATER_BYTES && self.ring.len() - self.ends > 1)
        {
            match self.ring.pop() {
                Some(item) => {
                    self.ends -= usize::from(matches!(item.what, Item::End(_)));
                    older.push(item);
                }
                None => break,
            }
        }
        self.ends += older.iter().filter(|item| matches!(item.what, Item::End(_))).count();
        let dropped_before = self.dropped;
        self.displaced(older);
        self.drops_begin |= dropped_before == 0 && self.dropped > 0;
    }

    fn displaced(&mut self, older: Vec<Numbered<Item>>) {
        for item in older {
            match item.what {
                Item::Result(_) => {
                    self.dropped += 1;
                    self.pending -= 1;
                }
                Item::Error(_) => self.errors_dropped += 1,
                // It is not displaced: an iteration must not miss the end of its stream.
                Item::End(_) => {
                    let number = item.number;
                    self.ring.restore(item, |other| other.number < number);
                }
            }
        }
    }

    /// Takes a result: to the request that waits for it, else to the ring.
    pub fn push_result(&mut self, received: Received, request_id: Option<&str>) -> Placed {
        self.received += 1;
        self.pending += 1;
        self.bytes += received.payload.len() as u64;
        if let Some(id) = request_id
            && let Some(key) = self.requests.waiting(id)
        {
            let number = self.number();
            return Placed::Answered(self.requests.settle(key, Answer { number, outcome: Ok(received) }));
        }
        if request_id.is_some_and(|id| self.requests.take_ended(id)) {
            self.late += 1;
            self.pending -= 1;
            return Placed::Late;
        }
        match request_id {
            None => self.unmatched.without_id += 1,
            Some(_) => self.unmatched.with_other_id += 1,
        }
        self.push(Item::Result(received));
        Placed::Queued
    }

    /// Takes results that answer no request, in their order; their numbers are given here. Leaves `results` empty.
    pub fn push_results(&mut self, results: &mut VecDeque<Numbered<Item>>) {
        if !self.lossless {
            for result in results.drain(..) {
                if let Item::Result(received) = result.what {
                    self.push_result(received, None);
                }
            }
            return;
        }
        for result in &mut *results {
            self.next_number += 1;
            result.number = self.next_number;
            if let Item::Result(received) = &result.what {
                self.bytes += received.payload.len() as u64;
            }
        }
        self.unmatched.without_id += results.len() as u64;
        self.received += results.len() as u64;
        self.pending += results.len() as u64;
        self.ring.push_all(results);
        self.limit_strays();
    }

    /// Takes an error that is raised in its place between the results.
    pub fn push_error(&mut self, error: Error) {
        self.push(Item::Error(Box::new(error)));
    }

    /// Takes the end of a stream.
    pub fn push_end(&mut self, reason: Error) {
        self.ends += 1;
        self.push(Item::End(Box::new(reason)));
    }

    /// Takes a notice. When too many wait, the oldest goes.
    pub fn push_notice(&mut self, notice: Notice) {
        let number = self.number();
        if self.notices.len() >= MAX_NOTICES
            && let Some(Numbered { what: Notice::Error(_), .. }) = self.notices.pop_front()
        {
            self.errors_dropped += 1;
        }
        self.notices.push_back(Numbered { number, what: notice });
    }
}
