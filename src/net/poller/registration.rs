//! A link's place in a poller.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use super::{Poller, epoll::When};
use crate::net::driven::Driven;

/// A link's place in a poller. Its owner holds the link's lock whenever it changes it, and says at the end that it ends:
/// dropping it does nothing, since in a forked child the poller is the parent's.
#[derive(Debug)]
pub(in crate::net) struct Registration {
    poller: Arc<Poller>,
    key: u64,
    reads: bool,
    /// The socket is known to the I/O side.
    was_blocked: bool,
}

impl Poller {
    /// Takes a link in. It is not watched yet.
    pub(in crate::net) fn register(self: &Arc<Self>, link: Arc<dyn Driven>) -> Registration {
        let key = self.links.lock().insert(link);
        self.start_watching();
        Registration { poller: self.clone(), key, reads: false, was_blocked: false }
    }
}

impl Registration {
    /// The link is to be driven while its socket is readable (`reads`), and by the I/O thread once it takes more
    /// (`is_blocked`).
    pub(in crate::net) fn watch(
        &mut self,
        socket: impl AsFd,
        reads: bool,
        is_blocked: bool,
    ) -> io::Result<()> {
        let socket = socket.as_fd();
        self.set_reads(socket, reads)?;
        if is_blocked { self.wait_until_writable(socket) } else { Ok(()) }
    }

    /// The poller.
    pub(in crate::net) fn poller(&self) -> Arc<Poller> {
        self.poller.clone()
    }

    /// The link's turn has read so many bytes.
    pub(in crate::net) fn note_read(&self, bytes: usize) {
        self.poller.note_read(bytes);
    }

    fn set_reads(&mut self, socket: BorrowedFd<'_>, reads: bool) -> io::Result<()> {
        if reads == self.reads {
            return Ok(());
        }
        // Taken out and not only switched off: what failed or was ended counts as ready all the same.
        if reads {
            self.poller.sockets.add(socket, self.key, When::Readable)?;
        } else {
            self.poller.sockets.remove(socket)?;
        }
        self.reads = reads;
        self.poller.links.lock().set_armed(self.key, reads);
        Ok(())
    }

    fn wait_until_writable(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if self.was_blocked {
            return self.poller.io_side.modify(socket, self.key, When::WritableOnce);
        }
        self.poller.io_side.add(socket, self.key, When::WritableOnce)?;
        self.was_blocked = true;
        Ok(())
    }

    /// The link is over.
    pub(in crate::net) fn end(mut self, socket: impl AsFd) {
        let socket = socket.as_fd();
        let _ = self.set_reads(socket, false);
        if self.was_blocked {
            let _ = self.poller.io_side.remove(socket);
        }
        let link = self.poller.links.lock().remove(self.key);
        self.poller.wake_task(); // it may have been the last one of a loop that is over
        drop(link); // outside of the lock
    }
}
