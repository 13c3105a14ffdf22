//! The echo itself: frames of RFC 6455 in, the same frames unmasked out.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use fal_realtime::core::frame::{apply_mask, extend_masked, rotate};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::MAX_BACKLOG;

const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;
/// A segment of the output that has grown to this size is closed: the next frame starts a new one.
const SEGMENT: usize = 256 * 1024;
/// A frame of this size starts a segment of its own, so that it is never moved.
const LARGE: u64 = 32 * 1024;

/// From this much on, the rest of a frame is read to where it is answered from: it is not worth a read of its own before.
const DIRECT: u64 = 128 * 1024;

/// So many segments that were written are kept for the next ones: a client that sends ahead must not pay for fresh memory.
const MAX_SPARES: usize = 128;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What a binary message is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Its own payload.
    Same,
    /// The realistic image result, with the request's `request_id` if it has one.
    Image,
}

/// A frame that has been started.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    key: [u8; 4],
    /// How much of the payload is still to come, and how much of it was there (the mask goes on from there).
    left: u64,
    taken: usize,
    /// Where in the output its header and its payload start.
    start: usize,
    payload: usize,
}

/// The state of one connection. A frame is answered when it is there in full, as a server must that looks inside.
#[derive(Debug)]
pub(crate) struct Echo {
    reply: Reply,
    header: [u8; MAX_HEADER],
    header_length: usize,
    frame: Option<Frame>,
    /// What is being made: complete frames up to `complete`, then the start of one.
    output: Vec<u8>,
    complete: usize,
    /// What may be written, the first `written` bytes of the first segment have been; and the sum of its lengths.
    ready: VecDeque<Vec<u8>>,
    written: usize,
    backlog: usize,
    closing: bool,
}

impl Echo {
    pub(crate) fn new(reply: Reply) -> Self {
        Self {
            reply,
            header: [0; MAX_HEADER],
            header_length: 0,
            frame: None,
            output: Vec::new(),
            complete: 0,
            ready: VecDeque::new(),
            written: 0,
            backlog: 0,
            closing: false,
        }
    }

    /// Reads once: the rest of a large frame to where it is answered from, anything else through `scratch`.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(mut frame) = self.frame.take_if(|frame| frame.left >= DIRECT) else {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            self.feed(buffer.filled())?;
            return Poll::Ready(Ok(buffer.filled().len()));
        };
        let at = self.output.len();
        // Not much at a time, so that it is in the cache when it is unmasked.
        let mut room = (&mut self.output).limit(scratch.len().min(frame.left as usize));
        let read = pin!(stream.read_buf(&mut room)).poll(cx);
        let now = &mut self.output[at..];
        apply_mask(now, rotate(frame.key, frame.taken));
        frame.left -= now.len() as u64;
        frame.taken += now.len();
        self.go_on(frame);
        read
    }

    /// Takes what came from the client.
    pub(crate) fn feed(&mut self, mut input: &[u8]) -> io::Result<()> {
        while !input.is_empty() && !self.closing {
            let Some(mut frame) = self.frame.take() else {
                self.take_header(&mut input)?;
                continue;
            };
            let (now, rest) =
                input.split_at(input.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX)));
            extend_masked(&mut self.output, now, rotate(frame.key, frame.taken));
            frame.left -= now.len() as u64;
            frame.taken += now.len();
            input = rest;
            self.go_on(frame);
        }
        Ok(())
    }

    fn take_header(&mut self, input: &mut &[u8]) -> io::Result<()> {
        loop {
            let extended = match self.header[1] & 0x7F {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let need = if self.header_length < 2 { 2 } else { 2 + extended + 4 };
            let (now, rest) = input.split_at(input.len().min(need - self.header_length));
            self.header[self.header_length..][..now.len()].copy_from_slice(now);
            self.header_length += now.len();
            *input = rest;
            if self.header_length < need {
                return Ok(());
            }
            if need > 2 {
                return self.start(extended);
            }
        }
    }

    /// The header is complete: write ours, which is the same without the mask.
    fn start(&mut self, extended: usize) -> io::Result<()> {
        let [first, second, rest @ ..] = self.header;
        if second & 0x80 == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a client's frame must be masked"));
        }
        let mut length = [0; 8];
        length[8 - extended..].copy_from_slice(&rest[..extended]);
        let left = if extended == 0 { u64::from(second & 0x7F) } else { u64::from_be_bytes(length) };
        if left > MAX_BACKLOG as u64 / 2 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"));
        }
        let key = [rest[extended], rest[extended + 1], rest[extended + 2], rest[extended + 3]];
        let opcode = first & 0x0F;
        if left >= LARGE || self.output.len() >= SEGMENT {
            self.seal();
        }
        let start = self.output.len();
        self.output.reserve(usize::try_from(left).unwrap_or(0) + MAX_HEADER);
        self.output.push(if opcode == PING { first & 0xF0 | PONG } else { first });
        self.output.push(second & 0x7F);
        self.output.extend_from_slice(&rest[..extended]);
        let frame = Frame { opcode, key, left, taken: 0, start, payload: self.output.len() };
        self.header_length = 0;
        self.header[1] = 0;
        self.go_on(frame);
        Ok(())
    }

    fn go_on(&mut self, frame: Frame) {
        if frame.left > 0 {
            self.frame = Some(frame);
            return;
        }
        match frame.opcode {
            CLOSE => self.closing = true,
            PONG => self.output.truncate(frame.start),
            _ => {}
        }
        if frame.opcode == BINARY && self.reply == Reply::Image {
            let result = image_result(request_id(&self.output[frame.payload..]));
            self.output.truncate(frame.start);
            self.output.extend_from_slice(&[0x80 | BINARY, 126]);
            self.output.extend_from_slice(&(result.len() as u16).to_be_bytes());
            self.output.extend_from_slice(&result);
        }
        self.complete = self.output.len();
    }

    /// Lets the complete frames go.
    fn seal(&mut self) {
        if self.complete == 0 {
            return;
        }
        let mut rest = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        rest.extend_from_slice(&self.output[self.complete..]);
        self.output.truncate(self.complete);
        if let Some(frame) = &mut self.frame {
            frame.start -= self.complete;
            frame.payload -= self.complete;
        }
        self.complete = 0;
        self.backlog += self.output.len();
        self.ready.push_back(std::mem::replace(&mut self.output, rest));
    }

    /// What to write next.
    fn pending(&mut self) -> Option<&[u8]> {
        if self.ready.is_empty() {
            self.seal();
        }
        self.ready.front().map(|segment| &segment[self.written..])
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        if self.ready.front().is_none_or(|segment| self.written < segment.len()) {
            return;
        }
        self.written = 0;
        let Some(mut segment) = self.ready.pop_front() else { return };
        self.backlog -= segment.len();
        segment.clear();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < MAX_SPARES {
                spares.push(segment);
            }
        });
    }
}

