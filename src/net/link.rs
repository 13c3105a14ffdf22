//! One open socket: moves bytes between it and the boxes until it is lost.
//!
//! A turn reads what has come, meets the caller's threads once under their lock, and writes what there is to
//! write. It never holds the lock during a system call.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::Sleep;

use super::{
    handle::Connection,
    intake::{Intake, Verdict},
    socket::Socket,
    spin,
    transport::Stream,
    wakes,
    writer::{Leftover, Writer, Written},
};
use crate::core::{
    frame::{FrameReader, Role, Violation},
    heartbeat::Heartbeat,
    session::Loss,
};

mod meeting;
mod reading;
mod timing;

/// Turns before the others of the thread come first.
const TURNS: usize = 4;
/// How long what was sent before a violation may be answered, before the connection is failed for it. A reader that takes
/// one message at a time would not have seen the violation yet.
const ANSWERS: Duration = Duration::from_millis(100);
/// How long an answer to the peer's close frame may take to be written, and what it said before writing failed to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    /// Writing has failed, and this is how. What the server said before that is still read, and if it said goodbye, that
    /// counts.
    Hearing(Loss),
}

pub(super) struct Link {
    connection: Arc<Connection>,
    socket: Socket,
    reader: FrameReader,
    writer: Writer,
    intake: Intake,
    heartbeat: Heartbeat,
    sleep: Pin<Box<Sleep>>,
    wake_at: Option<Instant>,
    /// Messages come one right after the other: until then somebody must look whether the last of them still wait.
    watches_until: Option<Instant>,
    leftover: Bytes,
    /// The size of the last message: the next one is probably like it.
    last_size: usize,
    /// More had come than was read at once.
    piled_up: bool,
    written: Written,
    ending: Ending,
    /// When the ending must be over.
    ends_by: Option<Instant>,
    accepted: bool,
    may_write: bool,
    close_asked: bool,
    paused: bool,
    /// The caller has closed and takes no more: what still comes is read, so that the peer gets to our close frame, and
    /// dropped.
    discarding: bool,
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
            watches_until: None,
            leftover,
            last_size: 0,
            piled_up: false,
            written: Written::default(),
            ending: Ending::None,
            ends_by: None,
            accepted: false,
            may_write: true,
            close_asked: false,
            paused: false,
            discarding: false,
            verdict: Verdict::Nothing,
            socket: stream.into(),
            connection,
        }
    }

    /// The server's session is over: what is queued is for the next one.
    pub(super) fn stop_writing(&mut self) {
        self.may_write = false;
        self.writer.retract();
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
        wakes::attend();
        for _ in 0..TURNS {
            if let Some(event) = self.take_verdict() {
                return Poll::Ready(event);
            }
            if !self.regain(context) {
                return Poll::Pending;
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
            if met.pulled {
                // Writing takes a while: let the other side look at what has come in the meantime.
                wakes::ring();
            }
            let flushed = match self.write(context) {
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
                Poll::Ready(Err(error)) => match self.write_failed(broken(&error)) {
                    None => continue,
                    Some(loss) => {
                        if !self.intake.is_empty() {
                            self.meet(context);
                        }
                        return Poll::Ready(Event::Lost(loss));
                    }
                },
            };
            if self.writer.take_ping_moved() {
                self.heartbeat.ping_moved(Instant::now());
            }
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
            other => {
                self.ending = other;
                None
            }
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is lent comes back, or its return wakes.
        if matches!(self.ending, Ending::Hearing(_)) || !self.socket.can_write() {
            return Poll::Pending;
        }
        self.writer.poll_write(context, &mut self.socket, &mut self.written)
    }

    /// Nothing can be written any more. Answers how the link ends, if that is known already.
    fn write_failed(&mut self, failed: Loss) -> Option<Loss> {
        self.may_write = false;
        match std::mem::replace(&mut self.ending, Ending::None) {
            Ending::LastWords(loss) => Some(loss),
            Ending::Condemned(violation) => Some(self.condemn(violation)),
            _ if self.paused && !self.discarding => Some(failed),
            _ => {
                // That there is something to be read may not be known yet.
                self.ending = Ending::Hearing(failed);
                self.end_within(LAST_WORDS);
                None
            }
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
}

fn broken(error: &io::Error) -> Loss {
    Loss::Broken(match error.kind() {
        io::ErrorKind::ConnectionReset => "the server reset the connection".into(),
        io::ErrorKind::UnexpectedEof => "the server ended the connection without a close frame".into(),
        _ => format!("the connection failed: {error}"),
    })
}
