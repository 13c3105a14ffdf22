//! Helpers that the tests share: frames built by hand, and readers driven in every way that a caller may drive them.

#![allow(clippy::unwrap_used)]

mod interop;
mod reading;
mod roundtrip;
mod rules;
mod writing;

use bytes::BufMut;

use super::{FrameReader, Limits, Message, MessageKind, Role, Violation, apply_mask};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A frame with any first byte, its length in the fewest bytes.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![first];
    let masked = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => out.push(masked | len as u8),
        len @ 126..=0xFFFF => {
            out.push(masked + 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked + 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key.unwrap_or_default()[..if key.is_some() { 4 } else { 0 }]);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key.unwrap_or_default());
    out
}

/// A server's frame.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, None)
}

fn client() -> FrameReader {
    FrameReader::new(Limits::default(), Role::Client)
}

fn text(payload: &str) -> Message {
    Message::Data { kind: MessageKind::Text, payload: payload.to_owned().into() }
}

fn binary(payload: &[u8]) -> Message {
    Message::Data { kind: MessageKind::Binary, payload: payload.to_vec().into() }
}

/// Feeds one chunk and collects what comes out of it.
fn feed_all(reader: &mut FrameReader, mut chunk: &[u8]) -> Result<Vec<Message>, Violation> {
    let mut messages = Vec::new();
    while let Some(message) = reader.feed(&mut chunk)? {
        messages.push(message);
    }
    assert!(chunk.is_empty(), "a reader that wants more has consumed all");
    Ok(messages)
}

/// Reads `wire` in pieces of the sizes that `cuts` gives.
fn read_cut(
    reader: &mut FrameReader,
    mut wire: &[u8],
    mut cuts: impl FnMut() -> usize,
) -> Result<Vec<Message>, Violation> {
    let mut messages = Vec::new();
    while !wire.is_empty() {
        let (chunk, rest) = wire.split_at(cuts().clamp(1, wire.len()));
        wire = rest;
        messages.extend(feed_all(reader, chunk)?);
    }
    Ok(messages)
}

/// The same, but the way that a transport does it: straight into the reader where it offers room.
fn read_direct(
    reader: &mut FrameReader,
    mut wire: &[u8],
    mut cuts: impl FnMut() -> usize,
) -> Result<Vec<Message>, Violation> {
    let mut messages = Vec::new();
    while !wire.is_empty() {
        let size = cuts().clamp(1, wire.len());
        let chunk = if let Some(mut room) = reader.direct() {
            let (chunk, rest) = wire.split_at(size.min(room.remaining_mut()));
            room.put_slice(chunk);
            wire = rest;
            &[]
        } else {
            let (chunk, rest) = wire.split_at(size);
            wire = rest;
            chunk
        };
        messages.extend(feed_all(reader, chunk)?);
    }
    Ok(messages)
}
