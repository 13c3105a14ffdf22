//! Reading: what comes from the socket, and what it means for the link.

use std::{cell::RefCell, io, sync::atomic::Ordering, time::Instant};

use bytes::{BufMut, Bytes};

use super::{
    Link, broken,
    ending::{ANSWER_TIME, Ending},
};
use crate::{
    core::{
        frame::{Control, Message, Violation, close_payload},
        inbound::Consequence,
        pool::{self, Recycled},
        session::Loss,
    },
    net::{recorder::Close, shared::Shared},
};

/// The bytes that are read at once. One buffer a thread: a connection that waits for bytes holds none.
const CHUNK_BYTES: usize = 64 << 10;
/// The bytes from which on a buffer is handed over with the messages in it, instead of their being copied.
const MIN_SHARED_BYTES: usize = CHUNK_BYTES / 4;
/// The part of such a buffer, one in so many, from which on a message is not copied out of it. Smaller ones are: the
/// last of a buffer's messages that waits to be taken holds all of it, which is to be no more than sixteen times the
/// message.
const IN_PLACE_PART: usize = 16;
/// The size up to which room for a message like the last one is given at once: where it has come whole, it stays where
/// it was read. What has come of it in part is copied.
const MAX_WHOLE_BYTES: usize = 240 << 10;
/// The bytes that are read at once after a larger message, or where another one begins behind a large one: the next one
/// is probably large too, and but for its beginning it is read straight into its place.
const HEAD_BYTES: usize = 4 << 10;
/// The size from which on a message is large in this sense.
const MIN_LARGE_READ_BYTES: usize = CHUNK_BYTES / 2;
/// The bytes that are read at once where large messages have piled up: of all but the last of them nothing is copied,
/// and far fewer system calls are made.
const BACKLOG_BYTES: usize = TURN_BYTES;
/// The size from which on messages are read into their place even then.
const IN_PLACE_BYTES: usize = BACKLOG_BYTES / 8;
/// The bytes that are read in one turn, so that one busy socket does not starve the others of its thread.
const TURN_BYTES: usize = 8 * CHUNK_BYTES;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The thread's buffer. Without memory it has no room, and reading into it is what fails.
fn take_buffer() -> Vec<u8> {
    let buffer = BUFFER.take();
    if buffer.capacity() == 0 { pool::take(CHUNK_BYTES).unwrap_or_default() } else { buffer }
}

impl Link {
    // --- reading ---

