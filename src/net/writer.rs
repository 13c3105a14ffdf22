//! The way to the socket: masks and frames messages into one staging buffer, small ones many at a time, large ones
//! piece by piece, and knows what of it has been written, so that what was not can be sent again.
//!
//! A message keeps its payload as it was until it is written: masking happens on the way into the staging buffer, which
//! is small enough to stay in the processor's cache until the operating system has taken it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::Arc,
};

use bytes::Bytes;

use self::large::{Large, stage};
use super::{mask_keys, recorder::Recorder};
use crate::core::{
    frame::{Control, MAX_HEADER, close_payload, write_header},
    message::Outgoing,
    outbox::Written,
    payload::{Cursor, LARGE_BYTES},
};

mod control;
mod large;
mod leftover;

/// The bytes that a pulled large message counts for: nothing else is pulled behind it.
const LARGE_MESSAGE_WEIGHT: usize = usize::MAX / 2;
/// The bytes up to which the staging buffer is filled.
const STAGING_BYTES: usize = 64 << 10;
/// The most spare staging buffers that a thread keeps. Connections that write at the same time are few; connections are
/// many.
const MAX_SPARE_BUFFERS: usize = 4;
/// The most outgoing messages that an idle connection keeps room for.
const MAX_IDLE_MESSAGES: usize = 16;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A small message whose frame is in the staging buffer, which it starts and ends at.
struct Staged {
    message: Outgoing,
    start: usize,
    end: usize,
}

/// The progress of a call of [`Writer::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is with the operating system.
    Done,
    /// There is more to write of a large message: others may have a turn first.
    More,
    /// The operating system takes no more for now.
    Blocked,
}

#[derive(Default)]
pub(super) struct Writer {
    staging: Vec<u8>,
    at: usize,
    staged: VecDeque<Staged>,
    large: Option<Large>,
    /// Control frames that follow a large message which is partly written.
    behind: Vec<u8>,
    unflushed: bool,
    /// Messages taken under the lock, to be framed outside of it.
    pulled: VecDeque<Outgoing>,
    pulled_bytes: usize,
    /// A close frame is to follow everything else.
    closing: Option<(u16, Box<str>)>,
    /// Messages that are not to be written on this socket any more.
    aside: Vec<Outgoing>,
    /// The answer to the newest ping, for which there is no room yet.
    pong: Option<Bytes>,
    /// Our ping is not with the operating system yet.
    ping_waits: bool,
    /// Since it was last asked, the operating system has taken the ping, or some of what it waits behind.
    ping_moved: bool,
    /// The recorder of what is written.
    recorder: Option<Arc<Recorder>>,
}

impl Writer {
    /// From now on what is written is recorded by this one.
    pub(super) fn set_recorder(&mut self, recorder: Option<Arc<Recorder>>) {
        self.recorder = recorder;
    }

    /// Room for another message. Without this, messages stay where a newer one may still take their place.
    pub(super) fn wants(&self, next: usize) -> bool {
        self.large.is_none()
            && self.at == 0
            && if next < LARGE_BYTES {
                self.pulled_bytes < LARGE_MESSAGE_WEIGHT
                    && self.staging.len() + self.pulled_bytes + next < STAGING_BYTES
            } else {
                self.staging.is_empty() && self.pulled.is_empty()
            }
    }

    /// Takes a message, to be framed a little later.
    pub(super) fn pull(&mut self, message: Outgoing) {
        let size = message.payload.len();
        self.pulled_bytes += if size < LARGE_BYTES { size + MAX_HEADER } else { LARGE_MESSAGE_WEIGHT };
        self.pulled.push_back(message);
    }

    /// The queue for messages that are small together, which go all at once, and how many bytes there is room for;
    /// `None` while that is no question of bytes alone.
    pub(super) fn pull_all(&mut self) -> Option<(&mut VecDeque<Outgoing>, usize)> {
        let is_free =
            self.large.is_none() && self.at == 0 && self.pulled.is_empty() && self.staging.is_empty();
        is_free.then_some((&mut self.pulled, LARGE_BYTES))
    }

    /// Whether there is something to be written.
    pub(super) fn has_work(&self) -> bool {
        self.at < self.staging.len()
            || self.large.is_some()
            || self.pong.is_some()
            || self.closing.is_some()
            || self.unflushed
    }

    /// The size of the message that is on its way piece by piece.
    pub(super) fn large_bytes(&self) -> Option<usize> {
        self.large.as_ref().map(Large::len)
    }

    /// Frames what was pulled.
    pub(super) fn frame(&mut self) {
        let mut pulled = std::mem::take(&mut self.pulled);
        for message in pulled.drain(..) {
            self.push(message);
        }
        self.pulled = pulled;
        self.pulled_bytes = 0;
    }

