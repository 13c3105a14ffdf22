//! Driving a connection's link: whoever has its lock does so, for one turn.
//!
//! A turn that is wanted while another thread has the link is left to that thread, which asks for what is wanted
//! before it is through. So nobody waits for another's system call, but for a loop that finds its socket readable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Connection, OpenLink};
use crate::{
    net::{
        driven::{Driven, Held, Side},
        duty::Borrow,
        link::Work,
    },
    sync::MutexGuard,
};

/// A connection's link, if there is one, to whoever has its lock.
pub(in crate::net) type LinkSlot<'a> = MutexGuard<'a, Option<OpenLink>>;

impl Connection {
    /// Lets the link have a turn: now, or by the thread that has it.
    pub(in crate::net) fn drive(&self, work: Work, side: Side) {
        self.duty.want(work);
        while let Some(link) = self.link.try_lock() {
            if !self.drive_locked(link, side) {
                return;
            }
        }
    }

    /// Does what is wanted. Answers whether more has been wanted meanwhile.
    fn drive_locked(&self, mut slot: LinkSlot<'_>, side: Side) -> bool {
        let wanted = self.duty.take_wanted();
        let for_driver =
            slot.as_mut().is_some_and(|open| wanted != Work::NONE && open.turn(self, wanted, side));
        drop(slot);
        if for_driver {
            self.wake_driver();
        }
        self.duty.is_wanted()
    }

    /// Does something with the link, or with its absence.
    pub(in crate::net) fn with_link<T>(&self, side: Side, work: impl FnOnce(&mut LinkSlot<'_>) -> T) -> T {
        let mut slot = self.link.lock();
        let output = work(&mut slot);
        drop(slot);
        if side == Side::IoThread {
            self.link.give_way();
        }
        // What others have left to the thread that had the link, which is this one until just now.
        if self.duty.is_wanted() {
            self.drive(Work::NONE, side);
        }
        output
    }

    /// Lets what was sent be written: at once, or by the I/O thread where that writes beside a saturated loop.
    pub(in crate::net) fn write_soon(self: &Arc<Self>) {
        match self.poller.get() {
            Some(poller) if poller.writes_on_io_thread() => {
                if self.duty.leave_unwritten() {
                    poller.write(self.clone());
                }
            }
            _ => self.drive(Work::WRITE, Side::Caller),
        }
    }

    /// Lets the driver run.
    fn wake_driver(&self) {
        let unpark = self.shared.lock().unpark();
        if let Some(driver) = unpark {
            driver.wake();
        }
    }

    /// Lets what the loop's thread has sent wait for more. Should the loop not come to send it, the I/O thread does.
    pub(in crate::net) fn wait_for_more(self: &Arc<Self>) {
        match self.poller.get() {
            Some(poller) if self.duty.hold() => poller.hold(self.clone()),
            Some(_) => {}
            // The turn finds a deadline, and lets the driver keep it.
            None => self.drive(Work::WRITE, Side::Caller),
        }
    }
}

impl Driven for Connection {
    fn on_readable(&self, side: Side) {
        self.duty.want(Work::READ);
        // Waits for a thread that has the link: else the loop would be called again at once, and again.
        if self.drive_locked(self.link.lock(), side) {
            self.drive(Work::WRITE, side);
        }
    }

    fn on_writable(&self) {
        self.drive(Work::WRITABLE, Side::IoThread);
        self.wake_driver();
    }

    fn on_unwritten(&self) {
        self.duty.take_unwritten();
        self.drive(Work::WRITE, Side::IoThread);
    }

    fn reads_much(&self) -> bool {
        self.shared.reads_much.load(Ordering::Relaxed)
    }

    fn on_held(&self) -> Held {
        match self.duty.poll_borrowed() {
            Borrow::InUse => return Held::Borrowed,
            Borrow::Unused => {
                self.with_link(Side::IoThread, |slot| slot.as_mut().map(OpenLink::return_socket));
            }
            Borrow::No => {}
        }
        let mut inner = self.shared.lock();
        match inner.boxes.outbox.corked_until() {
            Some(until) if until > Instant::now() => return Held::Corked,
            Some(_) => inner.boxes.outbox.uncork(),
            None => {}
        }
        drop(inner);
        self.duty.let_go();
        self.drive(Work::WRITE, Side::IoThread);
        Held::No
    }
}
