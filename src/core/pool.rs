//! Recycles the memory of large messages.
//!
//! An allocator gives large blocks back to the operating system at once, which then hands out fresh, zeroed pages
//! for the next message: with messages of 100 KB that costs more than everything else together. A few blocks kept
//! here make the next message reuse the last one's.

use std::collections::TryReserveError;

use parking_lot::Mutex;

/// Smaller buffers are the allocator's business: it keeps those.
const SMALLEST: usize = 32 << 10;
/// Capacities are multiples of this, so that messages of nearly the same size fit each other's buffers.
pub(super) const STEP: usize = 16 << 10;
/// What all kept buffers together may hold, in bytes.
const KEPT: usize = 16 << 20;

/// The buffers that are not in use.
struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { buffers: Vec::new(), bytes: 0 });

/// An empty buffer of at least this capacity, and not much more. Fails when there is not that much memory.
pub fn take(capacity: usize) -> Result<Vec<u8>, TryReserveError> {
    if capacity < SMALLEST {
        return fresh(capacity);
    }
    // A lock that was held during a fork is never released in the child: there, the pool is simply not used.
    if let Some(mut pool) = POOL.try_lock() {
        let most = capacity + capacity / 4 + STEP;
        let fits = |buffer: &Vec<u8>| (capacity..=most).contains(&buffer.capacity());
        // From the end: what was used last is in the processor's cache.
        if let Some(place) = pool.buffers.iter().rposition(fits) {
            let buffer = pool.buffers.swap_remove(place);
            pool.bytes -= buffer.capacity();
            return Ok(buffer);
        }
    }
    fresh(capacity.checked_next_multiple_of(STEP).unwrap_or(capacity))
}

fn fresh(capacity: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(capacity)?;
    Ok(buffer)
}

/// Takes back a buffer, whatever is in it.
pub fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < SMALLEST || buffer.capacity() > KEPT / 2 {
        return;
    }
    buffer.clear();
    let mut displaced = Vec::new();
    if let Some(mut pool) = POOL.try_lock() {
        pool.bytes += buffer.capacity();
        pool.buffers.push(buffer);
        // The oldest sizes make room: the traffic has changed.
        while pool.bytes > KEPT {
            let oldest = pool.buffers.remove(0);
            pool.bytes -= oldest.capacity();
            displaced.push(oldest);
        }
    }
    // Freed outside of the lock.
    drop(displaced);
}

/// A buffer that goes back when it is dropped.
pub struct Recycled(Vec<u8>);

impl Recycled {
    /// Bytes that give their memory back to the pool when the last reference to them is dropped.
    pub fn bytes(buffer: Vec<u8>) -> bytes::Bytes {
        if buffer.capacity() < SMALLEST { buffer.into() } else { bytes::Bytes::from_owner(Self(buffer)) }
    }
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_the_allocators() {
        assert_eq!(take(100).unwrap().capacity(), 100);
        assert!(matches!(Recycled::bytes(vec![7; 10]).as_ref(), [7, ..]));
    }

    #[test]
    fn a_large_buffer_is_used_again_for_a_message_of_nearly_the_same_size() {
        // A size of its own: tests run at the same time.
        let mut first = take(1_234_567).unwrap();
        first.extend_from_slice(&[1, 2, 3]);
        let (at, capacity) = (first.as_ptr(), first.capacity());
        drop(Recycled::bytes(first));
        let again = take(1_234_000).unwrap();
        assert_eq!((again.as_ptr(), again.capacity(), again.len()), (at, capacity, 0));
        give(again);
        assert!(take(400_000).unwrap().capacity() < 1_234_000, "a much smaller message does not occupy it");
    }

    #[test]
    fn the_pool_is_bounded() {
        for size in 0..64 {
            give(Vec::with_capacity(1_000_000 + size * STEP));
        }
        let pool = POOL.lock();
        assert!(pool.bytes <= KEPT);
        assert_eq!(pool.bytes, pool.buffers.iter().map(Vec::capacity).sum::<usize>());
    }
}
