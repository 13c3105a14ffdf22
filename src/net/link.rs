//! One open socket: moves bytes between it and the boxes until it is lost.
//!
//! A turn reads what has come, meets the caller's threads once under their lock, and writes what there is to
//! write. It never holds the lock during a system call.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    time::Sleep,
};

use super::{
    handle::{Connection, Interest},
    intake::{Intake, Verdict},
    spin,
    transport::Stream,
    writer::{Leftover, Writer, Written},
};
use crate::{
    core::{
        frame::{Control, FrameReader, Message, Role, Violation, close_payload},
        heartbeat::{Beat, Heartbeat},
        session::Loss,
    },
    error::{Error, ErrorKind},
};

/// What is read at once. One buffer a thread: a connection that waits for bytes holds none.
const CHUNK: usize = 64 << 10;
/// Reads in one turn, so that one busy socket does not starve the others of its thread.
const READS: usize = 8;
/// Turns before the others of the thread come first.
const TURNS: usize = 16;
/// How long what was sent before a violation may be answered, before the connection is failed for it. A reader that takes
/// one message at a time would not have seen the violation yet.
const ANSWERS: Duration = Duration::from_millis(100);
/// How long an answer to the peer's close frame may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

thread_local! {
    static CHUNK_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What ends or turns the life of a link.
pub(super) enum Event {
    /// The first result came.
    Accepted,
    /// The token was refused in band.
    Unauthorized,
    /// The server's session is over.
    SessionOver,
    /// The caller closes.
    CloseAsked,
    /// The socket is gone.
    Lost(Loss),
}

/// How far the end of the link has come.
enum Ending {
    /// Not at all.
    None,
    /// We have asked to close: what is queued goes first, then the close frame.
    Flushing,
    /// Our close frame is on its way; the peer's is awaited.
    AwaitingPeer,
    /// The server broke the protocol; what it sent before that may still be answered.
    Condemned(Violation),
    /// Last words are being written; then this is the loss.
    LastWords(Loss),
}

pub(super) struct Link {
    connection: Arc<Connection>,
    stream: Stream,
    reader: FrameReader,
    writer: Writer,
    intake: Intake,
    heartbeat: Heartbeat,
    sleep: Pin<Box<Sleep>>,
    wake_at: Option<Instant>,
    leftover: Bytes,
    written: Written,
    ending: Ending,
    /// When the ending must be over.
    ends_by: Option<Instant>,
    accepted: bool,
    may_write: bool,
    /// Writing has failed, and this is how. What the server said before may still be there to be read.
    write_failed: Option<Loss>,
    close_asked: bool,
    paused: bool,
    verdict: Verdict,
}

impl Link {
    pub(super) fn new(connection: Arc<Connection>, stream: Stream, leftover: Bytes) -> Self {
        let settings = &connection.settings;
        let mut heartbeat = Heartbeat::new(settings.ping_interval, settings.ping_timeout);
        heartbeat.start(Instant::now());
        Self {
            reader: FrameReader::new(settings.limits, Role::Client),
            writer: Writer::default(),
            intake: Intake::new(settings.dialect),
            heartbeat,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            wake_at: None,
            leftover,
            written: Written::default(),
            ending: Ending::None,
            ends_by: None,
            accepted: false,
            may_write: true,
            write_failed: None,
            close_asked: false,
            paused: false,
            verdict: Verdict::Nothing,
            stream,
            connection,
        }
    }

    /// The server's session is over: what is queued is for the next one.
    pub(super) fn stop_writing(&mut self) {
        self.may_write = false;
        self.end_within(self.connection.settings.close_timeout);
    }

    /// Sends what is queued, then a close frame.
    pub(super) fn close(&mut self) {
        if matches!(self.ending, Ending::None) {
            self.ending = Ending::Flushing;
            self.end_within(self.connection.settings.close_timeout);
        }
    }

    fn end_within(&mut self, time: Duration) {
        let by = Instant::now() + time;
        self.ends_by = Some(self.ends_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// What is left of the messages that the socket had.
    pub(super) fn abandon(self) -> Leftover {
        self.writer.abandon(self.written)
    }

    /// Works until there is an event.
    pub(super) async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        spin::busy();
        for _ in 0..TURNS {
            if let Some(event) = self.take_verdict() {
                return Poll::Ready(event);
            }
            let more = match self.read(context) {
                Ok(more) => more,
                Err(loss) => self.fail(loss),
            };
            let met = self.meet(context);
            if let Some(event) = met.event {
                return Poll::Ready(event);
            }
            if !self.accepted && met.had_result {
                self.accepted = true;
                return Poll::Ready(Event::Accepted);
            }
            if self.verdict != Verdict::Nothing {
                continue;
            }
            if let Some(loss) = self.heard_out(more) {
                return Poll::Ready(Event::Lost(loss));
            }
            if self.write_failed.is_some() {
                continue;
            }
            let flushed = match self.writer.poll_write(context, &mut self.stream, &mut self.written) {
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
                Poll::Ready(Err(error)) => {
                    self.write_failed = Some(broken(&error));
                    self.may_write = false;
                    continue;
                }
            };
            if flushed && let Some(loss) = self.flushed() {
                return Poll::Ready(Event::Lost(loss));
            }
            let progress = more || self.written.messages > 0 || (flushed && (met.pulled || met.held_back));
            if !progress && self.verdict == Verdict::Nothing {
                match self.tend(context) {
                    Poll::Ready(Some(event)) => return Poll::Ready(event),
                    // The timer had something to do, which may have made work.
                    Poll::Ready(None) => {}
                    Poll::Pending => {
                        if met.parked {
                            self.writer.rest();
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_verdict(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.verdict, Verdict::Nothing) {
            Verdict::Nothing => None,
            Verdict::Unauthorized => Some(Event::Unauthorized),
            Verdict::SessionOver => Some(Event::SessionOver),
        }
    }

    /// Everything is with the operating system: was that the end?
    fn flushed(&mut self) -> Option<Loss> {
        match std::mem::replace(&mut self.ending, Ending::None) {
            Ending::LastWords(loss) => Some(loss),
            // Nobody reads, so the peer's close frame would not be seen.
            Ending::AwaitingPeer if self.paused => Some(Loss::Close { code: 1000, reason: String::new() }),
            other => {
                self.ending = other;
                None
            }
        }
    }

    /// Writing has failed and everything that had come was read (`more`: there may be more): how did it end? If the
    /// server said so, that counts.
    fn heard_out(&mut self, more: bool) -> Option<Loss> {
        if more {
            return None;
        }
        let failed = self.write_failed.take()?;
        match std::mem::replace(&mut self.ending, Ending::None) {
            Ending::LastWords(loss) => Some(loss),
            Ending::Condemned(violation) => Some(self.condemn(violation)),
            _ => Some(failed),
        }
    }

    /// The link ends with `loss`; what is staged (an answer to a close, or a complaint) is still written.
    fn fail(&mut self, loss: Loss) -> bool {
        if !matches!(self.ending, Ending::LastWords(_)) {
            self.ending = Ending::LastWords(loss);
            self.end_within(LAST_WORDS);
        }
        true
    }

    // --- reading ---

    /// Reads and understands what has come. Answers whether there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Loss> {
        if self.paused || self.hears_no_more() {
            return Ok(false);
        }
        if !self.leftover.is_empty() {
            let bytes = std::mem::take(&mut self.leftover);
            self.understand(&bytes)?;
        }
        for _ in 0..READS {
            if self.verdict != Verdict::Nothing {
                return Ok(true);
            }
            if self.hears_no_more() {
                return Ok(false);
            }
            let direct = match self.reader.direct() {
                Some(mut room) => {
                    let read = std::pin::pin!(self.stream.read_buf(&mut room));
                    Some(read.poll(context))
                }
                None => None,
            };
            let poll = match direct {
                Some(poll) => {
                    if let Poll::Ready(Ok(1..)) = poll {
                        self.heartbeat.activity(Instant::now());
                        self.understand(&[])?;
                    }
                    poll
                }
                None => self.read_chunk(context)?,
            };
            match poll {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => {
                    return Err(Loss::Broken("the server ended the connection without a close frame".into()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(broken(&error)),
            }
        }
        Ok(true)
    }

    fn read_chunk(&mut self, context: &mut Context<'_>) -> Result<Poll<io::Result<usize>>, Loss> {
        CHUNK_BUFFER.with_borrow_mut(|chunk| {
            let mut buffer = ReadBuf::new(chunk);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    let bytes = buffer.filled();
                    if !bytes.is_empty() {
                        self.heartbeat.activity(Instant::now());
                        self.understand(bytes)?;
                    }
                    Ok(Poll::Ready(Ok(bytes.len())))
                }
                Poll::Ready(Err(error)) => Ok(Poll::Ready(Err(error))),
                Poll::Pending => Ok(Poll::Pending),
            }
        })
    }

    fn understand(&mut self, mut bytes: &[u8]) -> Result<(), Loss> {
        loop {
            match self.reader.feed(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(Message::Data { kind, payload })) => {
                    let verdict = self.intake.take(kind, payload);
                    if self.verdict == Verdict::Nothing {
                        self.verdict = verdict;
                    }
                }
                Ok(Some(Message::Ping(payload))) => self.writer.push_control(Control::Pong, &payload),
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

    fn condemn(&mut self, violation: Violation) -> Loss {
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

    // --- meeting the caller's threads ---

    /// The one place where the lock is taken in a turn: hands over what came, accounts for what was written, pulls
    /// what is to be written.
    fn meet(&mut self, context: &mut Context<'_>) -> Met {
        let had_result = !self.accepted && self.intake.has_result();
        let mut met = Met { pulled: false, held_back: false, parked: false, had_result, event: None };
        let closing = matches!(self.ending, Ending::AwaitingPeer);
        let mut inner = self.connection.shared().lock();
        let mut kind = Interest::NONE;
        if !self.intake.is_empty() {
            kind = self.intake.deliver(&mut inner);
        }
        let written = std::mem::take(&mut self.written);
        if written.messages > 0 {
            inner.outbox.wrote(written.messages, written.bytes);
            if inner.outbox.pending() == 0 {
                kind = kind.and(Interest::DRAINED);
            }
        }
        if inner.commands.close && !self.close_asked {
            self.close_asked = true;
            met.event = Some(Event::CloseAsked);
        }
        if inner.outbox.deadline().is_some_and(|at| at <= Instant::now()) {
            for key in inner.outbox.tick(Instant::now()) {
                inner.inbox.requests.fail(key, displaced());
                kind = kind.and(Interest::ANSWERS);
            }
        }
        if self.may_write && matches!(self.ending, Ending::None | Ending::Flushing | Ending::Condemned(_)) {
            while let Some(next) = inner.outbox.next_weight()
                && self.writer.wants(next)
                && let Some(message) = inner.outbox.take()
            {
                if let Some(key) = message.request {
                    inner.inbox.requests.set_sent(key, true);
                }
                self.writer.pull(message);
                met.pulled = true;
            }
            met.held_back = inner.outbox.is_queued();
            if met.pulled {
                kind = kind.and(Interest::ROOM);
            }
        }
        // When the server no longer takes messages, there is nothing to flush.
        if matches!(self.ending, Ending::Flushing) && !(self.may_write && inner.outbox.is_queued()) {
            self.ending = Ending::AwaitingPeer;
            met.pulled = true;
        }
        self.intake.expects_answers = inner.inbox.requests.any_waiting();
        let paused = inner.inbox.should_pause();
        if inner.inbox.requests.any_settled() {
            // Among them those that fail because reading pauses.
            kind = kind.and(Interest::ANSWERS);
        }
        if paused != self.paused {
            self.paused = paused;
            if paused {
                self.heartbeat.pause();
            } else {
                self.heartbeat.resume(Instant::now());
            }
            // Whoever was paused has something to read.
            met.pulled |= !paused;
        }
        if met.event.is_none() && !met.pulled {
            if !inner.parked.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                inner.parked = Some(context.waker().clone());
            }
            met.parked = true;
        } else {
            inner.parked = None;
        }
        self.wake_at = earliest([
            self.wake_at_for_throttle(inner.outbox.deadline()),
            self.heartbeat.deadline(),
            self.ends_by,
        ]);
        let told = inner.tell(kind);
        drop(inner);
        if let Some(notify) = told {
            notify.notify();
        }
        self.writer.frame();
        if matches!(self.ending, Ending::AwaitingPeer) && !closing {
            self.writer.close();
        }
        met
    }

    /// While nothing may be written, the throttle's deadline is of no interest.
    fn wake_at_for_throttle(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline.filter(|_| self.may_write)
    }

    // --- time ---

    /// Runs the timers. `Pending` when there is nothing to do before one of them.
    fn tend(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(wake_at) = self.wake_at else { return Poll::Pending };
        let set_to = self.sleep.deadline().into_std();
        // Set anew only when it would ring too late; when it rings too early, that is found out below.
        if wake_at < set_to || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(wake_at.into());
        }
        if self.sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.ends_by.is_some_and(|by| by <= now) {
            let loss = match std::mem::replace(&mut self.ending, Ending::None) {
                Ending::LastWords(loss) => loss,
                Ending::Condemned(violation) => {
                    self.ends_by = None;
                    let loss = self.condemn(violation);
                    self.fail(loss);
                    return Poll::Ready(None);
                }
                _ => Loss::Broken("the server did not close in time".into()),
            };
            return Poll::Ready(Some(Event::Lost(loss)));
        }
        match self.heartbeat.poll(now) {
            Beat::Idle => {}
            Beat::Ping => self.writer.push_control(Control::Ping, b""),
            Beat::Lost => {
                return Poll::Ready(Some(Event::Lost(Loss::Broken(
                    "the server did not answer a ping in time".into(),
                ))));
            }
        }
        Poll::Ready(None)
    }
}

/// What a meeting with the caller's threads came to.
struct Met {
    /// There is something new to do.
    pulled: bool,
    /// Messages wait until the writer has written what it has.
    held_back: bool,
    /// Whoever brings more will wake the actor.
    parked: bool,
    /// A result was among what was handed over.
    had_result: bool,
    event: Option<Event>,
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

fn displaced() -> Error {
    Error::new(ErrorKind::BufferFull, "the request was displaced by newer messages before it could be sent")
}

fn broken(error: &io::Error) -> Loss {
    Loss::Broken(match error.kind() {
        io::ErrorKind::ConnectionReset => "the server reset the connection".into(),
        io::ErrorKind::UnexpectedEof => "the server ended the connection without a close frame".into(),
        _ => format!("the connection failed: {error}"),
    })
}
