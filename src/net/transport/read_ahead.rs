//! Reads from a TCP connection in large pieces for a reader that asks for small ones.
//!
//! rustls asks for 4 KiB while it holds no part of a record: without this each costs a system call.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What is read at once: 64 KiB.
const CHUNK: usize = 64 << 10;

thread_local! {
    /// The buffer of this thread, while no connection holds it.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TCP connection, and what was read from it but not asked for yet. While that is nothing, it holds no memory.
#[derive(Debug)]
pub struct ReadAhead {
    tcp: TcpStream,
    ahead: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
}

impl From<TcpStream> for ReadAhead {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, ahead: Vec::new(), taken: 0 }
    }
}

impl ReadAhead {
    /// Reads ahead. Answers whether there is something now; if not, the connection has ended.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut chunk = SPARE.take();
        chunk.try_reserve_exact(CHUNK).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let read = pin!(self.tcp.read_buf(&mut (&mut chunk).limit(CHUNK))).poll(cx);
        if let Poll::Ready(Ok(1..)) = read {
            (self.ahead, self.taken) = (chunk, 0);
        } else {
            SPARE.set(chunk);
        }
        read.map_ok(|count| count > 0)
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() && !ready!(this.poll_ahead(cx))? {
            return Poll::Ready(Ok(()));
        }
        let rest = this.ahead.get(this.taken..).unwrap_or_default();
        let count = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..count).unwrap_or_default());
        this.taken += count;
        if this.taken == this.ahead.len() {
            this.ahead.clear();
            SPARE.set(std::mem::take(&mut this.ahead));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn whatever_is_asked_for_comes_once_and_in_order_until_the_end() {
        let sent: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        for piece in [1, 5, 4096, CHUNK, 3 * CHUNK] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let (connected, accepted) = tokio::join!(connecting, listener.accept());
            let (mut reader, mut writer) = (ReadAhead::from(connected.unwrap()), accepted.unwrap().0);
            let writing = async {
                writer.write_all(&sent).await.unwrap();
                drop(writer);
            };
            let reading = async {
                let (mut arrived, mut room) = (Vec::new(), vec![0; piece]);
                loop {
                    let count = reader.read(&mut room).await.unwrap();
                    assert!(
                        reader.taken < reader.ahead.len() || reader.ahead.capacity() == 0,
                        "it holds no memory"
                    );
                    if count == 0 {
                        return arrived;
                    }
                    arrived.extend_from_slice(&room[..count]);
                }
            };
            let ((), arrived) = tokio::join!(writing, reading);
            assert!(arrived == sent, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn connections_that_wait_share_one_buffer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut ends = Vec::new();
        for _ in 0..3 {
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let (connected, accepted) = tokio::join!(connecting, listener.accept());
            let mut waiting = ReadAhead::from(connected.unwrap());
            let mut room = [0; 16];
            let mut context = Context::from_waker(std::task::Waker::noop());
            let poll = Pin::new(&mut waiting).poll_read(&mut context, &mut ReadBuf::new(&mut room));
            assert!(poll.is_pending() && waiting.ahead.capacity() == 0);
            ends.push((waiting, accepted.unwrap().0));
        }
        assert_eq!(SPARE.with_borrow(Vec::capacity), CHUNK);
    }
}
