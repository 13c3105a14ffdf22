//! A message that is partly there: its memory, its mask, its UTF-8.

use std::str;

use super::super::pool::{self, Recycled};
use super::{
    Message, MessageKind, Violation,
    header::Opcode,
    mask::{apply_mask, rotate},
};

pub(super) const NOT_UTF8: Violation = Violation::not_utf8("text is not UTF-8");

const NO_MEMORY: Violation = Violation::too_big("there is not enough memory for the message");

/// The most memory that a declared length alone is worth, in bytes. Past it, the buffer at most doubles: memory
/// follows what has arrived. (A quarter of this made messages of 1 MB 1.5 times as dear, for two more moves.)
const FIRST_RESERVE_BYTES: usize = 1024 * 1024;

/// A frame whose header was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) key: Option<[u8; 4]>,
    /// Where its payload starts and ends in the buffer that it goes to.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A data message that is partly there.
#[derive(Debug)]
pub(super) struct Partial {
    kind: MessageKind,
    pub(super) payload: Vec<u8>,
    pub(super) fragments: usize,
    /// How much of the payload is unmasked.
    unmasked: usize,
    /// How much of a text is known to be whole, valid UTF-8.
    valid: usize,
}

impl Partial {
    pub(super) fn new(kind: MessageKind) -> Self {
        Self { kind, payload: Vec::new(), fragments: 1, unmasked: 0, valid: 0 }
    }

    /// Unmasks and checks what came of `frame` since the last call. Text that is not UTF-8 is refused at the first
    /// byte that shows it, not at the end.
    pub(super) fn check(&mut self, frame: &Frame) -> Result<(), Violation> {
        if let Some(key) = frame.key {
            apply_mask(&mut self.payload[self.unmasked..], rotate(key, self.unmasked - frame.start));
        }
        self.unmasked = self.payload.len();
        if self.kind == MessageKind::Text {
            match str::from_utf8(&self.payload[self.valid..]) {
                Ok(_) => self.valid = self.payload.len(),
                // Cut within a character: at most three bytes are checked again.
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(NOT_UTF8),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Message, Violation> {
        if self.kind == MessageKind::Text && self.valid < self.payload.len() {
            return Err(NOT_UTF8);
        }
        // Only fragments leave room unused. A reader of queued messages counts their length, so that must be near
        // to what they hold.
        if self.payload.capacity() - self.payload.len() > self.payload.len() / 4 {
            self.payload.shrink_to_fit();
        }
        Ok(Message::Data { kind: self.kind, payload: Recycled::bytes(self.payload) })
    }

    /// Makes room for `incoming` more bytes of `frame`. Grows to no more than is declared, and to no more than twice
    /// what is needed now: a declared length costs nothing until its bytes come.
    #[inline]
    pub(super) fn reserve(
        &mut self,
        frame: &Frame,
        incoming: usize,
        max_message_size: usize,
    ) -> Result<(), Violation> {
        let payload = &mut self.payload;
        let needed = payload.len() + incoming;
        if needed <= payload.capacity() {
            return Ok(());
        }
        let doubled = needed.saturating_mul(2);
        let mut target = doubled.max(FIRST_RESERVE_BYTES).min(frame.end);
        if !frame.fin {
            // More frames follow: without this, many small fragments would each move all that came before.
            target = target.max(doubled.min(max_message_size));
        }
        if payload.capacity() == 0 {
            // Without memory, the reservation below is the one that fails.
            *payload = pool::take(target.max(needed)).unwrap_or_default();
        }
        // Where memory is scarce, no more than is needed now. Its size is the peer's choice: it must not end the
        // process.
        payload
            .try_reserve_exact(target.max(needed).saturating_sub(payload.len()))
            .or_else(|_| payload.try_reserve_exact(incoming))
            .map_err(|_| NO_MEMORY)
    }
}

/// Moves bytes from `input` until `buffer` is `end` long.
#[inline]
pub(super) fn append(buffer: &mut Vec<u8>, end: usize, input: &mut &[u8]) {
    let (taken, rest) = input.split_at(input.len().min(end - buffer.len()));
    buffer.extend_from_slice(taken);
    *input = rest;
}
