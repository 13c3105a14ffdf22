//! The way to the socket: frames small messages into one staging buffer, large ones in place, and knows what of
//! it has been written, so that what was not can be sent again.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::core::{
    frame::{Control, HEADROOM, close_payload, seal, unseal, write_control, write_small},
    outbox::Outgoing,
    pool,
};

/// From this size on a message is framed in place instead of being copied: 16 KiB.
const LARGE: usize = 16 << 10;
/// What a pulled large message counts for: nothing else is pulled behind it.
const LARGE_PULLED: usize = usize::MAX / 2;
/// The staging buffer is filled up to this.
const STAGING: usize = 64 << 10;
/// Spare staging buffers that a thread keeps. Connections that write at the same time are few; connections are many.
const SPARE: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A message whose frame is in the staging buffer, which it starts and ends at.
struct Staged {
    message: Outgoing,
    start: usize,
    end: usize,
}

/// A large message, framed in place.
struct Sealed {
    message: Outgoing,
    start: usize,
    at: usize,
}

/// What became of the messages of a lost socket.
pub(super) struct Leftover {
    /// Not a byte of these was written; in their order.
    pub(super) untouched: Vec<Outgoing>,
    /// The messages whose write had begun.
    pub(super) torn: usize,
    /// What was written and has not been accounted for.
    pub(super) written: Written,
}

/// How many messages a step has written, and their payload.
#[derive(Default, Clone, Copy)]
pub(super) struct Written {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Default)]
pub(super) struct Writer {
    staging: Vec<u8>,
    at: usize,
    staged: VecDeque<Staged>,
    large: Option<Sealed>,
    unflushed: bool,
    /// Messages taken under the lock, to be framed outside of it.
    pulled: Vec<Outgoing>,
    pulled_bytes: usize,
    /// A close frame is to follow everything else.
    closing: bool,
    /// Messages that are not to be written on this socket any more.
    aside: Vec<Outgoing>,
    /// The answer to the newest ping, for which there is no room yet.
    pong: Option<Bytes>,
}

impl Writer {
    /// Room for another message. Without this, messages stay where a newer one may still take their place.
    pub(super) fn wants(&self, next: usize) -> bool {
        self.large.is_none()
            && self.at == 0
            && if next < LARGE {
                self.pulled_bytes < LARGE_PULLED && self.staging.len() + self.pulled_bytes + next < STAGING
            } else {
                self.staging.is_empty() && self.pulled.is_empty()
            }
    }

