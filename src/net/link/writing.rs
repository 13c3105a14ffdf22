//! Writing to the socket, as far as that is this thread's to do.

use std::io;

use super::{Link, ending::Ending};
use crate::net::{driven::Side, writer::Progress};

/// The size from which on messages are written by the I/O thread: to copy, mask and (through TLS) encrypt them is worth
/// another thread.
const MIN_IO_THREAD_BYTES: usize = 128 << 10;
/// The size from which on they are, through TLS.
const MIN_IO_THREAD_TLS_BYTES: usize = 32 << 10;

impl Link {
    pub(super) fn write(&mut self, side: Side) -> io::Result<Progress> {
        if matches!(self.ending, Ending::DrainingReads(_)) || self.blocked {
            return Ok(Progress::Blocked);
        }
        if self.writer.large_bytes().is_some_and(|bytes| bytes >= self.large_bytes(side)) {
            return Ok(Progress::Blocked); // the I/O thread is at it
        }
        if self.socket.wants_write() {
            self.writer.flush_soon();
        }
        let progress = self.writer.write(&mut self.socket, &mut self.written)?;
        self.blocked = progress == Progress::Blocked;
        Ok(progress)
    }

    /// From this size on a message is not for this side to write.
    pub(super) fn large_bytes(&self, side: Side) -> usize {
        match side {
            Side::IoThread => usize::MAX,
            Side::Caller if self.socket.is_tls() => MIN_IO_THREAD_TLS_BYTES,
            Side::Caller => MIN_IO_THREAD_BYTES,
        }
    }
}
