//! The memory that a message may become.
//!
//! One byte of msgpack can be an empty map, of which `CPython` makes 64 bytes and a slot to hold it: without a limit
//! a few megabytes on the wire become hundreds in memory. So every object is charged with about what it takes on a
//! 64-bit `CPython` (rounded up, and independent of caches, so that a message is accepted always or never), and
//! a message may become at most [`BASE`] plus [`FACTOR`] times its own length.

use super::failure::{DecodeFailure, Outcome};

/// The bytes that any message may become.
pub(super) const BASE: usize = 64 * 1024 * 1024;
/// The bytes that it may become beyond that for each of its own.
pub(super) const FACTOR: usize = 16;

/// A number, or any other small object.
pub(super) const SCALAR: usize = 32;
/// The header of `str`, `bytes` or an extension; the contents come on top.
pub(super) const HEADER: usize = 64;
/// An empty list, with its slot in the container around it.
const LIST: usize = 80;
/// A slot of a list.
pub(super) const ITEM: usize = 8;
/// An empty dict, with its slot in the container around it.
const DICT: usize = 96;
/// The smallest table of a dict that is not empty.
const TABLE: usize = 184;
/// An entry of a table, with the room that tables keep free.
pub(super) const ENTRY: usize = 64;

/// The budget that is left for the message being decoded.
pub(super) struct Budget {
    left: usize,
    all: usize,
}

impl Budget {
    /// The budget of a message of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        let all = length.saturating_mul(FACTOR).saturating_add(BASE);
        Self { left: all, all }
    }

    /// Pays for an object of `size` bytes.
    #[inline]
    pub(super) fn spend(&mut self, size: usize) -> Outcome<()> {
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exhausted()),
        }
    }

    /// Pays for a list of `length` items, without the items.
    #[inline]
    pub(super) fn spend_list(&mut self, length: usize) -> Outcome<()> {
        self.spend(LIST.saturating_add(length.saturating_mul(ITEM)))
    }

    /// Pays for a dict of `length` entries, without the keys and values.
    #[inline]
    pub(super) fn spend_dict(&mut self, length: usize) -> Outcome<()> {
        let table = if length == 0 { 0 } else { TABLE };
        self.spend((DICT + table).saturating_add(length.saturating_mul(ENTRY)))
    }

    #[cold]
    fn exhausted(&self) -> DecodeFailure {
        let all = self.all;
        DecodeFailure::invalid(format!(
            "the message would become more than {all} bytes of Python objects, which is its limit"
        ))
    }
}
