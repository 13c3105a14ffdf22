//! Who drives a connection's link: whoever has its lock, for one turn.
//!
//! A turn that is wanted while another thread has the link is left to that thread, which looks for what is wanted before it
//! is through. So nobody waits for another's system call, but for a loop that finds its socket readable.

use std::{
    collections::VecDeque,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    time::Instant,
};

use parking_lot::MutexGuard;

use super::{Connection, Kick, run_kick};
use crate::{
    core::session::Loss,
    net::{
        driven::{Driven, Held, Side},
        link::{Event, Link, Turn, Work},
        poller::{Poller, Registration},
        socket::Tcp,
    },
};

/// The link of a connection whose socket is open.
pub(in crate::net) struct OpenLink {
    pub(in crate::net) link: Link,
    /// Its place in a poller; without one tokio watches the socket for the actor.
    registration: Option<Registration>,
    /// What the actor has to hear.
    events: VecDeque<Event>,
    /// The actor has to hear something before anybody goes on.
    stands_still: bool,
    /// The actor waits for the socket: to be readable, to be writable.
    awaited: (bool, bool),
    /// When the actor wakes up by itself.
    actor_wakes_at: Option<Instant>,
    /// A blocking caller waits for the socket itself, so that nobody else need watch it.
    is_lent: bool,
}

impl OpenLink {
    pub(in crate::net) fn new(link: Link, registration: Option<Registration>) -> Self {
        Self {
            link,
            registration,
            events: VecDeque::new(),
            stands_still: false,
            awaited: (false, false),
            actor_wakes_at: None,
            is_lent: false,
        }
    }

    /// The next thing that the actor has to hear.
    pub(in crate::net) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The actor has heard what it had to.
    pub(in crate::net) fn go_on(&mut self) {
        self.stands_still = false;
    }

    /// The actor sleeps until then.
    pub(in crate::net) fn actor_sleeps(&mut self, until: Option<Instant>, awaited: (bool, bool)) {
        self.actor_wakes_at = until;
        self.awaited = awaited;
    }

    /// The socket, where tokio watches it.
    pub(in crate::net) fn registered(&self) -> Option<&tokio::net::TcpStream> {
        match self.link.socket.tcp() {
            Tcp::Registered(tcp) => Some(tcp),
            Tcp::Polled(_) => None,
        }
    }

    /// What the link waits for: to read, to write.
    pub(in crate::net) fn waits_for(&self) -> (bool, bool) {
        (!self.stands_still && self.link.reads(), !self.stands_still && self.link.is_blocked())
    }

    /// Takes a turn. Answers whether the actor has something to do.
    fn turn(&mut self, connection: &Connection, work: Work, side: Side) -> bool {
        if self.stands_still {
            return false;
        }
        let turn = self.link.turn(&connection.shared, work, side);
        self.after(turn)
    }

    /// Like [`OpenLink::turn`], for the actor itself.
    pub(in crate::net) fn turn_of_actor(
        &mut self,
        connection: &Connection,
        work: Work,
    ) -> (bool, Option<Instant>) {
        let turn = self.link.turn(&connection.shared, work, Side::IoThread);
        let (more, deadline) = (turn.more_to_read || turn.more_to_write, turn.deadline);
        self.after(turn);
        (more || !self.events.is_empty(), deadline)
    }

    fn after(&mut self, turn: Turn) -> bool {
        if turn.read_bytes > 0
            && let Some(registration) = &self.registration
        {
            registration.note_read(turn.read_bytes);
        }
        let mut for_actor = turn.for_io_thread
            || turn.more_to_write
            || turn.deadline.is_some_and(|at| self.actor_wakes_at.is_none_or(|wakes| at < wakes));
        if let Some(event) = turn.event {
            self.stands_still = true;
            self.events.push_back(event);
            for_actor = true;
        }
        for_actor | self.watch(turn.more_to_read)
    }

    /// Sees to it that somebody is called when the socket is ready. Answers whether the actor has something to do.
    fn watch(&mut self, more_to_read: bool) -> bool {
        let (reads, is_blocked) = self.waits_for();
        let (Some(registration), Tcp::Polled(tcp)) = (&mut self.registration, self.link.socket.tcp()) else {
            return (reads && (!self.awaited.0 || more_to_read)) || (is_blocked && !self.awaited.1);
        };
        let Err(error) = registration.watch(tcp, reads && !self.is_lent, is_blocked) else { return false };
        self.stands_still = true;
        self.events.push_back(Event::Lost(Loss::Broken(format!("the socket cannot be watched: {error}"))));
        true
    }

    /// Lends the socket to a blocking caller: answers it, and whether it is to be read. `None` where tokio watches it.
    pub(super) fn lend(&mut self) -> Option<(Arc<TcpStream>, bool)> {
        let Tcp::Polled(tcp) = self.link.socket.tcp() else { return None };
        let tcp = tcp.clone();
        if !std::mem::replace(&mut self.is_lent, true) {
            self.watch(false);
        }
        Some((tcp, self.waits_for().0))
    }

