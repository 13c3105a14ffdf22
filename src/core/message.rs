//! A message between the caller and the socket, on either way, and the name of the request that it belongs to.

use bytes::Bytes;

use super::{frame::MessageKind, payload::Payload, ring::Weigh};

/// Names a request within its connection; is never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub(super) u64);

/// An encoded message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// What it says.
    pub payload: Payload,
    /// Binary, or text if a custom encoder gave a str.
    pub kind: MessageKind,
    /// The request that waits for the answer to this message.
    pub request: Option<RequestKey>,
}

impl Outgoing {
    /// The app is to expect no more inputs in this session: fal's apps take null, whatever their codec, for their end.
    pub(super) fn ends_inputs(&self) -> bool {
        self.payload.is_null()
    }

    /// The same message once more, if there is memory for it.
    pub(super) fn copy(&self) -> Option<Self> {
        let payload = self.payload.copy().ok()?;
        Some(Self { payload, kind: self.kind, request: self.request })
    }
}

impl Weigh for Outgoing {
    fn weight(&self) -> usize {
        self.payload.len()
    }
}

/// A result as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Binary or text.
    pub kind: MessageKind,
    /// The payload; text has been checked to be UTF-8.
    pub payload: Bytes,
}
