//! The short way of a message that is alone: while the I/O thread sleeps, the sender's thread writes it itself.
//!
//! Rousing a thread on another core costs more than the system call that it is roused for. So a link that has nothing to
//! write leaves the pen of its socket where a sender finds it. Whoever takes it writes one frame, without the lock, and puts
//! it back; until then the link pulls and writes nothing, so that the order is kept.

use std::{
    cell::RefCell,
    iter,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::io::AsyncWrite;

use super::{Inner, Interest, Kick};
use crate::{
    core::{outbox::Outgoing, session::State},
    error::Error,
    net::{
        loan::{Begun, Loan, Unfinished},
        runtime::Io,
        socket::Pen,
        writer,
    },
};

/// Messages from this size on take the long way: copying, masking and encrypting them is worth another thread.
const LARGE: usize = 16 << 10;

/// What a sender has taken to write it.
pub(super) struct Taken {
    message: Outgoing,
    pen: Pen,
    /// The link that it is from.
    link: u64,
    io: Io,
}

/// What came of it.
pub(super) struct Outcome {
    pen: Pen,
    link: u64,
    what: What,
}

enum What {
    /// Nothing.
    Untouched(Outgoing),
    /// Some of the frame was written.
    Begun(Begun),
    /// All of it.
    Written { message: Outgoing, flushed: bool },
}

impl Inner {
    /// Takes the message that was just queued, if it may take the short way.
    pub(super) fn take_shortcut(&mut self, now: Instant) -> Option<Taken> {
        // Where results wait, more will be sent soon.
        let is_alone = self.outbox.queued() == 1 && !self.inbox.has_items();
        let is_small = self.outbox.next_weight().is_some_and(|weight| weight < LARGE);
        let may = self.state == State::Active && is_alone && is_small;
        let io = self.io.as_ref().filter(|io| may && io.may_be_spared(now))?;
        match std::mem::take(&mut self.loan) {
            Loan::Free(pen) => {
                let message = self.outbox.take()?;
                self.loan = Loan::Taken { wanted: false, request: message.request };
                Some(Taken { message, pen, link: self.link, io: io.clone() })
            }
            other => {
                self.loan = other;
                None
            }
        }
    }

    /// Puts back what was taken. Answers who is to be told, and who is to be set in motion.
    pub(super) fn settle_shortcut(&mut self, outcome: Outcome) -> (Interest, Option<Kick>) {
        let Outcome { pen, link, what } = outcome;
        let is_there = self.link == link;
        let mut kick = matches!(self.loan, Loan::Taken { wanted: true, .. });
        self.loan = if is_there { Loan::Free(pen) } else { Loan::None };
        let has_failed = |message: &Outgoing| {
            message.request.is_some_and(|request| self.inbox.requests.has_failed(request))
        };
        let mut is_lost = false;
        let begun = match what {
            What::Untouched(message) if self.state == State::Closed || has_failed(&message) => {
                self.outbox.lost(1);
                message.request
            }
            What::Untouched(message) => {
                if is_there {
                    self.outbox.give_back(iter::once(message));
                } else {
                    self.outbox.give_back_too_late(message);
                }
                kick = true;
                None
            }
            What::Begun(begun) if is_there => {
                let request = begun.message.request;
                self.unfinished = Some(Unfinished::Frame(begun));
                kick = true;
                request
            }
            What::Begun(begun) => {
                self.outbox.lost(1);
                begun.message.request
            }
            What::Written { message, flushed } => {
                if is_there {
                    self.outbox.wrote(1, message.payload.len());
                } else {
                    is_lost = self.outbox.wrote_too_late(message.payload.len()) && message.request.is_none();
                }
                if is_there && !flushed {
                    self.unfinished = Some(Unfinished::Flush);
                    kick = true;
                }
                message.request
            }
        };
        let mut kind = Interest::NONE;
        if is_lost && self.state != State::Closed {
            kind = kind.and(self.push_error(lost_while_writing()));
        }
        if let Some(key) = begun {
            if is_there {
                self.inbox.requests.set_sent(key, true);
            } else {
                self.inbox.requests.fail(key, lost_while_writing());
                kind = kind.and(Interest::ANSWERS);
            }
        }
        if self.outbox.pending() == 0 {
            kind = kind.and(Interest::DRAINED);
        }
        (kind, if kick { self.unpark() } else { None })
    }
}

fn lost_while_writing() -> Error {
    Error::lost(Error::closed(1006, "the connection was lost"), 1, "it is being opened again")
}

impl Taken {
    /// Writes the message, as far as the operating system takes it at once. A failure is left for the link to find.
    pub(super) fn write(self) -> Outcome {
        thread_local! {
            static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Self { message, mut pen, link, io } = self;
        let mut frame = FRAME.take();
        writer::frame(&mut frame, &message);
        // Nobody is to be woken when there is room: then the link goes on.
        let mut context = Context::from_waker(Waker::noop());
        let what = match Pin::new(&mut pen).poll_write(&mut context, &frame) {
            Poll::Ready(Ok(at)) if at == frame.len() => {
                let flushed = Pin::new(&mut pen).poll_flush(&mut context).is_ready();
                What::Written { message, flushed }
            }
            Poll::Ready(Ok(at @ 1..)) => What::Begun(Begun { frame: frame.clone(), at, message }),
            _ => What::Untouched(message),
        };
        frame.clear();
        FRAME.set(frame);
        io.was_spared(Instant::now());
        Outcome { pen, link, what }
    }
}

#[cfg(test)]
mod tests;
