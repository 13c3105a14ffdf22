//! Borrowed bytes: `bytes` objects that messages on their way out refer to instead of copying them.
//!
//! The I/O thread is done with them first, and has no right to touch a reference count: what it gives back lies here
//! until a thread that holds the GIL comes by, which the next large message does, and every wake of a loop.

use std::{
    hint,
    mem::{self, ManuallyDrop},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use pyo3::{prelude::*, pybacked::PyBackedBytes, types::PyBytes};

use crate::sync::{Mutex, MutexGuard};

/// How often the lock is tried. It is held for nanoseconds, except in a forked child, where it may be held for ever.
const MAX_LOCK_TRIES: u32 = 1000;

static RETURNED: Mutex<Vec<PyBackedBytes>> = Mutex::new(Vec::new());
static ANY: AtomicBool = AtomicBool::new(false);

/// A `bytes` object, kept alive for as long as somebody refers to its contents.
struct BorrowedBytes(ManuallyDrop<PyBackedBytes>);

impl AsRef<[u8]> for BorrowedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for BorrowedBytes {
    fn drop(&mut self) {
        // SAFETY: it is taken out once, here, and not used afterwards.
        let bytes = unsafe { ManuallyDrop::take(&mut self.0) };
        match lock() {
            Some(mut returned) => {
                returned.push(bytes);
                ANY.store(true, Ordering::Release);
            }
            // In a child whose parent held the lock at the fork. It is better kept than the child stuck.
            None => mem::forget(bytes),
        }
    }
}

/// The contents of `bytes`, without a copy.
pub(super) fn borrow(bytes: &Bound<'_, PyBytes>) -> Bytes {
    Bytes::from_owner(BorrowedBytes(ManuallyDrop::new(PyBackedBytes::from(bytes.clone()))))
}

/// Lets go of what has been given back.
#[inline]
pub(super) fn let_go(_py: Python<'_>) {
    if ANY.load(Ordering::Relaxed) {
        let_go_now();
    }
}

#[cold]
fn let_go_now() {
    let Some(mut returned) = RETURNED.try_lock() else { return };
    ANY.store(false, Ordering::Relaxed);
    let done = mem::take(&mut *returned);
    drop(returned);
    // Outside of the lock, and with the GIL, as the caller has shown.
    drop(done);
}

fn lock() -> Option<MutexGuard<'static, Vec<PyBackedBytes>>> {
    for _ in 0..MAX_LOCK_TRIES {
        if let Some(returned) = RETURNED.try_lock() {
            return Some(returned);
        }
        hint::spin_loop();
    }
    None
}
