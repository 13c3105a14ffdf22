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
