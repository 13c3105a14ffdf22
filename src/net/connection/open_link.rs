//! A link with its place in a poller, and what its driver is told of it.

use std::{collections::VecDeque, time::Instant};
#[cfg(unix)]
use std::{net::TcpStream, sync::Arc};

use super::Connection;
use crate::{
    core::session::Loss,
    net::{
        driven::Side,
        link::{Event, Link, Turn, Work},
        panics,
        poller::Registration,
        socket::Tcp,
    },
};

/// The link of a connection whose socket is open.
pub(in crate::net) struct OpenLink {
    pub(in crate::net) link: Link,
    /// Its place in a poller; without one tokio watches the socket for the driver.
    registration: Option<Registration>,
    /// The events of the link that the driver has not taken yet.
    events: VecDeque<Event>,
    /// The driver is to be told something before anybody goes on.
    stands_still: bool,
    /// The driver waits for the socket: to be readable, to be writable.
    awaited: (bool, bool),
    /// When the driver wakes up by itself.
    driver_wakes_at: Option<Instant>,
    /// A blocking caller waits for the socket itself, so that nobody else need watch it.
    is_borrowed: bool,
}

impl OpenLink {
    pub(in crate::net) fn new(link: Link, registration: Option<Registration>) -> Self {
        Self {
            link,
            registration,
            events: VecDeque::new(),
            stands_still: false,
            awaited: (false, false),
            driver_wakes_at: None,
            is_borrowed: false,
        }
    }

    /// The next thing that the driver is to be told.
    pub(in crate::net) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Lets the link go on: the driver knows what it was to be told.
    pub(in crate::net) fn go_on(&mut self) {
        self.stands_still = false;
    }

    /// Notes until when the driver sleeps.
    pub(in crate::net) fn driver_sleeps(&mut self, until: Option<Instant>, awaited: (bool, bool)) {
        self.driver_wakes_at = until;
        self.awaited = awaited;
    }

    /// The socket, where tokio watches it.
    pub(in crate::net) fn registered(&self) -> Option<&tokio::net::TcpStream> {
        match self.link.socket.tcp() {
            Tcp::Registered(tcp) => Some(tcp),
            Tcp::Polled(_) => None,
        }
    }

    /// Whether the link waits to read, and to write.
    pub(in crate::net) fn waits_for(&self) -> (bool, bool) {
        (!self.stands_still && self.link.reads(), !self.stands_still && self.link.is_blocked())
    }

    /// Takes a turn. Answers whether the driver has something to do.
    pub(super) fn turn(&mut self, connection: &Connection, work: Work, side: Side) -> bool {
        if self.stands_still {
            return false;
        }
        match panics::caught(|| self.link.turn(&connection.shared, work, side)) {
            Ok(turn) => self.after(turn),
            Err(error) => {
                self.stands_still = true;
                self.events.push_back(Event::Panicked(error));
                true
            }
        }
    }

    /// Takes a turn for the driver itself, like [`OpenLink::turn`].
    pub(in crate::net) fn turn_of_driver(
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
        let mut for_driver = turn.for_io_thread
            || turn.more_to_write
            || turn.deadline.is_some_and(|at| self.driver_wakes_at.is_none_or(|wakes| at < wakes));
        if let Some(event) = turn.event {
            self.stands_still = true;
            self.events.push_back(event);
            for_driver = true;
        }
        for_driver | self.watch(turn.more_to_read)
    }

    /// Sees to it that somebody is called when the socket is ready. Answers whether the driver has something to do.
    fn watch(&mut self, more_to_read: bool) -> bool {
        let (reads, is_blocked) = self.waits_for();
        let (Some(registration), Tcp::Polled(tcp)) = (&mut self.registration, self.link.socket.tcp()) else {
            return (reads && (!self.awaited.0 || more_to_read)) || (is_blocked && !self.awaited.1);
        };
        let Err(error) = registration.watch(tcp, reads && !self.is_borrowed, is_blocked) else {
            return false;
        };
        self.stands_still = true;
        self.events.push_back(Event::Lost(Loss::Broken(format!("the socket cannot be watched: {error}"))));
        true
    }

    /// A blocking caller borrows the socket: answers it, and whether it is to be read. `None` where tokio watches it.
    #[cfg(unix)]
    pub(in crate::net) fn borrow_socket(&mut self) -> Option<(Arc<TcpStream>, bool)> {
        let Tcp::Polled(tcp) = self.link.socket.tcp() else { return None };
        let tcp = tcp.clone();
        if !std::mem::replace(&mut self.is_borrowed, true) {
            self.watch(false);
        }
        Some((tcp, self.waits_for().0))
    }

    /// The poller that watches the socket, if it is not tokio.
    #[cfg(unix)]
    pub(in crate::net) fn poller(&self) -> Option<Arc<crate::net::poller::Poller>> {
        self.registration.as_ref().map(Registration::poller)
    }

    /// The poller watches the socket again.
    pub(in crate::net) fn return_socket(&mut self) {
        if std::mem::replace(&mut self.is_borrowed, false) {
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