    /// The poller that watches the socket, if it is not tokio.
    pub(super) fn poller(&self) -> Option<Arc<Poller>> {
        self.registration.as_ref().map(Registration::poller)
    }

    /// The poller watches the socket again.
    pub(super) fn take_back(&mut self) {
        if std::mem::replace(&mut self.is_lent, false) {
            self.watch(false);
        }
    }

    /// The link, which is driven no more.
    pub(in crate::net) fn end(self) -> Link {
        if let (Some(registration), Tcp::Polled(tcp)) = (self.registration, self.link.socket.tcp()) {
            registration.end(tcp);
        }
        self.link
    }
}

/// A connection's link, if there is one, to whoever has its lock.
pub(in crate::net) type LinkSlot<'a> = MutexGuard<'a, Option<OpenLink>>;

impl Connection {
    /// Lets the link have a turn: now, or by the thread that has it.
    pub(in crate::net) fn drive(&self, work: Work, side: Side) {
        self.wanted.fetch_or(work.bits(), Ordering::SeqCst);
        while let Some(link) = self.link.try_lock() {
            if !self.drive_locked(link, side) {
                return;
            }
        }
    }

    /// Does what is wanted. Answers whether more has been wanted meanwhile.
    fn drive_locked(&self, mut slot: LinkSlot<'_>, side: Side) -> bool {
        let wanted = self.wanted.swap(0, Ordering::SeqCst);
        let for_actor =
            slot.as_mut().is_some_and(|open| wanted != 0 && open.turn(self, Work::from_bits(wanted), side));
        drop(slot);
        if for_actor {
            self.wake_actor();
        }
        // As in `do_wanted`.
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::SeqCst) != 0
    }

    /// Does something with the link, or with its absence.
    pub(in crate::net) fn with_link<T>(&self, side: Side, work: impl FnOnce(&mut LinkSlot<'_>) -> T) -> T {
        let mut slot = self.link.lock();
        let output = work(&mut slot);
        drop(slot);
        self.do_wanted(side);
        output
    }

    /// Does what others have left to the thread that had the link, which is this one until just now.
    fn do_wanted(&self, side: Side) {
        // Pairs with the operation before `try_lock`: either that one succeeds, or this sees what is wanted.
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) != 0 {
            self.drive(Work::NONE, side);
        }
    }

    /// Lets what was sent be written: at once, or by the I/O thread where that writes beside a saturated loop.
    pub(super) fn write_soon(self: &Arc<Self>) {
        match self.poller.get() {
            Some(poller) if poller.writes_on_io_thread() => {
                if !self.is_unwritten.swap(true, Ordering::AcqRel) {
                    poller.write(self.clone());
                }
            }
            _ => self.drive(Work::WRITE, Side::Caller),
        }
    }

    /// Lets the actor run.
    pub(super) fn wake_actor(&self) {
        let kick: Option<Kick> = self.shared.lock().unpark();
        run_kick(kick);
    }

    /// What the loop's thread has sent waits for more: should it not come to send it, the I/O thread does.
    pub(super) fn wait_for_more(self: &Arc<Self>) {
        match self.poller.get() {
            Some(poller) if !self.is_held.swap(true, Ordering::AcqRel) => poller.hold(self.clone()),
            Some(_) => {}
            // The turn finds a deadline, and lets the actor keep it.
            None => self.drive(Work::WRITE, Side::Caller),
        }
    }
}

impl Driven for Connection {
    fn on_readable(&self, side: Side) {
        self.wanted.fetch_or(Work::READ.bits(), Ordering::SeqCst);
        // Waits for a thread that has the link: else the loop would be called again at once, and again.
        if self.drive_locked(self.link.lock(), side) {
            self.drive(Work::WRITE, side);
        }
    }

    fn on_writable(&self) {
        self.drive(Work::WRITABLE, Side::IoThread);
        self.wake_actor();
    }

    fn on_unwritten(&self) {
        self.is_unwritten.store(false, Ordering::Release);
        self.drive(Work::WRITE, Side::IoThread);
    }

    fn reads_much(&self) -> bool {
        self.with_link(Side::Caller, |slot| slot.as_ref().is_some_and(|open| open.link.reads_much()))
    }

    fn on_held(&self) -> Held {
        if self.is_lent.load(Ordering::Acquire) && self.take_back_unused() {
            return Held::Lent;
        }
        let mut inner = self.shared.lock();
        match inner.outbox.corked_until() {
            Some(until) if until > Instant::now() => return Held::Corked,
            Some(_) => inner.outbox.uncork(),
            None => {}
        }
        drop(inner);
        self.is_held.store(false, Ordering::Release);
        self.drive(Work::WRITE, Side::IoThread);
        Held::No
    }
}
