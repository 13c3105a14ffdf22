//! The memory that a message may become.
//!
//! One byte of msgpack can be an empty map, of which `CPython` makes 64 bytes and a slot to hold it: without a limit
//! a few megabytes on the wire become hundreds in memory. So every object is charged with about what it takes on a
//! 64-bit `CPython` (rounded up, and independent of caches, so that a message is accepted always or never), and
//! a message may become at most [`BASE_BYTES`] plus [`BYTES_A_BYTE`] times its own length.

use super::failure::{DecodeFailure, Outcome};

/// The bytes that any message may become.
pub(super) const BASE_BYTES: usize = 64 * 1024 * 1024;
/// The bytes that it may become beyond that for each of its own.
pub(super) const BYTES_A_BYTE: usize = 16;

/// A number, or any other small object.
pub(super) const SCALAR_BYTES: usize = 32;
/// The header of `str`, `bytes` or an extension; the contents come on top.
pub(super) const HEADER_BYTES: usize = 64;
/// An empty list, with its slot in the container around it.
const LIST_BYTES: usize = 80;
/// A slot of a list.
pub(super) const ITEM_BYTES: usize = 8;
/// An empty dict, with its slot in the container around it.
const DICT_BYTES: usize = 96;
/// The smallest table of a dict that is not empty.
const TABLE_BYTES: usize = 184;
/// An entry of a table, with the room that tables keep free.
pub(super) const ENTRY_BYTES: usize = 64;

/// The budget that is left for the message being decoded.
pub(super) struct Budget {
    left: usize,
    all: usize,
}

impl Budget {
    /// The budget of a message of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        let all = length.saturating_mul(BYTES_A_BYTE).saturating_add(BASE_BYTES);
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
        self.spend(LIST_BYTES.saturating_add(length.saturating_mul(ITEM_BYTES)))
    }

    /// Pays for a dict of `length` entries, without the keys and values.
    #[inline]
    pub(super) fn spend_dict(&mut self, length: usize) -> Outcome<()> {
        let table = if length == 0 { 0 } else { TABLE_BYTES };
        self.spend((DICT_BYTES + table).saturating_add(length.saturating_mul(ENTRY_BYTES)))
    }

    #[cold]
    fn exhausted(&self) -> DecodeFailure {
        let all = self.all;
        DecodeFailure::invalid(format!(
            "the message would become more than {all} bytes of Python objects, which is its limit"
        ))
    }
}
