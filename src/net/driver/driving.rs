//! The driver's part in driving a link: its timers, large messages, what others found out, and sockets that tokio
//! watches.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::{
    core::session::Loss,
    net::{
        connection::{Connection, LinkSlot, OpenLink},
        driven::Side,
        link::{Event, Work},
        spin, wakeups,
    },
};

/// Turns before the other tasks of the thread come.
const MAX_TURNS: usize = 4;

/// An event that driving a link comes to.
pub(super) enum DriveEvent {
    /// The caller closes.
    CloseAsked,
    /// The link is to be closed without waiting for the server to do so: a message is for another one, or the end of a
    /// stream is to be known.
    Pending,
    /// Something has become of the link.
    Event(Event),
}

/// The driver's knowledge of a link between two turns.
#[derive(Default)]
pub(super) struct Driving {
    close_asked: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Driving {
    /// Works until there is an event. `is_last`: messages that come now are for another link.
    pub(super) async fn next(&mut self, connection: &Connection, is_last: bool) -> DriveEvent {
        // The last event has been acted upon, which may have made work.
        let mut work = Work::ALL;
        std::future::poll_fn(|context| self.poll(context, connection, is_last, &mut work)).await
    }

    /// Lets the link have one turn.
    pub(super) fn write_once(connection: &Connection) {
        connection.with_link(Side::IoThread, |slot| {
            slot.as_mut().map(|open| open.turn_of_driver(connection, Work::WRITE));
        });
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &Connection,
        is_last: bool,
        work: &mut Work,
    ) -> Poll<DriveEvent> {
        spin::busy();
        wakeups::attend();
        let is_pending = {
            let mut inner = connection.shared.lock();
            if inner.boxes.is_closed_by_caller() && !self.close_asked {
                self.close_asked = true;
                return Poll::Ready(DriveEvent::CloseAsked);
            }
            if !inner.parked.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                inner.parked = Some(context.waker().clone());
            }
            is_last && inner.boxes.has_unsent()
        };
        for _ in 0..MAX_TURNS {
            // Between two turns whoever waits for the link has it.
            let turn = connection.with_link(Side::IoThread, |slot| {
                self.take_turn(context, connection, slot, is_pending, work)
            });
            if let Some(outcome) = turn {
                return outcome;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a turn; `None`: another one is to follow.
    fn take_turn(
        &mut self,
        context: &mut Context<'_>,
        connection: &Connection,
        slot: &mut LinkSlot<'_>,
        is_pending: bool,
        work: &mut Work,
    ) -> Option<Poll<DriveEvent>> {
        let Some(open) = &mut **slot else {
            let loss = Loss::Broken("there is no socket".into());
            return Some(Poll::Ready(DriveEvent::Event(Event::Lost(loss))));
        };
        if let Some(event) = open.take_event() {
            return Some(Poll::Ready(DriveEvent::Event(event)));
        }
        if is_pending {
            return Some(Poll::Ready(DriveEvent::Pending));
        }
        open.go_on();
        let (more, deadline) = open.turn_of_driver(connection, *work);
        *work = Work::WRITE;
        if more {
            *work = Work::ALL;
            return None;
        }
        if let Poll::Ready(ready) = poll_socket(context, open) {
            *work = ready;
            return None;
        }
        if self.poll_timer(context, deadline).is_ready() {
            *work = Work::ALL;
            return None;
        }
        let awaited = if open.registered().is_some() { open.waits_for() } else { (false, false) };
        open.driver_sleeps(deadline, awaited);
        Some(Poll::Pending)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        // Set anew only when it would fire too late; when it fires too early, the turn that follows finds out.
        if timer.is_elapsed() || deadline < timer.deadline().into_std() {
            timer.as_mut().reset(deadline.into());
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(())
    }
}

/// The readiness of a socket that tokio watches, for what the link waits for.
fn poll_socket(context: &mut Context<'_>, open: &OpenLink) -> Poll<Work> {
    let (reads, is_blocked) = open.waits_for();
    let Some(tcp) = open.registered() else { return Poll::Pending };
    // What fails is found out by reading or writing.
    let readable = reads && tcp.poll_read_ready(context).is_ready();
    let writable = is_blocked && tcp.poll_write_ready(context).is_ready();
    match (readable, writable) {
        (false, false) => Poll::Pending,
        (true, false) => Poll::Ready(Work::READ),
        (false, true) => Poll::Ready(Work::WRITABLE),
        (true, true) => Poll::Ready(Work::ALL),
    }
}
