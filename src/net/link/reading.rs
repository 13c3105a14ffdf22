//! What comes from the socket, and what it means for the link.

use std::{
    cell::RefCell,
    io,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{BufMut, Bytes};
use tokio::io::AsyncReadExt;

use super::{ANSWERS, Ending, Link, broken};
use crate::{
    core::{
        frame::{Control, Message, Violation, close_payload},
        pool::{self, Recycled},
        session::Loss,
    },
    error::{Error, ErrorKind},
    net::intake::Verdict,
};

/// What is read at once. One buffer a thread: a connection that waits for bytes holds none.
const CHUNK: usize = 64 << 10;
/// A buffer with so much in it is handed over with the messages in it, instead of their being copied.
const HANDED_OVER: usize = CHUNK / 4;
/// Messages from this part of such a buffer on are not copied out of it. Smaller ones are: the last of a buffer's messages
/// that waits to be taken holds all of it, which is to be no more than sixteen times the message.
const IN_PLACE: usize = 16;
/// What is read at once after a large message: the next one is probably large too, and but for its beginning it is read
/// straight into its place.
const BEGINNING: usize = 4 << 10;
/// A message that is large in this sense.
const LARGE: usize = CHUNK / 2;
/// What is read at once where large messages have piled up: of all but the last of them nothing is copied, and far fewer
/// system calls are made.
const PILE: usize = AT_ONCE;
/// Messages from this size on are read into their place even then.
const HUGE: usize = PILE / 8;
/// What is read in one turn, so that one busy socket does not starve the others of its thread.
const AT_ONCE: usize = 8 * CHUNK;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Link {
    // --- reading ---

    /// Reads and understands what has come. Answers whether there may be more.
    pub(super) fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Loss> {
        if (self.paused && !self.discarding) || self.hears_no_more() {
            return Ok(false);
        }
        self.intake.expects_answers |= self.connection.expects_answers.load(Ordering::Acquire);
        if !self.leftover.is_empty() {
            let bytes = std::mem::take(&mut self.leftover);
            self.understand(&bytes, Recycled::copy)?;
        }
        let mut room = AT_ONCE;
        while room > 0 {
            if self.verdict != Verdict::Nothing {
                return Ok(true);
            }
            if self.hears_no_more() {
                return Ok(false);
            }
            let direct = match self.reader.direct() {
                Some(mut room) => {
                    let read = std::pin::pin!(self.socket.read_buf(&mut room));
                    Some(read.poll(context))
                }
                None => None,
            };
            let poll = match direct {
                Some(poll) => {
                    if let Poll::Ready(Ok(1..)) = poll {
                        self.heartbeat.activity(Instant::now());
                        self.understand(&[], Recycled::copy)?;
                    }
                    poll
                }
                None => self.read_chunk(context, room)?,
            };
            match poll {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => {
                    return Err(Loss::Broken("the server ended the connection without a close frame".into()));
                }
                // A small read is a system call, too.
                Poll::Ready(Ok(count)) => room = room.saturating_sub(count.max(CHUNK)),
                Poll::Ready(Err(error)) => return Err(broken(&error)),
            }
        }
        Ok(true)
    }

    fn read_chunk(
        &mut self,
        context: &mut Context<'_>,
        room: usize,
    ) -> Result<Poll<io::Result<usize>>, Loss> {
        let mut buffer = BUFFER.take();
        if buffer.capacity() == 0 {
            // Without memory, reading into it is what fails.
            buffer = pool::take(CHUNK).unwrap_or_default();
        }
        let size = match self.last_size {
            // TLS gives no more than a record at a time.
            LARGE..HUGE if self.piled_up && room >= PILE && !self.socket.is_tls() => PILE,
            LARGE.. => BEGINNING,
            _ => CHUNK,
        };
        if size > buffer.capacity() {
            BUFFER.set(std::mem::replace(&mut buffer, pool::take(size).unwrap_or_default()));
        }
        let in_place = buffer.capacity() / IN_PLACE;
        let read = std::pin::pin!(self.socket.read_buf(&mut (&mut buffer).limit(size))).poll(context);
        self.piled_up = matches!(read, Poll::Ready(Ok(count)) if count >= size.min(HUGE));
        let mut understood = Ok(());
        if let Poll::Ready(Ok(1..)) = read {
            self.heartbeat.activity(Instant::now());
            if buffer.len() >= HANDED_OVER {
                let shared = Recycled::bytes(std::mem::take(&mut buffer));
                understood = self.understand(&shared, |payload| {
                    if payload.len() < in_place { Recycled::copy(payload) } else { shared.slice_ref(payload) }
                });
            } else {
                understood = self.understand(&buffer, Recycled::copy);
                buffer.clear();
            }
        }
        if size > CHUNK {
            pool::give(buffer);
        } else {
            BUFFER.set(buffer);
        }
        understood.map(|()| read)
    }

    fn understand(&mut self, mut bytes: &[u8], keep: impl Fn(&[u8]) -> Bytes) -> Result<(), Loss> {
        loop {
            match self.reader.feed_kept(&mut bytes, &keep) {
                Ok(None) => return Ok(()),
                Ok(Some(Message::Data { .. })) if self.discarding => {}
                Ok(Some(Message::Data { kind, payload })) => {
                    self.last_size = payload.len();
                    let verdict = self.intake.take(kind, payload);
                    if self.verdict == Verdict::Nothing {
                        self.verdict = verdict;
                    }
                }
                Ok(Some(Message::Ping(payload))) => self.writer.push_pong(payload),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close { code, reason })) => return Err(self.closed_by_peer(code, reason)),
                Err(violation) => return self.violated(violation),
            }
        }
    }

    fn closed_by_peer(&mut self, code: u16, reason: String) -> Loss {
        if !matches!(self.ending, Ending::AwaitingPeer) {
            self.writer.retract();
            // RFC 6455, section 5.5.1: the answer typically echoes the status code; 1005 stands for "none".
            let payload = if code == 1005 { Vec::new() } else { close_payload(code, "") };
            self.writer.push_control(Control::Close, &payload);
        }
        Loss::Close { code, reason }
    }

    /// Nothing more is read.
    fn hears_no_more(&self) -> bool {
        matches!(self.ending, Ending::Condemned(_) | Ending::LastWords(_))
    }

    fn violated(&mut self, violation: Violation) -> Result<(), Loss> {
        let answerable = self.accepted || self.intake.has_result();
        if answerable && self.may_write && matches!(self.ending, Ending::None) {
            self.ending = Ending::Condemned(violation);
            self.end_within(ANSWERS);
            return Ok(());
        }
        Err(self.condemn(violation))
    }

    pub(super) fn condemn(&mut self, violation: Violation) -> Loss {
        self.writer.retract();
        self.writer.push_control(Control::Close, &close_payload(violation.code, violation.reason));
        let message = format!("the server broke the WebSocket protocol: {}", violation.reason);
        let kind = match violation.code {
            1009 => ErrorKind::TooLarge,
            code => ErrorKind::Protocol { code },
        };
        self.intake.fail(Error::new(kind, message.clone()));
        Loss::Broken(message)
    }
}
