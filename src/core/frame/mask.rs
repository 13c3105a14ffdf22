//! Masking: RFC 6455, section 5.3. Every byte a client sends goes through here.

use std::{array, mem::MaybeUninit};

use super::super::payload::LARGE_BYTES;

/// The bytes that are masked at a time: enough for the compiler to use vector registers. Measured at 0.75 to 0.95 of
/// the time of tungstenite's `u32` words, without its `unsafe`.
const BLOCK_BYTES: usize = 32;

/// XORs `bytes` with the repeated `key`. Undoes itself.
#[inline]
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let block_key = repeat(key);
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(block_key) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(block_key) {
        *byte ^= key;
    }
}

/// Appends `bytes` to `out`, masked.
#[inline]
pub fn extend_masked(out: &mut Vec<u8>, bytes: &[u8], key: [u8; 4]) {
    // From here on copying and masking in one pass is faster.
    if bytes.len() >= LARGE_BYTES {
        return extend_masked_in_one_pass(out, bytes, key);
    }
    let start = out.len();
    out.extend_from_slice(bytes);
    apply_mask(&mut out[start..], key);
}

/// Reads and writes each byte once. Measured against a copy that is masked afterwards: 0.6 of the time at 100 KB, 0.65
/// at 256 KB that are not in the cache, the same at 10 KB, and half as much again at 200 B.
fn extend_masked_in_one_pass(out: &mut Vec<u8>, bytes: &[u8], key: [u8; 4]) {
    let block_key = repeat(key);
    out.reserve(bytes.len());
    let room = &mut out.spare_capacity_mut()[..bytes.len()];
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let (room_for_blocks, room_for_rest) = room.as_chunks_mut::<BLOCK_BYTES>();
    for (room, block) in room_for_blocks.iter_mut().zip(blocks) {
        *room = array::from_fn(|i| MaybeUninit::new(block[i] ^ block_key[i]));
    }
    for ((room, byte), key) in room_for_rest.iter_mut().zip(rest).zip(block_key) {
        room.write(byte ^ key);
    }
    // SAFETY: `room` is as long as `bytes`, so that both are cut into as many blocks and as long a rest; each byte of
    // both has been written above.
    unsafe { out.set_len(out.len() + bytes.len()) };
}

/// The key that continues a payload of which `done` bytes are masked.
#[inline]
pub fn rotate(mut key: [u8; 4], done: usize) -> [u8; 4] {
    key.rotate_left(done % 4);
    key
}

#[inline]
fn repeat(key: [u8; 4]) -> [u8; BLOCK_BYTES] {
    array::from_fn(|i| key[i % 4])
}
