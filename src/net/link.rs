//! One open socket, driven by whoever has it: moves bytes between it and the boxes.
//!
//! A turn reads what has come, exchanges once with the caller's threads under their lock, and writes what there is to
//! write. It never waits, and never holds the boxes' lock during a system call.
//!
//! ```text
//!   open -- close() --> flushing -- queue is empty --> awaiting the peer's close frame --+
//!    |                                                                                   +--> lost
//!    +-- the peer closes --------------------> flushing the close frame -----------------+
//!    +-- the peer breaks the protocol -------> failing (answers) --> flushing the close -+
//!    +-- writing fails ----------------------> draining reads ---------------------------+
//! ```

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    driven::Side,
    recorder::{Close, Recorder},
    shared::Shared,
    socket::Socket,
    writer::{Progress, Writer},
};
use crate::{
    core::{
        frame::{FrameReader, Role},
        heartbeat::Heartbeat,
        inbound::{Consequence, Inbound},
        outbox::{Leftover, Written},
        session::Loss,
    },
    error::Error,
};

mod ending;
mod exchange;
mod reading;
mod work;
mod writing;

use ending::{Ending, broken};
pub(super) use work::Work;

/// The most rounds of a turn before other links of the thread have theirs.
const MAX_ROUNDS: usize = 4;
/// The bytes from which on messages are read without the GIL.
const MIN_WITHOUT_GIL_BYTES: usize = 64 << 10;

/// An event that ends or turns the life of a link.
#[derive(Debug)]
pub(super) enum Event {
    /// The token was refused in band.
    Unauthorized,
    /// The server's session is over.
    SessionOver,
    /// Nothing is under way, as was asked for, and nothing more will be.
    Unused,
    /// The socket is gone.
    Lost(Loss),
    /// Its turn panicked: no more is to be done with it.
    Panicked(Error),
}

/// The outcome of a turn.
#[derive(Default)]
pub(super) struct Turn {
    /// The session is to be told of it. The link stands still until it is driven again.
    pub(super) event: Option<Event>,
    /// There is more to read at once.
    pub(super) more_to_read: bool,
    /// There is more to write at once.
    pub(super) more_to_write: bool,
    /// The next message is so large that writing it is the I/O thread's.
    pub(super) for_io_thread: bool,
    /// The bytes that were read.
    pub(super) read_bytes: usize,
    /// When the next timer is due.
    pub(super) deadline: Option<Instant>,
}

pub(super) struct Link {
    pub(super) socket: Socket,
    reader: FrameReader,
    writer: Writer,
    inbound: Inbound,
    heartbeat: Heartbeat,
    /// How long the newest pong took, until the caller's threads know.
    latency: Option<Duration>,
    leftover: Bytes,
    /// The size of the last message: the next one is probably like it.
    last_size: usize,
    /// More had come than was read at once.
    piled_up: bool,
    /// The bytes that this turn has read.
    read_bytes: usize,
    written: Written,
    ending: Ending,
    /// The first close frame, for a recording.
    first_close: Option<Close>,
    /// When the ending must be over.
    ends_by: Option<Instant>,
    accepted: bool,
    may_write: bool,
    /// To be ended when nothing is under way; `false`: now, or not at all.
    ends_when_unused: Option<bool>,
    /// The system has taken all it can.
    blocked: bool,
    paused: bool,
    /// The caller has closed and takes no more: what still comes is read, so that the peer gets to our close frame, and
    /// dropped.
    discarding: bool,
    consequence: Consequence,
    close_timeout: Duration,
    /// The bytes of the largest message that is taken.
    max_message_size: usize,
    /// The recorder of what comes.
    recorder: Option<Arc<Recorder>>,
}

impl Link {
    pub(super) fn new(shared: &Shared, socket: Socket, leftover: Bytes) -> Self {
        let settings = &shared.settings;
        let mut heartbeat =
            Heartbeat::new(settings.ping_interval, settings.ping_timeout, settings.busy_timeout);
        heartbeat.start(Instant::now());
        shared.reads_much.store(false, Ordering::Relaxed);
        Self {
            reader: FrameReader::new(settings.limits, Role::Client),
            writer: Writer::default(),
            inbound: Inbound::new(settings.dialect),
            heartbeat,
            latency: None,
            leftover,
            last_size: 0,
            piled_up: false,
            read_bytes: 0,
            written: Written::default(),
            ending: Ending::None,
            first_close: None,
            ends_by: None,
            accepted: false,
            may_write: true,
            ends_when_unused: None,
            blocked: false,
            paused: false,
            discarding: false,
            consequence: Consequence::Nothing,
            close_timeout: settings.close_timeout,
            max_message_size: settings.limits.max_message_size,
            recorder: None,
            socket,
        }
    }

    /// From now on what passes is recorded by this one.
    pub(super) fn set_recorder(&mut self, recorder: Option<Arc<Recorder>>) {
        self.recorder.clone_from(&recorder);
        self.writer.set_recorder(recorder);
    }

