//! The outputs of a session until they are written.

use std::collections::VecDeque;

use bytes::Bytes;

/// The bytes of unwritten results past which the next input waits, as the real server awaits its emitter.
pub(super) const MAX_UNWRITTEN_BYTES: usize = 256 << 10;
/// The bytes that a result counts for beside its own.
const OUTPUT_OVERHEAD_BYTES: usize = 64;

/// Something that the session wants sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) enum Output {
    Binary(Bytes),
    Text(String),
    Close(u16, String),
    /// The connection ends without a close frame.
    End,
}

impl Output {
    /// What it weighs against [`MAX_UNWRITTEN_BYTES`].
    fn weight(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len() + OUTPUT_OVERHEAD_BYTES,
            Self::Text(text) => text.len() + OUTPUT_OVERHEAD_BYTES,
            Self::Close(..) | Self::End => 0,
        }
    }
}

/// The outputs that are not written yet, in their order.
#[derive(Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    pub(super) bytes: usize,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.bytes += output.weight();
        self.queue.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        let output = self.queue.pop_front()?;
        self.bytes -= output.weight();
        Some(output)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether enough wait that no input is processed.
    pub(super) fn are_many(&self) -> bool {
        self.bytes >= MAX_UNWRITTEN_BYTES
    }
}
