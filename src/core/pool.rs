//! Recycles the memory of messages that are not small.
//!
//! A message is allocated on one thread and freed on another, and an allocator gives such memory back to the operating
//! system soon, which then hands out fresh, zeroed pages for the next message: that costs more than everything else
//! together. Some buffers kept here let the next message reuse the last one's.

use std::{collections::TryReserveError, hint};

use crate::sync::{Mutex, MutexGuard};

/// The smallest buffers that are pooled. The allocator keeps smaller ones at hand for each thread.
const MIN_POOLED_BUFFER_BYTES: usize = 2 << 10;
/// The largest buffers that are pooled. Larger ones are too rare.
const MAX_POOLED_BUFFER_BYTES: usize = 8 << 20;
/// The bytes that all pooled buffers together may hold.
const MAX_POOLED_BYTES: usize = 16 << 20;
/// The number of size classes: four steps to each doubling, so that at most a fifth of a buffer is unused.
const SIZE_CLASSES: usize =
    4 * (MAX_POOLED_BUFFER_BYTES.ilog2() - MIN_POOLED_BUFFER_BYTES.ilog2()) as usize + 1;
/// How often the lock is tried. It is held for nanoseconds, except in a forked child, where it may be held for ever.
const MAX_LOCK_TRIES: u32 = 100;

/// The buffers that are not in use, by size class.
struct BufferPool {
    classes: [Vec<Vec<u8>>; SIZE_CLASSES],
    bytes: usize,
}

static POOL: Mutex<BufferPool> =
    Mutex::new(BufferPool { classes: [const { Vec::new() }; SIZE_CLASSES], bytes: 0 });

/// The largest class that is not above `size`, which is in bounds.
fn class_below(size: usize) -> usize {
    let octave = size.ilog2();
    let quarter = (size >> (octave - 2)) & 3;
    4 * (octave - MIN_POOLED_BUFFER_BYTES.ilog2()) as usize + quarter
}

/// The smallest class that is not below `size`, which is in bounds.
fn class_above(size: usize) -> usize {
    let below = class_below(size);
    if capacity_of(below) < size { below + 1 } else { below }
}

/// The capacity of a class.
fn capacity_of(class: usize) -> usize {
    (MIN_POOLED_BUFFER_BYTES << (class / 4)) / 4 * (4 + class % 4)
}

fn lock() -> Option<MutexGuard<'static, BufferPool>> {
    for _ in 0..MAX_LOCK_TRIES {
        if let Some(pool) = POOL.try_lock() {
            return Some(pool);
        }
        hint::spin_loop();
    }
    None
}

/// An empty buffer of at least this capacity, and not much more. Fails when there is not that much memory.
pub fn take(capacity: usize) -> Result<Vec<u8>, TryReserveError> {
    if !(MIN_POOLED_BUFFER_BYTES..=MAX_POOLED_BUFFER_BYTES).contains(&capacity) {
        return fresh(capacity);
    }
    let class = class_above(capacity);
    if let Some(mut pool) = lock()
        && let Some(buffer) = pool.classes.get_mut(class).and_then(Vec::pop)
    {
        pool.bytes -= buffer.capacity();
        return Ok(buffer);
    }
    fresh(capacity_of(class))
}

fn fresh(capacity: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(capacity)?;
    Ok(buffer)
}

/// Takes back a buffer, whatever is in it.
pub fn give(mut buffer: Vec<u8>) {
    if !(MIN_POOLED_BUFFER_BYTES..=MAX_POOLED_BUFFER_BYTES).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    let class = class_below(buffer.capacity());
    let Some(mut pool) = lock() else { return };
    pool.bytes += buffer.capacity();
    if let Some(kept) = pool.classes.get_mut(class) {
        kept.push(buffer);
    }
    if pool.bytes <= MAX_POOLED_BYTES {
        return;
    }
    // Other sizes make room: the traffic may have changed. If there are none, this is more than is ever needed.
    let displaced = pool.displace(class);
    drop(pool);
    drop(displaced); // freed outside of the lock
}

impl BufferPool {
    /// Takes out buffers until the rest is within bounds, those of `spared` last.
    fn displace(&mut self, spared: usize) -> Vec<Vec<u8>> {
        let mut displaced = Vec::new();
        let order = (0..SIZE_CLASSES).filter(|class| *class != spared).rev().chain([spared]);
        for class in order {
            while self.bytes > MAX_POOLED_BYTES
                && let Some(buffer) = self.classes.get_mut(class).and_then(Vec::pop)
            {
                self.bytes -= buffer.capacity();
                displaced.push(buffer);
            }
        }
        displaced
    }
}

/// A buffer that goes back when it is dropped.
pub struct Recycled(Vec<u8>);

impl Recycled {
    /// Bytes that give their memory back to the pool when the last reference to them is dropped.
    pub fn bytes(buffer: Vec<u8>) -> bytes::Bytes {
        if buffer.capacity() < MIN_POOLED_BUFFER_BYTES {
            buffer.into()
        } else {
            bytes::Bytes::from_owner(Self(buffer))
        }
    }

    /// A copy of a payload, in recycled memory unless it is small.
    pub fn copy(payload: &[u8]) -> bytes::Bytes {
        if payload.len() < MIN_POOLED_BUFFER_BYTES {
            return bytes::Bytes::copy_from_slice(payload);
        }
        let mut buffer = take(payload.len()).unwrap_or_default();
        buffer.extend_from_slice(payload);
        Self::bytes(buffer)
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
    fn every_size_has_a_class_that_wastes_at_most_a_fifth() {
        assert_eq!(capacity_of(0), MIN_POOLED_BUFFER_BYTES);
        assert_eq!(capacity_of(SIZE_CLASSES - 1), MAX_POOLED_BUFFER_BYTES);
        for class in 0..SIZE_CLASSES {
            assert_eq!(class_below(capacity_of(class)), class);
        }
        for size in (MIN_POOLED_BUFFER_BYTES..=MAX_POOLED_BUFFER_BYTES).step_by(1_237) {
            assert!(capacity_of(class_below(size)) <= size);
            let capacity = capacity_of(class_above(size));
            assert!((size..=size + size / 4).contains(&capacity), "{capacity} for {size}");
        }
    }

    #[test]
    fn a_small_buffer_is_the_allocators() {
        assert_eq!(take(100).unwrap().capacity(), 100);
        assert_eq!(Recycled::copy(&[7; 10]).as_ref(), [7; 10]);
    }

    #[test]
    fn a_buffer_is_used_again_for_a_message_of_nearly_the_same_size() {
        // A size of its own: tests run at the same time.
        let mut first = take(1_234_567).unwrap();
        first.extend_from_slice(&[1, 2, 3]);
        let (at, capacity) = (first.as_ptr(), first.capacity());
        drop(Recycled::bytes(first));
        let again = take(1_234_000).unwrap();
        assert_eq!((again.as_ptr(), again.capacity(), again.len()), (at, capacity, 0));
    }

    #[test]
    fn the_pool_is_bounded_and_follows_the_traffic() {
        for _ in 0..64 {
            give(Vec::with_capacity(1 << 20));
        }
        give(Vec::with_capacity(3 << 20));
        let pool = POOL.lock();
        assert!(pool.bytes <= MAX_POOLED_BYTES);
        let all = pool.classes.iter().flatten().map(Vec::capacity);
        assert_eq!(pool.bytes, all.sum::<usize>());
        assert_eq!(pool.classes[class_below(3 << 20)].len(), 1);
    }
}
