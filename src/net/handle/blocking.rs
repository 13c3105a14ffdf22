//! A blocking caller drives its own socket for as long as it waits.
//!
//! It takes the socket out of the poller, which would wake the I/O thread for each message. When it has what it waited
//! for it does not put it back at once, since it will probably come again: the I/O thread does so if it does not.

use std::{
    net::TcpStream,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Connection;
use crate::net::{
    connection::OpenLink,
    driven::{Driven, Side},
    spin,
};

#[cfg(test)]
mod tests;

/// The outcome of driving on the thread of a blocking caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drove {
    /// Nothing: there is no socket, or another thread drives it already.
    Not,
    /// This thread did, until it was over, the time was up, or a signal came.
    Through,
    /// This thread did, until it was woken.
    Woken,
}

impl Connection {
    /// Reads and writes on this thread until `is_over` says so or the time is up. `wakeup` becomes readable when
    /// somebody else may have made it so. `leave` is called before another thread can be the one that drives.
    pub fn drive_until(
        self: &Arc<Self>,
        wakeup: BorrowedFd<'_>,
        until: Instant,
        is_over: impl Fn() -> bool,
        leave: impl FnOnce(Drove),
    ) -> Drove {
        if !self.duty.begin_blocking() {
            return Drove::Not;
        }
        let mut drove = Drove::Not;
        let mut spin_until = spin::limit().map(|limit| Instant::now() + limit);
        while let Some((socket, reads)) = self.borrow_socket() {
            drove = Drove::Through;
            let now = Instant::now();
            if is_over() || now >= until {
                break;
            }
            let spins = spin_until.is_some_and(|until| now < until);
            let patience = if spins { Duration::ZERO } else { until - now };
            let timeout = Timespec {
                tv_sec: patience.as_secs() as i64,
                tv_nsec: i64::from(patience.subsec_nanos()) as _,
            };
            let mut descriptors =
                [PollFd::from_borrowed_fd(wakeup, PollFlags::IN), PollFd::new(&*socket, PollFlags::IN)];
            // A socket that is not to be read is not asked at all: one that has failed would be ready again and again.
            let watched = descriptors.get_mut(..if reads { 2 } else { 1 }).unwrap_or_default();
            let polled = rustix::event::poll(watched, Some(&timeout));
            let is_ready =
                |place: usize| descriptors.get(place).is_some_and(|ready| !ready.revents().is_empty());
            if polled.is_err() {
                break; // a signal
            }
            if is_ready(0) {
                drove = Drove::Woken;
                break;
            }
            if is_ready(1) {
                self.on_readable(Side::Caller);
                spin_until = None;
            }
        }
        leave(drove);
        if self.duty.end_blocking(drove != Drove::Not) {
            let poller = self.with_link(Side::Caller, |slot| slot.as_ref().and_then(OpenLink::poller));
            if let Some(poller) = poller {
                poller.hold(self.clone());
            }
        }
        drove
    }

    /// The socket, which nobody else watches from now on, and whether it is to be read.
    fn borrow_socket(&self) -> Option<(Arc<TcpStream>, bool)> {
        self.with_link(Side::Caller, |slot| slot.as_mut().and_then(OpenLink::borrow_socket))
    }
}
