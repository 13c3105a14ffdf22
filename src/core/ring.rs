//! A bounded queue that counts items and bytes and hands back whatever it does not keep.
//!
//! ```
//! use fal_realtime::core::ring::{Overflow, Pushed, Ring, Weigh};
//!
//! #[derive(Debug, PartialEq)]
//! struct Frame(&'static str);
//!
//! impl Weigh for Frame {
//!     fn weight(&self) -> usize {
//!         self.0.len()
//!     }
//! }
//!
//! let mut ring = Ring::new(2, 1024, Overflow::DropOldest);
//! assert_eq!(ring.push(Frame("old")), Pushed::Stored);
//! assert_eq!(ring.push(Frame("newer")), Pushed::Stored);
//! assert_eq!(ring.push(Frame("newest")), Pushed::Displaced(vec![Frame("old")]));
//! assert_eq!(ring.pop(), Some(Frame("newer")));
//! ```

use std::{collections::VecDeque, mem};

#[cfg(test)]
mod tests;

/// The weight of an item: what it costs a [`Ring`]'s second limit.
pub trait Weigh {
    /// Its size in bytes. Must not change while the item is in a ring.
    fn weight(&self) -> usize;

    /// Whether it counts as one of a [`Ring`]'s items. One that does not is always let in, and displaces nothing. Must
    /// not change while the item is in a ring.
    fn takes_slot(&self) -> bool {
        true
    }
}

/// The reaction of [`Ring::push`] when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest items make room: freshness over completeness.
    DropOldest,
    /// The new item is handed back: nothing is ever lost.
    Refuse,
}

/// The outcome for a pushed item. Whatever the ring does not keep comes back, so that the caller can count it.
#[must_use = "items that the ring did not keep must be counted"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It is in the ring, and so is all that was there before.
    Stored,
    /// It is in the ring, and these, oldest first, no longer are. Never empty.
    Displaced(Vec<T>),
    /// It is not in the ring.
    Refused(T),
}

/// A bounded FIFO queue.
///
/// Both limits hold for every push, with one exception: an item heavier than the whole ring is accepted when
/// the ring is empty, since it could never pass otherwise. (Messages have a size limit of their own.)
#[derive(Debug)]
pub struct Ring<T: Weigh> {
    items: VecDeque<T>,
    weight: usize,
    /// How many items take a slot.
    taken: usize,
    max_items: usize,
    max_weight: usize,
    overflow: Overflow,
}

impl<T: Weigh> Ring<T> {
    /// An empty ring keeps at most this many bytes of storage. Most connections of a big process are idle at
    /// any moment, and growing again costs nanoseconds a message.
    const IDLE_BYTES: usize = 1024;

    /// An empty ring of at most `max_items` items (at least 1) and `max_weight` bytes. Allocates nothing.
    pub fn new(max_items: usize, max_weight: usize, overflow: Overflow) -> Self {
        Self {
            items: VecDeque::new(),
            weight: 0,
            taken: 0,
            max_items: max_items.max(1),
            max_weight,
            overflow,
        }
    }

    /// Appends an item, or does what the ring's [`Overflow`] says.
    pub fn push(&mut self, item: T) -> Pushed<T> {
        let weight = item.weight();
        if !item.takes_slot() || self.has_room(weight) {
            self.append(item, weight);
            return Pushed::Stored;
        }
        match self.overflow {
            Overflow::Refuse => Pushed::Refused(item),
            Overflow::DropOldest => {
                let mut displaced = Vec::with_capacity(1);
                while !self.has_room(weight)
                    && let Some(oldest) = self.take_front()
                {
                    displaced.push(oldest);
                }
                self.append(item, weight);
                Pushed::Displaced(displaced)
            }
        }
    }

    /// Appends all of `items`, whatever the limits are, and leaves it empty. When the ring is empty they exchange their
    /// storage: the time that this takes does not depend on how many items there are.
    pub fn push_all(&mut self, items: &mut VecDeque<T>) {
        for item in &*items {
            self.weight = self.weight.saturating_add(item.weight());
            self.taken += usize::from(item.takes_slot());
        }
        if self.items.is_empty() {
            mem::swap(&mut self.items, items);
        } else {
            self.items.append(items);
        }
    }

    /// Takes all items at once into `to`, which is empty and whose storage the ring goes on with.
    pub fn take_all(&mut self, to: &mut VecDeque<T>) {
        debug_assert!(to.is_empty());
        self.weight = 0;
        self.taken = 0;
        mem::swap(&mut self.items, to);
    }

    /// Returns an item to the front. It was accepted before, so no limit applies to it.
    pub fn push_front(&mut self, item: T) {
        self.weight = self.weight.saturating_add(item.weight());
        self.taken += usize::from(item.takes_slot());
        self.items.push_front(item);
    }

    /// Returns an item to its place: behind the last item that `is_before` it. It was accepted before, so no limit
    /// applies to it. The items must be in the order that `is_before` speaks of.
    pub fn restore(&mut self, item: T, is_before: impl FnMut(&T) -> bool) {
        self.weight = self.weight.saturating_add(item.weight());
        self.taken += usize::from(item.takes_slot());
        let place = self.items.partition_point(is_before);
        self.items.insert(place, item);
    }

    /// Takes the first item that `is_it`, and drops it. Answers how many were before it.
    pub fn remove(&mut self, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        let place = self.items.iter().position(is_it)?;
        let item = self.items.remove(place)?;
        self.weight = self.weight.saturating_sub(item.weight());
        self.taken -= usize::from(item.takes_slot());
        Some(place)
    }

    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.take_front()?;
        if self.items.is_empty() && self.items.capacity() * size_of::<T>() > Self::IDLE_BYTES {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// The oldest item.
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// The newest item.
    pub fn back(&self) -> Option<&T> {
        self.items.back()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The weight of all items together, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether an item of this weight could be pushed now without displacing or being refused.
    pub fn has_room(&self, weight: usize) -> bool {
        self.taken == 0
            || (self.taken < self.max_items && self.weight.saturating_add(weight) <= self.max_weight)
    }

    /// The items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// Takes all items, oldest first. The ring is empty at once, whether or not the iterator is run.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.weight = 0;
        self.taken = 0;
        mem::take(&mut self.items).into_iter()
    }

    fn append(&mut self, item: T, weight: usize) {
        self.weight = self.weight.saturating_add(weight);
        self.taken += usize::from(item.takes_slot());
        self.items.push_back(item);
    }

    fn take_front(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.weight = self.weight.saturating_sub(item.weight());
        self.taken -= usize::from(item.takes_slot());
        Some(item)
    }
}
