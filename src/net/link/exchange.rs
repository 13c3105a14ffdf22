//! The exchange with the caller's threads, once a round.

use std::{sync::atomic::Ordering, time::Instant};

use super::{Link, ending::Ending};
use crate::{
    core::{
        boxes::{Boxes, Interest},
        inbound::Consequence,
        inbox::MAX_STRAYS,
    },
    net::{
        driven::Side,
        recorder::Close,
        report,
        shared::{Shared, tell},
        writer::Writer,
    },
};

/// The outcome of an exchange with the caller's threads.
pub(super) struct Exchanged {
    /// Messages wait until the writer has written what it has.
    pub(super) held_back: bool,
    /// The next message is so large that the I/O thread is to write it.
    pub(super) for_io_thread: bool,
    /// When the queue has something to write though nobody brings more.
    pub(super) deadline: Option<Instant>,
}

impl Link {
    /// Exchanges with the boxes, whose lock is taken here once a turn: hands over what came, accounts for what was
    /// written, pulls what is to be written.
    pub(super) fn exchange(&mut self, shared: &Shared, side: Side) -> Exchanged {
        self.accepted = self.accepted || self.inbound.has_result();
        let mut exchanged = Exchanged { held_back: false, for_io_thread: false, deadline: None };
        let was_awaiting = matches!(self.ending, Ending::AwaitingPeer);
        let mut inner = shared.lock();
        let mut kind = Interest::NONE;
        if !self.inbound.is_empty() {
            kind = inner.receive(&mut self.inbound, self.heartbeat.last_activity());
        }
        let drops_begin = inner.boxes.inbox.take_drops_begin();
        if let Some(latency) = self.latency.take() {
            inner.latency = Some(latency);
            inner.record(|durations| &durations.ping, latency);
        }
        let written = std::mem::take(&mut self.written);
        let boxes = &mut inner.boxes;
        if written.messages > 0 {
            kind = kind.and(boxes.wrote(written));
        }
        if self.ends_when_unused.is_some() {
            self.end_if_unused(boxes);
        }
        kind = kind.and(release_due(boxes));
        // What is to be written before the end of the link waits for nothing.
        let corked_until = boxes.outbox.corked_until().filter(|_| matches!(self.ending, Ending::None));
        let is_corked = corked_until.is_some_and(|until| Instant::now() < until);
        // Once the session is over, what is queued is for the next one.
        let may_pull = self.may_write && self.consequence == Consequence::Nothing && !is_corked;
        if may_pull && matches!(self.ending, Ending::None | Ending::Flushing | Ending::Failing(_)) {
            let large = self.large_bytes(side);
            if pull(&mut self.writer, boxes, large) {
                kind = kind.and(Interest::ROOM);
            }
            exchanged.held_back = boxes.outbox.is_queued();
            exchanged.for_io_thread = boxes.outbox.next_weight().is_some_and(|weight| weight >= large);
        }
        // What is queued is for another link, which the driver sees to.
        exchanged.for_io_thread |= !self.may_write && boxes.outbox.is_queued();
        // When the server no longer takes messages, there is nothing to flush.
        if matches!(self.ending, Ending::Flushing) && !(self.may_write && boxes.outbox.is_queued()) {
            self.ending = Ending::AwaitingPeer;
        }
        self.inbound.expects_answers = boxes.inbox.requests.any_waiting();
        shared.expects_answers.store(self.inbound.expects_answers, Ordering::Release);
        let paused = boxes.inbox.should_pause();
        // Among them those that fail because reading pauses.
        kind = kind.and(boxes.settled());
        if paused != self.paused {
            self.paused = paused;
            if paused {
                self.heartbeat.pause();
            } else {
                self.heartbeat.resume(Instant::now());
            }
        }
        self.discarding |= paused && matches!(self.ending, Ending::Flushing | Ending::AwaitingPeer);
        if self.may_write {
            let corked_until = corked_until.filter(|_| is_corked);
            exchanged.deadline = [boxes.outbox.deadline(), corked_until].into_iter().flatten().min();
        }
        let close_frame = (matches!(self.ending, Ending::AwaitingPeer) && !was_awaiting)
            .then(|| boxes.close_frame().clone());
        tell(inner, kind);
        if drops_begin {
            report_drops(shared);
        }
        self.writer.frame();
        if let Some((code, reason)) = close_frame {
            self.first_close.get_or_insert_with(|| Close::by_client(code, &*reason));
            self.writer.close(code, reason);
        }
        exchanged
    }

    fn end_if_unused(&mut self, boxes: &Boxes) {
        let Some(later) = self.ends_when_unused else { return };
        let may_end =
            self.may_write && self.consequence == Consequence::Nothing && matches!(self.ending, Ending::None);
        // What waits to be written is as well written in the next session, unless this one is only not to be kept for
        // nothing.
        if may_end && boxes.nothing_under_way() && (later || !boxes.has_unsent()) {
            self.may_write = false;
            self.consequence = Consequence::Unused;
        }
        self.ends_when_unused = Some(later).filter(|later| *later && self.may_write);
    }

    /// Accounts for what was written, where there is nothing else to exchange. Answers whether more is queued.
    pub(super) fn account(&mut self, shared: &Shared) -> bool {
        let written = std::mem::take(&mut self.written);
        let mut inner = shared.lock();
        let kind = inner.boxes.wrote(written);
        let is_queued = inner.boxes.outbox.is_queued();
        tell(inner, kind);
        is_queued
    }
}

/// Tells, once, of results that are dropped because nobody has received yet.
#[cold]
fn report_drops(shared: &Shared) {
    report::warning(|| {
        let name = shared.settings.address.name();
        format!(
            "{name}: results are dropped, since nobody has called recv, iterated or given an on_result: the newest \
             {MAX_STRAYS} are kept (stats()[\"received_dropped\"] counts the others)"
        )
    });
}

/// Lets the throttle's message go, if its time has come. Without a message the clock is not asked.
fn release_due(boxes: &mut Boxes) -> Interest {
    let Some(at) = boxes.outbox.deadline() else { return Interest::NONE };
    let now = Instant::now();
    if at <= now { boxes.release_due(now) } else { Interest::NONE }
}

/// Gives the writer as many messages as it takes, up to the first that is `large`; whether there was one.
fn pull(writer: &mut Writer, boxes: &mut Boxes, large: usize) -> bool {
    let mut pulled = false;
    let mut now = None;
    // If no request waits, nobody asks which messages are with the socket: no need to check each under the lock.
    if !boxes.inbox.requests.any_waiting()
        && let Some((to, most)) = writer.pull_all()
    {
        pulled = boxes.outbox.take_all(most, to);
    }
    while let Some(next) = boxes.outbox.next_weight()
        && next < large
        && writer.wants(next)
        && let Some(message) = boxes.outbox.take()
    {
        if let Some(key) = message.request {
            boxes.inbox.requests.set_sent(key, Some(*now.get_or_insert_with(Instant::now)));
        }
        writer.pull(message);
        pulled = true;
    }
    pulled
}
