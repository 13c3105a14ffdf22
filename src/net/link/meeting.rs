//! The meeting with the caller's threads, once a turn.

use std::{sync::atomic::Ordering, task::Context, time::Instant};

use super::{Ending, Event, Link};
use crate::{
    core::cork::PATIENCE,
    error::{Error, ErrorKind},
    net::{
        handle::{self, Inner, Interest},
        intake::Verdict,
        loan::Loan,
        socket::Socket,
        writer::Writer,
    },
};

/// What a meeting with the caller's threads came to.
pub(super) struct Met {
    /// There is something new to do.
    pub(super) pulled: bool,
    /// Messages wait until the writer has written what it has.
    pub(super) held_back: bool,
    /// Whoever brings more will wake the actor.
    pub(super) parked: bool,
    /// A result was among what was handed over.
    pub(super) had_result: bool,
    pub(super) event: Option<Event>,
}

impl Link {
    // --- meeting the caller's threads ---

    /// Takes back what is read with, if it was lent. False while a sender has it, whose return of it wakes.
    pub(super) fn regain(&mut self, context: &Context<'_>) -> bool {
        if self.socket.can_read() {
            return true;
        }
        let mut inner = self.connection.shared().lock();
        take_back(&mut self.socket, &mut self.writer, &mut inner);
        if !self.socket.can_read() {
            inner.parked = Some(context.waker().clone());
        }
        self.socket.can_read()
    }

    /// Where the lock is taken in a turn: hands over what came, accounts for what was written, pulls
    /// what is to be written.
    pub(super) fn meet(&mut self, context: &mut Context<'_>) -> Met {
        let had_result = !self.accepted && self.intake.has_result();
        let mut met = Met { pulled: false, held_back: false, parked: false, had_result, event: None };
        let closing = matches!(self.ending, Ending::AwaitingPeer);
        let mut inner = self.connection.shared().lock();
        take_back(&mut self.socket, &mut self.writer, &mut inner);
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
        // What is to be written before the end of the link waits for nothing.
        let corked_until = inner.outbox.corked_until().filter(|_| matches!(self.ending, Ending::None));
        let corked_until = corked_until.filter(|until| Instant::now() < *until);
        self.watches_until = corked_until.or(self.watches_until.filter(|until| Instant::now() < *until));
        // While a sender writes, what is queued comes behind.
        let taken = matches!(inner.loan, Loan::Taken { .. });
        // Once the session is over, what is queued is for the next one.
        let may_pull = self.may_write && self.verdict == Verdict::Nothing && corked_until.is_none() && !taken;
        if may_pull && matches!(self.ending, Ending::None | Ending::Flushing | Ending::Condemned(_)) {
            let queued = inner.outbox.queued();
            met.pulled = pull(&mut self.writer, &mut inner);
            met.held_back = inner.outbox.is_queued();
            if met.pulled {
                kind = kind.and(Interest::ROOM);
            }
            if met.pulled && queued > 1 {
                self.watches_until = Some(Instant::now() + PATIENCE);
            }
        }
        // When the server no longer takes messages, there is nothing to flush.
        if matches!(self.ending, Ending::Flushing) && !(self.may_write && (inner.outbox.is_queued() || taken))
        {
            self.ending = Ending::AwaitingPeer;
            met.pulled = true;
        }
        self.intake.expects_answers = inner.inbox.requests.any_waiting();
        self.connection.expects_answers.store(self.intake.expects_answers, Ordering::Release);
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
        if paused && matches!(self.ending, Ending::Flushing | Ending::AwaitingPeer) && !self.discarding {
            self.discarding = true;
            met.pulled = true;
        }
        if met.event.is_none() && !met.pulled {
            if !inner.parked.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                inner.parked = Some(context.waker().clone());
            }
            inner.watched = self.watches_until.is_some();
            met.parked = true;
            if self.may_write && matches!(self.ending, Ending::None) && self.writer.is_idle() {
                lend(&mut self.socket, &mut inner);
            }
        } else {
            inner.parked = None;
        }
        self.wake_at = earliest([
            self.wake_at_for_throttle(inner.outbox.deadline()),
            self.heartbeat.deadline(),
            self.ends_by,
            self.watches_until,
        ]);
        handle::tell(inner, kind);
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
}

/// Lets a sender write in the I/O thread's place.
fn lend(socket: &mut Socket, inner: &mut Inner) {
    if matches!(inner.loan, Loan::None)
        && let Some(pen) = socket.lend()
    {
        inner.loan = Loan::Free(pen);
    }
}

/// Takes back what was lent, and goes on with what a sender has left; or asks for it.
fn take_back(socket: &mut Socket, writer: &mut Writer, inner: &mut Inner) {
    match std::mem::take(&mut inner.loan) {
        Loan::None => {}
        Loan::Free(pen) => socket.take_back(pen),
        Loan::Taken { request, .. } => inner.loan = Loan::Taken { wanted: true, request },
    }
    if let Some(unfinished) = inner.unfinished.take() {
        writer.go_on(unfinished);
    }
}

/// Gives the writer as many messages as it takes; whether there was one.
fn pull(writer: &mut Writer, inner: &mut Inner) -> bool {
    let mut pulled = false;
    // If no request waits, nobody asks which messages are with the socket: no need to look at each under the lock.
    if !inner.inbox.requests.any_waiting()
        && let Some((to, most)) = writer.pull_all()
    {
        pulled = inner.outbox.take_all(most, to);
    }
    while let Some(next) = inner.outbox.next_weight()
        && writer.wants(next)
        && let Some(message) = inner.outbox.take()
    {
        if let Some(key) = message.request {
            inner.inbox.requests.set_sent(key, true);
        }
        writer.pull(message);
        pulled = true;
    }
    pulled
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

fn displaced() -> Error {
    Error::new(ErrorKind::BufferFull, "the request was displaced by newer messages before it could be sent")
}
