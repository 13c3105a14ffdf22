//! A large message on its way through the staging buffer, which it has for itself.

use crate::core::{
    frame::{extend_masked, rotate, write_header},
    message::Outgoing,
    payload::Cursor,
};

/// The bytes of a large message that are staged at a time.
const PIECE_BYTES: usize = 256 << 10;

pub(super) struct Large {
    message: Outgoing,
    mask: [u8; 4],
    /// What has been staged.
    cursor: Cursor,
    /// Its first byte is with the operating system.
    partly_written: bool,
}

impl Large {
    pub(super) fn new(message: Outgoing, mask: [u8; 4]) -> Self {
        Self { message, mask, cursor: Cursor::default(), partly_written: false }
    }

    pub(super) fn len(&self) -> usize {
        self.message.payload.len()
    }

    /// Some of it has been staged.
    pub(super) fn is_staged(&self) -> bool {
        self.cursor.passed() > 0
    }

    /// Some of it has been written: it can no longer be sent on another socket.
    pub(super) fn is_partly_written(&self) -> bool {
        self.partly_written
    }

    /// Some of what is staged has been written.
    pub(super) fn mark_written(&mut self) {
        self.partly_written = self.is_staged();
    }

    /// Throws away what has been staged.
    pub(super) fn start_over(&mut self) {
        self.cursor = Cursor::default();
    }

    /// Stages the next piece, the first one behind the header of the frame. False when there was nothing left.
    pub(super) fn stage(&mut self, staging: &mut Vec<u8>) -> bool {
        if self.cursor.passed() == self.len() {
            return false;
        }
        if !self.is_staged() {
            write_header(staging, self.message.kind, self.len(), self.mask);
        }
        stage(staging, &self.message, &mut self.cursor, self.mask, PIECE_BYTES);
        true
    }

    /// The message, as it was before.
    pub(super) fn into_message(self) -> Outgoing {
        self.message
    }
}

/// Appends the next bytes of a message, masked: `most` at most, and no fewer unless it ends.
pub(super) fn stage(out: &mut Vec<u8>, message: &Outgoing, cursor: &mut Cursor, mask: [u8; 4], most: usize) {
    let end = cursor.passed() + most;
    while cursor.passed() < end {
        let passed = cursor.passed();
        let Some(bytes) = cursor.advance(&message.payload, end - passed) else { return };
        extend_masked(out, bytes, rotate(mask, passed));
    }
}
