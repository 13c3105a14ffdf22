//! The stand-in for the poller where there is no `epoll`: there never is one, tokio watches the sockets, and the I/O
//! thread reads.

use std::{io, sync::Arc};

use super::{driven::Driven, io_thread::Io};
use crate::error::Result;

/// A poller, of which there is none.
#[derive(Debug)]
pub enum Poller {}

/// A place in a poller.
#[derive(Debug)]
pub(super) enum Registration {}

impl Poller {
    /// There is none for connections that belong to no loop.
    pub(super) fn of_io_thread(_io: &Io) -> Option<Arc<Self>> {
        None
    }

    /// What the loop is to watch.
    pub fn descriptor(&self) -> Option<i32> {
        match *self {}
    }

    /// A turn of the loop begins.
    pub fn poll(&self) -> Vec<Arc<dyn Driven>> {
        match *self {}
    }

    /// The loop is gone.
    pub fn end(&self) {
        match *self {}
    }

    pub(super) fn io(&self, _choose: impl FnOnce() -> Result<Io>) -> Result<Io> {
        match *self {}
    }

    pub(super) fn register(self: &Arc<Self>, _link: Arc<dyn Driven>) -> Registration {
        match **self {}
    }

    pub(super) fn writes_on_io_thread(&self) -> bool {
        match *self {}
    }

    pub(super) fn hold(&self, _link: Arc<dyn Driven>) {
        match *self {}
    }

    pub(super) fn write(&self, _link: Arc<dyn Driven>) {
        match *self {}
    }
}

impl Registration {
    pub(super) fn watch(
        &mut self,
        _socket: &std::net::TcpStream,
        _reads: bool,
        _is_blocked: bool,
    ) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn note_read(&self, _bytes: usize) {
        match *self {}
    }

    #[cfg(unix)]
    pub(super) fn poller(&self) -> Arc<Poller> {
        match *self {}
    }

    pub(super) fn end(self, _socket: &std::net::TcpStream) {
        match self {}
    }
}
