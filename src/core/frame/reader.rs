//! Bytes to messages.

use std::{mem, str};

use bytes::{BufMut, Bytes};

use super::super::{payload::LARGE_BYTES, pool::Recycled};
use super::{
    Limits, Message, MessageKind, Role, Violation, close,
    header::{Header, HeaderReader, Opcode},
    mask::apply_mask,
    partial::{Frame, NOT_UTF8, Partial, append},
};

/// The reader of one connection's frames. Owns the message that is partly there, and no heap memory when there is none.
#[derive(Debug)]
pub struct FrameReader {
    limits: Limits,
    role: Role,
    state: ReaderState,
    header: HeaderReader,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The data message being read; stays through the control frames between its fragments.
    message: Option<Partial>,
    /// The payload of the control frame being read.
    control: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum ReaderState {
    Open,
    /// A close frame was read.
    Closed,
    Failed(Violation),
}

impl FrameReader {
    /// A reader for a fresh connection.
    pub fn new(limits: Limits, role: Role) -> Self {
        Self {
            limits,
            role,
            state: ReaderState::Open,
            header: HeaderReader::default(),
            frame: None,
            message: None,
            control: Vec::new(),
        }
    }

    /// Consumes bytes from `input` up to the end of the next whole message and answers that message, or consumes
    /// all of it and answers `None`: more is wanted. Bytes after the message stay in `input`.
    ///
    /// After a close frame, whatever follows is consumed and ignored (RFC 6455, section 1.4).
    ///
    /// # Errors
    /// The peer broke the protocol. The partial message is gone, and every later call fails alike.
    #[inline]
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        self.feed_kept(input, Recycled::copy)
    }

    /// Like [`feed`](Self::feed); `keep` makes the payload of a message that lies whole in the input something that
    /// lasts, which may be a reference to the memory of the input instead of a copy.
    #[inline]
    pub fn feed_kept(
        &mut self,
        input: &mut &[u8],
        keep: impl Fn(&[u8]) -> Bytes,
    ) -> Result<Option<Message>, Violation> {
        match self.state {
            ReaderState::Open => {}
            ReaderState::Closed => {
                *input = &[];
                return Ok(None);
            }
            ReaderState::Failed(violation) => return Err(violation),
        }
        let result = self.read(input, keep);
        match &result {
            Ok(Some(Message::Close { .. })) => self.end(ReaderState::Closed),
            Err(violation) => self.end(ReaderState::Failed(*violation)),
            Ok(_) => {}
        }
        result
    }

    /// Room for the payload that is being read, to be filled straight from the socket, which saves the copy through
    /// the caller's chunk. Call [`feed`](Self::feed) with an empty input afterwards: it checks what came and answers
    /// the message if that completed it. `None` when less than [`LARGE_BYTES`] is missing of a data frame: read into
    /// a chunk then, which may hold many frames.
    #[inline]
    pub fn direct(&mut self) -> Option<impl BufMut + '_> {
        let frame = self.frame.as_ref().filter(|frame| !frame.opcode.is_control())?;
        let message = self.message.as_mut()?;
        let missing = frame.end - message.payload.len();
        if missing < LARGE_BYTES {
            return None;
        }
        // Without memory the reading of the next chunk will say so.
        message.reserve(frame, LARGE_BYTES, self.limits.max_message_size).ok()?;
        let payload = &mut message.payload;
        let room = missing.min(payload.capacity() - payload.len());
        Some(payload.limit(room))
    }

    /// The heap memory held, in bytes.
    pub fn buffered(&self) -> usize {
        self.control.capacity() + self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    fn end(&mut self, state: ReaderState) {
        self.state = state;
        self.frame = None;
        self.message = None;
        self.control = Vec::new();
    }

    #[inline]
    fn read(
        &mut self,
        input: &mut &[u8],
        keep: impl Fn(&[u8]) -> Bytes,
    ) -> Result<Option<Message>, Violation> {
        loop {
            let Some(frame) = self.frame else {
                let Some(header) = self.header.take(input, self.role)? else { return Ok(None) };
                let frame = self.admit(&header)?;
                if let Some(message) = whole(&frame, input, &keep)? {
                    return Ok(Some(message));
                }
                self.begin(frame);
                continue;
            };
            if frame.opcode.is_control() {
                append(&mut self.control, frame.end, input);
                if self.control.len() < frame.end {
                    return Ok(None);
                }
                self.frame = None;
                let mut payload = mem::take(&mut self.control);
                if let Some(key) = frame.key {
                    apply_mask(&mut payload, key);
                }
                return control_message(frame.opcode, payload.into()).map(Some);
            }
            let Some(message) = &mut self.message else { unreachable!("begin() starts a message") };
            let incoming = input.len().min(frame.end - message.payload.len());
            message.reserve(&frame, incoming, self.limits.max_message_size)?;
            append(&mut message.payload, frame.end, input);
            message.check(&frame)?;
            if message.payload.len() < frame.end {
                return Ok(None);
            }
            self.frame = None;
            if frame.fin
                && let Some(message) = self.message.take()
            {
                return message.finish().map(Some);
            }
        }
    }

    /// Checks a header against the limits and against what came before it.
    #[inline]
    fn admit(&self, header: &Header) -> Result<Frame, Violation> {
        let start = match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => {
                return Err(Violation::protocol("continuation frame without a message to continue"));
            }
            (Opcode::Data(_), Some(_)) => {
                return Err(Violation::protocol("new message inside a fragmented one"));
            }
            (Opcode::Continuation, Some(message)) => {
                if message.fragments >= self.limits.max_fragments {
                    return Err(Violation::too_big("too many fragments"));
                }
                message.payload.len()
            }
            _ => 0,
        };
        let room = self.limits.max_message_size.saturating_sub(start).min(self.limits.max_frame_size);
        if !header.opcode.is_control() && header.len > room as u64 {
            let size = (start as u64).saturating_add(header.len);
            return Err(Violation { size: Some(size), ..Violation::too_big("message too big") });
        }
        let end = start + header.len as usize;
        Ok(Frame { opcode: header.opcode, fin: header.fin, key: header.key, start, end })
    }

    /// Makes ready for the payload of `frame`.
    fn begin(&mut self, frame: Frame) {
        match (frame.opcode, &mut self.message) {
            (Opcode::Data(kind), _) => {
                self.message = Some(Partial::new(kind));
            }
            (Opcode::Continuation, Some(message)) => message.fragments += 1,
            _ => {}
        }
        self.frame = Some(frame);
    }
}

/// The fast path: an unfragmented message, all of it in `input`.
#[inline]
fn whole(
    frame: &Frame,
    input: &mut &[u8],
    keep: impl Fn(&[u8]) -> Bytes,
) -> Result<Option<Message>, Violation> {
    if !frame.fin || frame.opcode == Opcode::Continuation {
        return Ok(None);
    }
    let Some((payload, rest)) = input.split_at_checked(frame.end) else { return Ok(None) };
    *input = rest;
    let payload = match frame.key {
        None => keep(payload),
        Some(key) => {
            let mut payload = payload.to_vec();
            apply_mask(&mut payload, key);
            payload.into()
        }
    };
    match frame.opcode {
        Opcode::Data(kind) => {
            if kind == MessageKind::Text && str::from_utf8(&payload).is_err() {
                return Err(NOT_UTF8);
            }
            Ok(Some(Message::Data { kind, payload }))
        }
        opcode => control_message(opcode, payload).map(Some),
    }
}

fn control_message(opcode: Opcode, payload: Bytes) -> Result<Message, Violation> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        _ => close::parse(&payload),
    }
}