    /// Reads and understands what has come. Answers whether there may be more.
    pub(super) fn read(&mut self, shared: &Shared) -> Result<bool, Loss> {
        if !self.reads() {
            return Ok(false);
        }
        self.inbound.expects_answers |= shared.expects_answers.load(Ordering::Acquire);
        if !self.leftover.is_empty() {
            let bytes = std::mem::take(&mut self.leftover);
            self.understand(&bytes, Recycled::copy)?;
        }
        let mut room = TURN_BYTES;
        loop {
            if self.consequence != Consequence::Nothing {
                return Ok(true);
            }
            if self.has_stopped_reading() {
                return Ok(false);
            }
            // What TLS has read from the socket is read to its end: nobody would be called for it.
            if room == 0 && !self.socket.has_unread() {
                return Ok(true);
            }
            let read = match self.read_in_place()? {
                Some(read) => read,
                None => self.read_chunk(room)?,
            };
            match read {
                Ok(0) => {
                    return Err(Loss::Broken("the server ended the connection without a close frame".into()));
                }
                // A small read is a system call, too.
                Ok(count) => {
                    self.read_bytes += count;
                    room = room.saturating_sub(count.max(CHUNK_BYTES));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Reads the rest of a large message to where it belongs, and the beginning of what follows it. `None` where no such
    /// message is partly there.
    fn read_in_place(&mut self) -> Result<Option<io::Result<usize>>, Loss> {
        let (read, mut next) = {
            let Some(mut place) = self.reader.direct() else { return Ok(None) };
            let mut next = take_buffer();
            (self.socket.read_beyond(&mut place, &mut (&mut next).limit(HEAD_BYTES)), next)
        };
        let mut understood = Ok(());
        if let Ok(1..) = read {
            self.heartbeat.activity(Instant::now());
            understood = self.understand(&[], Recycled::copy);
            if understood.is_ok() && !next.is_empty() {
                understood = self.understand(&next, Recycled::copy);
            }
        }
        next.clear();
        BUFFER.set(next);
        understood.map(|()| Some(read))
    }

    fn read_chunk(&mut self, room: usize) -> Result<io::Result<usize>, Loss> {
        let mut buffer = take_buffer();
        let size = match self.last_size {
            0..MIN_LARGE_READ_BYTES => CHUNK_BYTES,
            // TLS gives no more than a record at a time.
            _ if self.socket.is_tls() => HEAD_BYTES,
            ..IN_PLACE_BYTES if self.piled_up && room >= BACKLOG_BYTES => BACKLOG_BYTES,
            size @ ..=MAX_WHOLE_BYTES => CHUNK_BYTES.max(size + size / 8),
            _ => HEAD_BYTES,
        };
        if size > buffer.capacity() {
            BUFFER.set(std::mem::replace(&mut buffer, pool::take(size).unwrap_or_default()));
        }
        let in_place = buffer.capacity() / IN_PLACE_PART;
        let read = self.socket.read_into(&mut (&mut buffer).limit(size));
        self.piled_up = matches!(read, Ok(count) if count >= size.min(IN_PLACE_BYTES));
        let mut understood = Ok(());
        if let Ok(1..) = read {
            self.heartbeat.activity(Instant::now());
            if buffer.len() >= MIN_SHARED_BYTES {
                let shared = Recycled::bytes(std::mem::take(&mut buffer));
                understood = self.understand(&shared, |payload| {
                    if payload.len() < in_place { Recycled::copy(payload) } else { shared.slice_ref(payload) }
                });
            } else {
                understood = self.understand(&buffer, Recycled::copy);
                buffer.clear();
            }
        }
        if size > CHUNK_BYTES {
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
                    if let Some(recorder) = &self.recorder {
                        recorder.received(kind, &payload);
                    }
                    let consequence = self.inbound.take(kind, payload);
                    if self.consequence == Consequence::Nothing {
                        self.consequence = consequence;
                    }
                }
                Ok(Some(Message::Ping(payload))) => self.writer.push_pong(payload),
                Ok(Some(Message::Pong(payload))) => {
                    self.latency = self.heartbeat.pong(Instant::now(), &payload).or(self.latency);
                }
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
        if self.writer.is_close_waiting() {
            // Ours never got out.
            self.first_close = None;
        }
        let loss = Loss::Close { code, reason };
        self.first_close.get_or_insert_with(|| Close::by_server(&loss));
        loss
    }

    /// Reads nothing more.
    pub(super) fn has_stopped_reading(&self) -> bool {
        matches!(self.ending, Ending::Failing(_) | Ending::FlushingClose(_))
    }

    fn violated(&mut self, violation: Violation) -> Result<(), Loss> {
        let answerable = self.accepted || self.inbound.has_result();
        if answerable && self.may_write && matches!(self.ending, Ending::None) {
            self.ending = Ending::Failing(violation);
            self.end_within(ANSWER_TIME);
            return Ok(());
        }
        Err(self.violate(violation))
    }

    pub(super) fn violate(&mut self, violation: Violation) -> Loss {
        self.writer.retract();
        self.first_close.get_or_insert_with(|| Close::by_client(violation.code, violation.reason));
        self.writer.push_control(Control::Close, &close_payload(violation.code, violation.reason));
        let Violation { code, reason, size } = violation;
        let why = match (code, size) {
            (1009, Some(size)) => format!(
                "the server sent a message of at least {size} bytes, which is more than max_message_size ({} bytes)",
                self.max_message_size
            ),
            (1009, None) => format!("the server sent a message that was not taken: {reason}"),
            _ => format!("the server broke the WebSocket protocol: {reason}"),
        };
        Loss::Refused { code, why }
    }
}
