//! RFC 6455 framing without I/O: bytes to messages ([`FrameReader`]) and messages to bytes ([`write_small`],
//! [`write_control`], or piece by piece [`write_header`] and [`extend_masked`]).
//!
//! The writer is a client's: it masks. Mask keys are arguments, since this layer knows no randomness.
//! No extension is negotiated, so a reserved bit is always a violation.
//!
//! ```
//! use fal_realtime::core::frame::{FrameReader, MessageKind, Limits, Message, Role, write_small};
//!
//! let mut bytes = Vec::new();
//! write_small(&mut bytes, MessageKind::Text, b"hello", [1, 2, 3, 4]);
//!
//! // Whoever reads what a client writes is the server. The first half is no message yet.
//! let mut reader = FrameReader::new(Limits::default(), Role::Server);
//! let (mut first, mut second) = bytes.split_at(6);
//! assert_eq!(reader.feed(&mut first)?, None);
//! let message = reader.feed(&mut second)?;
//! assert_eq!(message, Some(Message::Data { kind: MessageKind::Text, payload: "hello".into() }));
//! # Ok::<(), fal_realtime::core::frame::Violation>(())
//! ```

mod close;
mod header;
mod mask;
mod partial;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

use bytes::Bytes;

pub use self::{
    close::{close_payload, fitting_reason, may_close_with},
    mask::{apply_mask, extend_masked, rotate},
    reader::FrameReader,
    writer::{Control, write_control, write_header, write_small},
};
use crate::error::{Error, ErrorKind};

/// The size of the largest header that a client writes: 2 bytes, 8 of length, 4 of mask key.
pub const MAX_HEADER: usize = 14;

/// The largest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Which end of the connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what a server writes: a masked frame is a violation.
    Client,
    /// Reads what a client writes: an unmasked frame is a violation.
    Server,
}

/// The limits of what a peer may make a reader hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of a message, over all its fragments, in bytes. 64 MiB by default.
    pub max_message_size: usize,
    /// The largest payload of a frame, in bytes. 64 MiB by default.
    pub max_frame_size: usize,
    /// The most fragments of a message. Bounds a flood of empty ones, which no size limit would stop and of which none
    /// takes memory. 1,048,576 by default: 64 MiB in pieces of 64 bytes.
    pub max_fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message_size: 64 << 20, max_frame_size: 64 << 20, max_fragments: 1 << 20 }
    }
}

/// The two kinds of data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// A whole message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A data message, its fragments joined.
    Data {
        /// Text or binary. The payload of a text message is valid UTF-8.
        kind: MessageKind,
        /// The payload. From [`FrameReader::feed`] it owns its memory alone: keeping it keeps nothing else.
        payload: Bytes,
    },
    /// A ping; to be answered by a pong with the same payload.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The peer closes. Nothing follows.
    Close {
        /// The close code; 1005 when the frame held none.
        code: u16,
        /// The close reason; may be empty.
        reason: String,
    },
}

/// A violation of the protocol by the peer: fail the connection with this close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The close code to answer with: 1002 (protocol error), 1007 (not UTF-8) or 1009 (too big).
    pub code: u16,
    /// What was wrong, fit for a close reason.
    pub reason: &'static str,
    /// How many bytes the message has at least, where that was too much.
    pub size: Option<u64>,
}

impl Violation {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason, size: None }
    }

    const fn not_utf8(reason: &'static str) -> Self {
        Self { code: 1007, reason, size: None }
    }

    const fn too_big(reason: &'static str) -> Self {
        Self { code: 1009, reason, size: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer broke the WebSocket protocol: {} (code {})", self.reason, self.code)
    }
}

impl std::error::Error for Violation {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::new(ErrorKind::Protocol { code: violation.code }, violation.to_string())
    }
}