    /// Sends a close frame behind everything else.
    pub(super) fn close(&mut self, code: u16, reason: Box<str>) {
        self.closing = Some((code, reason));
    }

    /// Our close frame waits for what is before it.
    pub(super) fn is_close_waiting(&self) -> bool {
        self.closing.is_some()
    }

    /// Takes a large message out of the staging buffer again, if none of it has been written.
    fn unstage(&mut self) {
        if let Some(large) = &mut self.large
            && !large.is_partly_written()
            && large.is_staged()
        {
            large.start_over();
            self.staging.clear();
        }
    }

    /// Frames a message.
    fn push(&mut self, message: Outgoing) {
        if message.payload.len() >= LARGE_BYTES {
            self.large = Some(Large::new(message, mask_keys::next()));
            return;
        }
        self.borrow_buffer();
        let start = self.staging.len();
        frame(&mut self.staging, &message);
        self.staged.push_back(Staged { message, start, end: self.staging.len() });
    }

    /// Writes what there is: of a large message one piece at a time.
    pub(super) fn write(&mut self, stream: &mut impl Write, written: &mut Written) -> io::Result<Progress> {
        let mut staged = false;
        loop {
            if self.at < self.staging.len() {
                let bytes = self.staging.get(self.at..).unwrap_or_default();
                let count = match stream.write(bytes) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                    Err(error) => return Err(error),
                };
                self.unflushed = true;
                self.at += count;
                self.ping_moved |= self.ping_waits;
                self.release(written);
            } else if self.large.is_some() {
                if std::mem::replace(&mut staged, true) {
                    return Ok(Progress::More);
                }
                self.stage_large(written);
            } else if let Some(payload) = self.pong.take() {
                self.push_control(Control::Pong, &payload);
            } else if let Some((code, reason)) = self.closing.take() {
                self.push_control(Control::Close, &close_payload(code, &reason));
            } else if self.unflushed {
                match stream.flush() {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                    outcome => outcome?,
                }
                self.unflushed = false;
            } else {
                self.ping_waits = false;
                return Ok(Progress::Done);
            }
        }
    }

    /// Something that is not a message, such as an answer of TLS, waits to be flushed.
    pub(super) fn flush_soon(&mut self) {
        self.unflushed = true;
    }

    /// The staging buffer is empty: the next piece of the large message, or what follows it.
    fn stage_large(&mut self, written: &mut Written) {
        self.borrow_buffer();
        let Some(large) = &mut self.large else { return };
        if !large.stage(&mut self.staging) {
            written.messages += 1;
            written.bytes += large.len();
            if let (Some(large), Some(recorder)) = (self.large.take(), &self.recorder) {
                recorder.sent(large.into_message());
            }
            self.staging.append(&mut self.behind);
        }
    }

    /// Counts what is written whole.
    fn release(&mut self, written: &mut Written) {
        if let Some(large) = &mut self.large {
            large.mark_written();
        }
        while self.staged.front().is_some_and(|staged| staged.end <= self.at) {
            if let Some(staged) = self.staged.pop_front() {
                written.messages += 1;
                written.bytes += staged.message.payload.len();
                if let Some(recorder) = &self.recorder {
                    recorder.sent(staged.message);
                }
            }
        }
        if self.at == self.staging.len() {
            self.at = 0;
            self.staging.clear();
        }
    }

    fn borrow_buffer(&mut self) {
        if self.staging.capacity() == 0 {
            self.staging = BUFFERS
                .with_borrow_mut(Vec::pop)
                .unwrap_or_else(|| Vec::with_capacity(STAGING_BYTES + LARGE_BYTES));
        }
    }

    /// Gives memory back: nothing will be written for a while.
    pub(super) fn rest(&mut self) {
        if self.staging.is_empty() && self.staging.capacity() > 0 {
            let buffer = std::mem::take(&mut self.staging);
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < MAX_SPARE_BUFFERS {
                    buffers.push(buffer);
                }
            });
        }
        if self.staged.is_empty() && self.staged.capacity() > MAX_IDLE_MESSAGES {
            self.staged = VecDeque::new();
        }
        if self.pulled.is_empty() && self.pulled.capacity() > MAX_IDLE_MESSAGES {
            self.pulled = VecDeque::new();
        }
    }
}

/// Appends the whole frame of a message.
pub(super) fn frame(out: &mut Vec<u8>, message: &Outgoing) {
    let (mask, len) = (mask_keys::next(), message.payload.len());
    write_header(out, message.kind, len, mask);
    stage(out, message, &mut Cursor::default(), mask, len);
}

#[cfg(test)]
mod tests;
