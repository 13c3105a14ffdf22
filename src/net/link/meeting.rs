//! The meeting with the caller's threads, once a turn.

use std::{task::Context, time::Instant};

use super::{Ending, Event, Link};
use crate::{
    error::{Error, ErrorKind},
    net::{handle::Interest, intake::Verdict, wakes},
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

    /// The one place where the lock is taken in a turn: hands over what came, accounts for what was written, pulls
    /// what is to be written.
    pub(super) fn meet(&mut self, context: &mut Context<'_>) -> Met {
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
        // Once the session is over, what is queued is for the next one.
        let may_pull = self.may_write && self.verdict == Verdict::Nothing;
        if may_pull && matches!(self.ending, Ending::None | Ending::Flushing | Ending::Condemned(_)) {
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
        if paused && matches!(self.ending, Ending::Flushing | Ending::AwaitingPeer) && !self.discarding {
            self.discarding = true;
            met.pulled = true;
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
            wakes::notify(notify);
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
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

fn displaced() -> Error {
    Error::new(ErrorKind::BufferFull, "the request was displaced by newer messages before it could be sent")
}
