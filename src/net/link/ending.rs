//! The end of a link: asked for, closed by the peer, failed by what it sent, or broken.

use std::{
    io,
    time::{Duration, Instant},
};

use super::Link;
use crate::{
    core::{
        frame::{Control, Violation},
        heartbeat::{Beat, Silence},
        session::Loss,
    },
    net::recorder::Close,
};

/// The time in which what was sent before a violation may be answered, before the connection is failed for it. A reader
/// that takes one message at a time would not have seen the violation yet.
pub(super) const ANSWER_TIME: Duration = Duration::from_millis(100);
/// The time that an answer to the peer's close frame may take to be written, and what it said before writing failed to
/// be read.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The ending of a link: how far it has come.
pub(super) enum Ending {
    /// Not at all.
    None,
    /// We have asked to close: what is queued goes first, then the close frame.
    Flushing,
    /// Our close frame is on its way; the peer's is awaited.
    AwaitingPeer,
    /// The server broke the protocol; what it sent before that may still be answered.
    Failing(Violation),
    /// A close frame is being written; then this is the loss.
    FlushingClose(Loss),
    /// Writing has failed, and this is how. What the server said before that is still read, and if it closed, that
    /// counts.
    DrainingReads(Loss),
}

impl Link {
    /// The server's session is over: what is queued is for the next one.
    pub(in crate::net) fn stop_writing(&mut self) {
        self.may_write = false;
        self.writer.retract();
        self.end_within(self.close_timeout);
    }

    /// Writes nothing more once nothing is under way, and says so. `later`: at the next such moment; else now, or not
    /// at all.
    pub(in crate::net) fn end_when_unused(&mut self, later: bool) {
        self.ends_when_unused = Some(later);
    }

    /// Sends what is queued, then a close frame.
    pub(in crate::net) fn close(&mut self) {
        if matches!(self.ending, Ending::None) {
            self.ending = Ending::Flushing;
            self.end_within(self.close_timeout);
        }
    }

    pub(super) fn end_within(&mut self, time: Duration) {
        let by = Instant::now() + time;
        self.ends_by = Some(self.ends_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// How it ended, or was about to, if that is known here: by the first close frame, or because the server was silent.
    pub(in crate::net) fn take_close(&mut self) -> Option<Close> {
        self.first_close.take()
    }

    /// Gives up the server; `why` is the reason.
    fn give_up(&mut self, why: &str) -> Loss {
        self.first_close.get_or_insert_with(|| Close::abandoned(why));
        Loss::Broken(why.into())
    }

    /// Everything is with the operating system: was that the end?
    pub(super) fn flushed(&mut self) -> Option<Loss> {
        match std::mem::replace(&mut self.ending, Ending::None) {
            Ending::FlushingClose(loss) => Some(loss),
            other => {
                self.ending = other;
                None
            }
        }
    }

    /// Stops writing, which cannot go on. Answers how the link ends, if that is known already.
    pub(super) fn write_failed(&mut self, failed: Loss) -> Option<Loss> {
        self.may_write = false;
        match std::mem::replace(&mut self.ending, Ending::None) {
            Ending::FlushingClose(loss) => Some(loss),
            Ending::Failing(violation) => Some(self.violate(violation)),
            _ if self.paused && !self.discarding => Some(failed),
            _ => {
                // That there is something to be read may not be known yet.
                self.ending = Ending::DrainingReads(failed);
                self.end_within(FLUSH_TIME);
                None
            }
        }
    }

    /// The link ends with `loss`; what is staged (an answer to a close, or a complaint) is still written. Answers that
    /// there is more to do.
    pub(super) fn fail(&mut self, loss: Loss) -> bool {
        if !matches!(self.ending, Ending::FlushingClose(_)) {
            self.ending = Ending::FlushingClose(loss);
            self.end_within(FLUSH_TIME);
        }
        true
    }

    /// Runs the timers, after what has come was read. Answers the loss that this comes to.
    pub(super) fn tend(&mut self, now: Instant) -> Option<Loss> {
        if self.ends_by.is_some_and(|by| by <= now) {
            let loss = match std::mem::replace(&mut self.ending, Ending::None) {
                Ending::FlushingClose(loss) | Ending::DrainingReads(loss) => loss,
                Ending::Failing(violation) => {
                    self.ends_by = None;
                    let loss = self.violate(violation);
                    self.fail(loss);
                    return None;
                }
                _ => self.give_up("the server did not close in time"),
            };
            return Some(loss);
        }
        match self.heartbeat.poll(now, || self.socket.sent()) {
            Beat::Idle => None,
            Beat::Ping => {
                // A ping that the system has not taken yet does for this one, too.
                if !self.writer.has_ping() {
                    self.writer.push_control(Control::Ping, &self.heartbeat.payload());
                }
                None
            }
            Beat::Lost(silence) => Some(self.give_up(reason(silence))),
        }
    }
}

fn reason(silence: Silence) -> &'static str {
    match silence {
        Silence::Unanswered => "the server did not answer a ping in time",
        Silence::Unacknowledged => "the server's system did not acknowledge what was sent in time",
        Silence::Busy => {
            "the server's system acknowledged what was sent, but the server answered no ping within ping_timeout and \
             busy_timeout"
        }
    }
}

pub(super) fn broken(error: &io::Error) -> Loss {
    Loss::Broken(match error.kind() {
        io::ErrorKind::ConnectionReset => "the server reset the connection".into(),
        io::ErrorKind::UnexpectedEof => "the server ended the connection without a close frame".into(),
        _ => format!("the connection failed: {error}"),
    })
}