    /// Gives up the socket, with what is left of its messages.
    pub(super) fn abandon(self) -> (Socket, Leftover) {
        (self.socket, self.writer.abandon(self.written))
    }

    /// Whether what comes is to be read.
    pub(super) fn reads(&self) -> bool {
        (!self.paused || self.discarding) && !self.has_stopped_reading()
    }

    /// The system has taken all it can.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Does what is to be done now.
    pub(super) fn turn(&mut self, shared: &Shared, work: Work, side: Side) -> Turn {
        if work.has(Work::WRITABLE) {
            self.blocked = false;
        }
        if work.has(Work::READ) {
            self.socket.may_be_readable();
        }
        let mut turn = Turn::default();
        let mut reads = work.has(Work::READ);
        for _ in 0..MAX_ROUNDS {
            turn.event = self.take_verdict();
            if turn.event.is_some() || !self.round(shared, work, side, &mut reads, &mut turn) {
                break;
            }
        }
        if turn.event.is_none() && (turn.more_to_read || turn.more_to_write) {
            // A server that sends, or takes, without a pause does not stop the clock.
            turn.event = self.tend_in_time(&mut turn.more_to_write);
        }
        if self.written.messages > 0 && turn.event.is_none() {
            // The last round has written: that is accounted for at once, and may have made room for more.
            turn.for_io_thread |= self.exchange(shared, side).for_io_thread;
            turn.more_to_write |= self.writer.has_work();
        }
        turn.event = turn.event.or_else(|| self.take_verdict());
        turn.read_bytes = std::mem::take(&mut self.read_bytes);
        if turn.read_bytes > 0 {
            self.expect_much(shared);
        }
        self.writer.rest();
        turn.deadline = [turn.deadline, self.deadline()].into_iter().flatten().min();
        turn
    }

    /// Reads, exchanges and writes once. Answers whether there is reason to go on.
    fn round(&mut self, shared: &Shared, work: Work, side: Side, reads: &mut bool, turn: &mut Turn) -> bool {
        turn.more_to_read = *reads
            && match self.read(shared) {
                Ok(more) => more,
                Err(loss) => self.fail(loss),
            };
        let exchanged = self.exchange(shared, side);
        turn.for_io_thread = exchanged.for_io_thread;
        turn.deadline = exchanged.deadline;
        if self.consequence != Consequence::Nothing {
            return true;
        }
        let progress = match self.write(side) {
            Ok(progress) => progress,
            Err(error) => {
                turn.event = self.write_failed(broken(&error)).map(Event::Lost);
                if turn.event.is_some() && !self.inbound.is_empty() {
                    self.exchange(shared, side);
                }
                // What has come is read to its end.
                *reads = true;
                self.socket.may_be_readable();
                return turn.event.is_none();
            }
        };
        if self.writer.take_ping_moved() {
            self.heartbeat.ping_moved(Instant::now(), || self.socket.sent());
        }
        if progress == Progress::Done {
            turn.event = self.flushed().map(Event::Lost);
            if turn.event.is_some() {
                return false;
            }
        }
        turn.more_to_write = progress == Progress::More
            || (progress == Progress::Done && exchanged.held_back && !exchanged.for_io_thread);
        let has_more = turn.more_to_read || turn.more_to_write || self.consequence != Consequence::Nothing;
        if has_more || (self.written.messages > 0 && self.account(shared)) {
            return true;
        }
        // The clock is read only where it may matter.
        if !(work.has_timers() || self.ends_by.is_some()) {
            return false;
        }
        let now = Instant::now();
        let deadline = if work.has_timers() { self.deadline() } else { self.ends_by };
        let is_due = deadline.is_some_and(|at| at <= now);
        if is_due {
            turn.event = self.tend(now).map(Event::Lost);
        }
        // A timer may have made work.
        is_due && turn.event.is_none()
    }

    /// Says whether so much will probably be read at once that it is better done without the GIL.
    fn expect_much(&self, shared: &Shared) {
        let much = self.last_size >= MIN_WITHOUT_GIL_BYTES || self.reader.buffered() >= MIN_WITHOUT_GIL_BYTES;
        if much != shared.reads_much.load(Ordering::Relaxed) {
            shared.reads_much.store(much, Ordering::Relaxed);
        }
    }

    /// Runs the timers that are due.
    fn tend_in_time(&mut self, more_to_write: &mut bool) -> Option<Event> {
        let now = Instant::now();
        if self.deadline().is_none_or(|at| at > now) {
            return None;
        }
        let lost = self.tend(now).map(Event::Lost);
        *more_to_write |= self.writer.has_work();
        lost
    }

    fn take_verdict(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.consequence, Consequence::Nothing) {
            Consequence::Nothing => None,
            Consequence::Unauthorized => Some(Event::Unauthorized),
            Consequence::SessionOver => Some(Event::SessionOver),
            Consequence::Unused => Some(Event::Unused),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.heartbeat.deadline(), self.ends_by].into_iter().flatten().min()
    }
}
