//! A client's frames: final and masked.

use super::{
    MAX_CONTROL_PAYLOAD, MAX_HEADER, MessageKind,
    header::{Opcode, put_header},
    mask::extend_masked,
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

/// Appends the header of a data frame with a payload of `len` bytes, which is to follow: [`extend_masked`] under
/// the same key, or in pieces under the key [rotated](super::rotate) by what went before.
#[inline]
pub fn write_header(out: &mut Vec<u8>, kind: MessageKind, len: usize, mask: [u8; 4]) {
    append_header(out, Opcode::Data(kind), len, mask);
}

/// Appends a whole data frame to `out`: one copy of the payload, masked.
#[inline]
pub fn write_small(out: &mut Vec<u8>, kind: MessageKind, payload: &[u8], mask: [u8; 4]) {
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
    out.reserve(MAX_HEADER + payload.len());
    append_header(out, opcode, payload.len(), mask);
    extend_masked(out, payload, mask);
}

#[inline]
fn append_header(out: &mut Vec<u8>, opcode: Opcode, len: usize, mask: [u8; 4]) {
    let mut space = [0; MAX_HEADER];
    let start = put_header(&mut space, opcode, len, mask);
    out.extend_from_slice(&space[start..]);
}
