//! A cache of short map keys: the same few names come in every message, and a cached `str` knows its hash already.
//!
//! A slot is filled once and never emptied: a lookup is one load and needs no lock, also on free-threaded builds,
//! and a peer that sends ever new keys cannot push out those of everybody else. The price is bounded: at most
//! [`SLOTS`] strings of at most [`MAX_KEY_BYTES`] characters live as long as the process.

use std::{
    ptr, slice,
    sync::atomic::{AtomicPtr, Ordering},
};

use pyo3::{ffi, prelude::*};

use super::{failure::Outcome, objects};

/// Longer keys are not cached.
pub(super) const MAX_KEY_BYTES: usize = 32;
const SLOTS: usize = 1024;

/// Owned references to ASCII strings, or null.
static CACHE: [AtomicPtr<ffi::PyObject>; SLOTS] = [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];

/// The `str` for `utf8`, from the cache if it is there; `None` if it is not valid UTF-8.
#[inline]
pub(super) fn key<'py>(py: Python<'py>, utf8: &[u8]) -> Outcome<Option<Bound<'py, PyAny>>> {
    if utf8.len() > MAX_KEY_BYTES {
        return objects::string(py, utf8);
    }
    let slot = &CACHE[slot(utf8)];
    // Acquire: the string was written before it was published.
    let cached = slot.load(Ordering::Acquire);
    if cached.is_null() {
        return first_seen(py, utf8, slot);
    }
    // SAFETY: a slot that is not null holds a reference to an ASCII str for ever, so that it can be borrowed.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(cached) as usize;
        if slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(cached), length) == utf8 {
            return Ok(Some(Bound::from_borrowed_ptr(py, cached)));
        }
    }
    objects::string(py, utf8)
}

#[cold]
fn first_seen<'py>(
    py: Python<'py>,
    utf8: &[u8],
    slot: &AtomicPtr<ffi::PyObject>,
) -> Outcome<Option<Bound<'py, PyAny>>> {
    if !utf8.is_ascii() {
        return objects::string(py, utf8);
    }
    let string = objects::ascii(py, utf8)?;
    // Taken now, so that later readers find it there.
    string.hash()?;
    let mine = string.clone().into_ptr();
    if slot.compare_exchange(ptr::null_mut(), mine, Ordering::Release, Ordering::Relaxed).is_err() {
        // Another thread was first.
        // SAFETY: `mine` is the reference that the slot was to own.
        drop(unsafe { Bound::from_owned_ptr(py, mine) });
    }
    Ok(Some(string))
}

/// The slot of a key: from its length and its first and last bytes, which tell the names of a message apart.
#[inline]
fn slot(key: &[u8]) -> usize {
    let (head, tail) = match key {
        [] => (0, 0),
        [_, .., _] if key.len() >= 8 => (word(&key[..8]), word(&key[key.len() - 8..])),
        _ if key.len() >= 4 => (half(&key[..4]), half(&key[key.len() - 4..])),
        _ => (u64::from(key[0]) << 8 | u64::from(key[key.len() / 2]), u64::from(key[key.len() - 1])),
    };
    // Fibonacci hashing: the upper bits of the product depend on all bits below.
    let mixed = (head ^ tail.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % SLOTS
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}