    /// Takes a message, to be framed a little later.
    pub(super) fn pull(&mut self, message: Outgoing) {
        let size = message.payload().len();
        self.pulled_bytes += if size < LARGE { size + HEADROOM } else { LARGE_PULLED };
        self.pulled.push(message);
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

    /// Sends a close frame with code 1000 behind everything else.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Puts messages aside whose write has not begun: a peer that has closed would not read them, and they can still
    /// be sent on another socket. What has begun stays, for a frame to follow it.
    pub(super) fn retract(&mut self) {
        self.pong = None;
        if let Some(first) = self.staged.iter().position(|staged| staged.start >= self.at) {
            let cut = self.staged.get(first).map_or(0, |staged| staged.start);
            // Pongs behind the cut go too: a peer that closes does not wait for them.
            self.staging.truncate(cut);
            self.aside.extend(self.staged.drain(first..).map(|staged| staged.message));
            self.release(&mut Written::default());
        }
        if let Some(mut large) = self.large.take_if(|large| large.at == large.start) {
            unseal(&mut large.message.buffer, large.start);
            self.aside.push(large.message);
        }
    }

    /// Frames a message.
    fn push(&mut self, mut message: Outgoing) {
        let mask = fastrand::u32(..).to_ne_bytes();
        if message.payload().len() < LARGE {
            self.borrow_buffer();
            let start = self.staging.len();
            write_small(&mut self.staging, message.kind, message.payload(), mask);
            self.staged.push_back(Staged { message, start, end: self.staging.len() });
        } else {
            let start = seal(&mut message.buffer, message.kind, mask);
            self.large = Some(Sealed { message, start, at: start });
        }
    }

    /// Frames a control message. It goes out before a large message whose write has not begun, and behind one whose
    /// write has.
    pub(super) fn push_control(&mut self, kind: Control, payload: &[u8]) {
        self.borrow_buffer();
        write_control(&mut self.staging, kind, payload, fastrand::u32(..).to_ne_bytes());
    }

    /// Answers a ping. While the peer does not take what is staged, only the newest of its pings will be answered (RFC
    /// 6455, section 5.5.3): a peer that pings and does not read would make the answers pile up.
    pub(super) fn push_pong(&mut self, payload: Bytes) {
        if self.staging.len() < STAGING {
            self.push_control(Control::Pong, &payload);
        } else {
            self.pong = Some(payload);
        }
    }

    /// Writes what there is. `Ready` when all of it is with the operating system.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        written: &mut Written,
    ) -> Poll<io::Result<()>> {
        loop {
            // A frame once begun is finished before anything else is written.
            let begun = self.large.as_ref().is_some_and(|large| large.at > large.start);
            if !begun && self.at < self.staging.len() {
                let bytes = self.staging.get(self.at..).unwrap_or_default();
                let count = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unflushed = true;
                self.at += count;
                self.release(written);
            } else if let Some(large) = &mut self.large {
                let bytes = large.message.buffer.get(large.at..).unwrap_or_default();
                let count = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unflushed = true;
                large.at += count;
                if large.at == large.message.buffer.len() {
                    written.messages += 1;
                    written.bytes += large.message.payload().len();
                    if let Some(large) = self.large.take() {
                        pool::give(large.message.buffer);
                    }
                }
            } else if let Some(payload) = self.pong.take() {
                self.push_control(Control::Pong, &payload);
            } else if std::mem::take(&mut self.closing) {
                self.push_control(Control::Close, &close_payload(1000, ""));
            } else if self.unflushed {
                ready!(Pin::new(&mut *stream).poll_flush(context))?;
                self.unflushed = false;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Counts the staged messages that are written whole.
    fn release(&mut self, written: &mut Written) {
        while self.staged.front().is_some_and(|staged| staged.end <= self.at) {
            if let Some(staged) = self.staged.pop_front() {
                written.messages += 1;
                written.bytes += staged.message.payload().len();
                pool::give(staged.message.buffer);
            }
        }
        if self.at == self.staging.len() {
            self.at = 0;
            self.staging.clear();
        }
    }

    fn borrow_buffer(&mut self) {
        if self.staging.capacity() == 0 {
            self.staging =
                BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(STAGING + LARGE));
        }
    }

    /// Gives memory back: nothing will be written for a while.
    pub(super) fn rest(&mut self) {
        if self.staging.is_empty() && self.staging.capacity() > 0 {
            let buffer = std::mem::take(&mut self.staging);
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < SPARE {
                    buffers.push(buffer);
                }
            });
        }
        if self.staged.is_empty() && self.staged.capacity() > 16 {
            self.staged = VecDeque::new();
        }
    }

    /// The socket is lost: what of the messages can be sent again?
    pub(super) fn abandon(self, written: Written) -> Leftover {
        let mut leftover = Leftover { untouched: self.aside, torn: 0, written };
        for staged in self.staged {
            // Those that were written whole are gone from the queue, so at most one is torn.
            if staged.start < self.at {
                leftover.torn += 1;
            } else {
                leftover.untouched.push(staged.message);
            }
        }
        if let Some(mut large) = self.large {
            if large.at > large.start {
                leftover.torn += 1;
            } else {
                unseal(&mut large.message.buffer, large.start);
                leftover.untouched.push(large.message);
            }
        }
        leftover.untouched.extend(self.pulled);
        leftover
    }
}

#[cfg(test)]
mod tests;