/// Moves both directions as far as they go; ready when the connection is over.
pub(crate) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    echo: &mut Echo,
    scratch: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut readable = true;
        let mut taken = 0;
        while taken < scratch.len() && echo.backlog < MAX_BACKLOG && !echo.closing {
            let Poll::Ready(read) = echo.poll_read(stream, scratch, cx)? else {
                readable = false;
                break;
            };
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            taken += read;
        }
        let mut writable = true;
        while let Some(pending) = echo.pending() {
            match Pin::new(&mut *stream).poll_write(cx, pending)? {
                Poll::Ready(written) => echo.advance(written),
                Poll::Pending => {
                    writable = false;
                    break;
                }
            }
        }
        let flushed = Pin::new(&mut *stream).poll_flush(cx)?.is_ready();
        if echo.closing && writable && flushed {
            return Poll::Ready(Ok(()));
        }
        if echo.closing || !readable || (echo.backlog >= MAX_BACKLOG && !writable) {
            return Poll::Pending;
        }
    }
}

/// The msgpack string under the key `request_id`, header included.
fn request_id(payload: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\xaarequest_id";
    let value = &payload[memchr::memmem::find(payload, KEY)? + KEY.len()..];
    let length = match *value {
        [short @ 0xA0..=0xBF, ..] => 1 + usize::from(short & 0x1F),
        [0xD9, length, ..] => 2 + usize::from(length),
        _ => return None,
    };
    value.get(..length)
}

/// The result of an image app as the protocol page shows it, with 60,000 bytes of image.
fn image_result(request_id: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(61_000);
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(0xA0 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    out.push(0x86);
    text(&mut out, "images");
    out.extend_from_slice(&[0x91, 0x84]);
    text(&mut out, "content");
    out.extend_from_slice(&[0xC5, 0xEA, 0x60]); // bin 16 of 60,000 bytes
    out.resize(out.len() + 60_000, 0xD8);
    text(&mut out, "content_type");
    text(&mut out, "image/jpeg");
    text(&mut out, "width");
    out.extend_from_slice(&[0xCD, 0x02, 0x00]);
    text(&mut out, "height");
    out.extend_from_slice(&[0xCD, 0x02, 0x00]);
    text(&mut out, "timings");
    out.push(0x81);
    text(&mut out, "inference");
    out.push(0xCB);
    out.extend_from_slice(&0.05_f64.to_be_bytes());
    text(&mut out, "seed");
    out.extend_from_slice(&[0xCE, 0x00, 0x98, 0x96, 0x80]);
    text(&mut out, "num_inference_steps");
    out.push(0x03);
    text(&mut out, "request_id");
    out.extend_from_slice(request_id.unwrap_or(&[0xC0]));
    text(&mut out, "nsfw_content_detected");
    out.extend_from_slice(&[0x91, 0xC2]);
    out
}
