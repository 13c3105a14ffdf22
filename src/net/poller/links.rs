//! The links of a poller by their keys.

use std::sync::Arc;

use crate::net::driven::Driven;

/// The links of a poller by their keys, and which of them are watched for being readable.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Option<Arc<dyn Driven>>>,
    free: Vec<usize>,
    /// How many are watched, and the sum of their keys: of one alone that is its key.
    armed: usize,
    sum_of_armed: u64,
}

impl Links {
    pub(super) fn insert(&mut self, link: Arc<dyn Driven>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(link);
        }
        index as u64
    }

    /// Takes a link out. It is to be dropped outside of the lock.
    pub(super) fn remove(&mut self, key: u64) -> Option<Arc<dyn Driven>> {
        let index = usize::try_from(key).ok()?;
        let link = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        if self.free.len() == self.slots.len() {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        Some(link)
    }

    pub(super) fn get(&self, key: u64) -> Option<Arc<dyn Driven>> {
        self.slots.get(usize::try_from(key).ok()?)?.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A link is watched, or no longer.
    pub(super) fn set_armed(&mut self, key: u64, armed: bool) {
        if armed {
            self.armed += 1;
            self.sum_of_armed = self.sum_of_armed.wrapping_add(key);
        } else {
            self.armed -= 1;
            self.sum_of_armed = self.sum_of_armed.wrapping_sub(key);
        }
    }

    /// The one link that is watched, if there is no other.
    pub(super) fn only_armed(&self) -> Option<Arc<dyn Driven>> {
        if self.armed == 1 { self.get(self.sum_of_armed) } else { None }
    }
}
