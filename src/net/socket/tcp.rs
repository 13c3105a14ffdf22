//! A TCP connection that never waits, watched by a poller or by tokio.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::BufMut;

/// A TCP connection that never waits.
#[derive(Debug)]
pub(in crate::net) enum Tcp {
    /// A poller says when it is ready.
    Polled(Arc<std::net::TcpStream>),
    /// tokio says when it is ready.
    Registered(tokio::net::TcpStream),
}

impl Tcp {
    /// Reads what is there into `buffer`.
    pub(super) fn read_into(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Polled(tcp) => receive(tcp, buffer),
            Self::Registered(tcp) => tcp.try_read_buf(buffer),
        }
    }
}

#[cfg(unix)]
fn receive(tcp: &std::net::TcpStream, buffer: &mut impl BufMut) -> io::Result<usize> {
    use rustix::net::RecvFlags;

    // SAFETY: the slice is only handed to `recv`, which writes initialised bytes and nothing else.
    let room = unsafe { buffer.chunk_mut().as_uninit_slice_mut() };
    let ((_, _), count) = rustix::net::recv(tcp, room, RecvFlags::empty())?;
    // SAFETY: `recv` has initialised so many bytes at the beginning of the room.
    unsafe { buffer.advance_mut(count) };
    Ok(count)
}

#[cfg(not(unix))]
fn receive(tcp: &std::net::TcpStream, buffer: &mut impl BufMut) -> io::Result<usize> {
    let mut bytes = vec![0; buffer.chunk_mut().len()];
    let count = (&*tcp).read(&mut bytes)?;
    buffer.put_slice(bytes.get(..count).unwrap_or_default());
    Ok(count)
}

/// Reads what is there into `buffer`, and what there is beyond that into `beyond`, in one system call.
#[cfg(unix)]
pub(super) fn receive_beyond(
    tcp: &std::net::TcpStream,
    buffer: &mut impl BufMut,
    beyond: &mut impl BufMut,
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    let (first, second) = (buffer.chunk_mut(), beyond.chunk_mut());
    let first_bytes = first.len();
    let rooms = [(first.as_mut_ptr(), first.len()), (second.as_mut_ptr(), second.len())]
        .map(|(start, length)| libc::iovec { iov_base: start.cast(), iov_len: length });
    // SAFETY: the descriptor is open, since its owner is borrowed; both rooms are borrowed mutably until here, and
    // `readv` writes to nothing else.
    let read = unsafe { libc::readv(tcp.as_raw_fd(), rooms.as_ptr(), 2) };
    let count = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    let in_first = count.min(first_bytes);
    // SAFETY: `readv` fills the first room, then the second: so many bytes at the beginning of each are initialised.
    unsafe {
        buffer.advance_mut(in_first);
        beyond.advance_mut(count - in_first);
    }
    Ok(count)
}

impl Read for &Tcp {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Tcp::Polled(tcp) => (&**tcp).read(bytes),
            Tcp::Registered(tcp) => tcp.try_read(bytes),
        }
    }
}

impl Write for &Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Tcp::Polled(tcp) => (&**tcp).write(bytes),
            Tcp::Registered(tcp) => tcp.try_write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Tcp::Polled(tcp) => (&**tcp).write_vectored(slices),
            Tcp::Registered(tcp) => tcp.try_write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
