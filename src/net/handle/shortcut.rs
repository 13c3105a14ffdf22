//! The short way of a message that is alone: while the I/O thread sleeps, the sender's thread writes it itself.
//!
//! Rousing a thread on another core costs more than the system call that it is roused for. So a link that has nothing to
//! write leaves the half of its socket that writes where a sender finds it. Whoever takes it writes one frame, without the
//! lock, and puts it back; until then the link reads on, but pulls and writes nothing, so that the order is kept.

use std::{
    cell::RefCell,
    iter,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};

use super::{Inner, Interest, Kick};
use crate::{
    core::{outbox::Outgoing, session::State},
    error::Error,
    net::{mask_keys, runtime::Io, writer},
};

/// Messages from this size on take the long way: copying and masking them is worth another thread.
const LARGE: usize = 16 << 10;

/// The half of the socket that writes, as far as it is not with the link.
#[derive(Debug, Default)]
pub(in crate::net) enum Loan {
    /// It is with the link, if there is one.
    #[default]
    None,
    /// The link has nothing to write: a sender may take it.
    Free(OwnedWriteHalf),
    /// A sender writes.
    Taken {
        /// The link waits for it.
        wanted: bool,
    },
}

/// A frame that the operating system has taken a part of.
#[derive(Debug)]
pub(in crate::net) struct Begun {
    pub(in crate::net) frame: Vec<u8>,
    /// How much of it was taken.
    pub(in crate::net) at: usize,
    pub(in crate::net) message: Outgoing,
}

/// What a sender has taken to write it.
pub(super) struct Taken {
    message: Outgoing,
    half: OwnedWriteHalf,
    /// The link that it is from.
    link: u64,
    io: Io,
}

/// What came of it.
pub(super) enum Outcome {
    /// Nothing.
    Untouched(Outgoing),
    /// Some of the frame was written.
    Begun(Begun),
    /// All of it.
    Written(Outgoing),
}

impl Inner {
    /// Takes the message that was just queued, if it may take the short way.
    pub(super) fn take_shortcut(&mut self, now: Instant) -> Option<Taken> {
        let may = self.state == State::Active
            && self.outbox.queued() == 1
            && !self.inbox.has_items()
            && self.outbox.next_weight().is_some_and(|weight| weight < LARGE);
        let io = self.io.as_ref().filter(|io| may && io.may_be_spared(now))?;
        match std::mem::take(&mut self.loan) {
            Loan::Free(half) => {
                let taken = Taken { message: self.outbox.take()?, half, link: self.link, io: io.clone() };
                self.loan = Loan::Taken { wanted: false };
                Some(taken)
            }
            other => {
                self.loan = other;
                None
            }
        }
    }

    /// Puts back what was taken. Answers who is to be told, and who is to be set in motion.
    pub(super) fn settle_shortcut(
        &mut self,
        half: OwnedWriteHalf,
        link: u64,
        outcome: Outcome,
    ) -> (Interest, Option<Kick>) {
        let is_there = self.link == link;
        let wanted = matches!(self.loan, Loan::Taken { wanted: true });
        self.loan = if is_there { Loan::Free(half) } else { Loan::None };
        let mut kick = wanted;
        let begun = match outcome {
            Outcome::Untouched(message) if self.state == State::Closed => {
                self.outbox.lost(1);
                message.request
            }
            Outcome::Untouched(message) => {
                self.outbox.give_back(iter::once(message));
                kick = true;
                None
            }
            Outcome::Begun(begun) if is_there => {
                let request = begun.message.request;
                self.begun = Some(begun);
                kick = true;
                request
            }
            Outcome::Begun(begun) => {
                self.outbox.lost(1);
                begun.message.request
            }
            Outcome::Written(message) => {
                self.outbox.wrote(1, message.payload.len());
                message.request
            }
        };
        let mut kind = Interest::NONE;
        if let Some(key) = begun {
            if is_there {
                self.inbox.requests.set_sent(key, true);
            } else {
                self.inbox.requests.fail(key, Error::closed(1006, "the connection was lost"));
                kind = kind.and(Interest::ANSWERS);
            }
        }
        if self.outbox.pending() == 0 {
            kind = kind.and(Interest::DRAINED);
        }
        (kind, if kick { self.unpark() } else { None })
    }
}

impl Taken {
    /// Writes the message, as far as the operating system takes it at once. A failure is left for the link to find.
    pub(super) fn write(self) -> (OwnedWriteHalf, u64, Outcome) {
        thread_local! {
            static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Self { message, mut half, link, io } = self;
        let mut frame = FRAME.take();
        writer::frame(&mut frame, &message, mask_keys::next());
        let mut context = Context::from_waker(Waker::noop());
        let outcome = match Pin::new(&mut half).poll_write(&mut context, &frame) {
            Poll::Ready(Ok(at)) if at == frame.len() => Outcome::Written(message),
            Poll::Ready(Ok(at @ 1..)) => Outcome::Begun(Begun { frame: frame.clone(), at, message }),
            _ => Outcome::Untouched(message),
        };
        frame.clear();
        FRAME.set(frame);
        io.was_spared(Instant::now());
        (half, link, outcome)
    }
}

#[cfg(test)]
mod tests;
