//! A client's frames: final and masked.

use super::{
    HEADROOM, Kind, MAX_CONTROL_PAYLOAD,
    header::{Opcode, put_header},
    mask::{apply_mask, extend_masked},
};

/// The kinds of control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The connection ends; the payload comes from [`close_payload`](super::close_payload).
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, with its payload.
    Pong,
}

/// Turns `buf` into a frame in place. Its first [`HEADROOM`] bytes are scratch room, the payload follows. Answers
/// where in `buf` the frame starts; it ends where `buf` ends.
///
/// # Panics
/// If `buf` is shorter than [`HEADROOM`].
#[inline]
pub fn seal(buf: &mut [u8], kind: Kind, mask: [u8; 4]) -> usize {
    let (space, payload) = split(buf);
    apply_mask(payload, mask);
    put_header(space, Opcode::Data(kind), payload.len(), mask)
}

/// Undoes [`seal`], which answered `start`: the payload is as before, so that a message that was not sent can be
/// kept, and sealed again under another key.
///
/// # Panics
/// If `buf` is shorter than [`HEADROOM`].
#[inline]
pub fn unseal(buf: &mut [u8], start: usize) {
    let (space, payload) = split(buf);
    debug_assert!(matches!(start, 0 | 6 | 8), "{start} is not what seal answered");
    // The header is right-aligned and ends with the key.
    let [.., a, b, c, d] = *space;
    apply_mask(payload, [a, b, c, d]);
}

/// Appends a whole data frame to `out`: one copy of the payload, masked.
#[inline]
pub fn write_small(out: &mut Vec<u8>, kind: Kind, payload: &[u8], mask: [u8; 4]) {
    write_frame(out, Opcode::Data(kind), payload, mask);
}

/// Appends a whole control frame to `out`. The payload is cut to 125 bytes, the most that a control frame holds.
pub fn write_control(out: &mut Vec<u8>, opcode: Control, payload: &[u8], mask: [u8; 4]) {
    let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
    let opcode = match opcode {
        Control::Close => Opcode::Close,
        Control::Ping => Opcode::Ping,
        Control::Pong => Opcode::Pong,
    };
    write_frame(out, opcode, payload, mask);
}

#[inline]
fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    let mut space = [0; HEADROOM];
    let start = put_header(&mut space, opcode, payload.len(), mask);
    out.reserve(HEADROOM - start + payload.len());
    out.extend_from_slice(&space[start..]);
    extend_masked(out, payload, mask);
}

#[inline]
fn split(buf: &mut [u8]) -> (&mut [u8; HEADROOM], &mut [u8]) {
    let Some(parts) = buf.split_first_chunk_mut() else {
        panic!("the buffer has no room for a frame header in front of the payload")
    };
    parts
}
