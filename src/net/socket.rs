//! A link's socket, in two parts: what is written with may be lent to a sender's thread.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};
use tokio_rustls::client::TlsStream;

use super::transport::{ReadAhead, Stream};

/// What is written with.
#[derive(Debug)]
pub(super) enum Pen {
    /// Half of a TCP connection.
    Tcp(OwnedWriteHalf),
    /// All of a TLS stream, whose two directions share their state: who has it has what is read with, too.
    Tls(Box<TlsStream<ReadAhead>>),
}

/// An open socket.
pub(super) struct Socket {
    /// What is read with, if it is not the pen.
    read: Option<OwnedReadHalf>,
    /// `None` while it is lent.
    pen: Option<Pen>,
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Plain(tcp) => {
                let (read, write) = tcp.into_split();
                Self { read: Some(read), pen: Some(Pen::Tcp(write)) }
            }
            Stream::Tls(tls) => Self { read: None, pen: Some(Pen::Tls(tls)) },
        }
    }
}

impl Socket {
    /// Gives the pen away, if it is here.
    pub(super) fn lend(&mut self) -> Option<Pen> {
        self.pen.take()
    }

    /// Takes it back.
    pub(super) fn take_back(&mut self, pen: Pen) {
        self.pen = Some(pen);
    }

    /// It speaks TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.read.is_none()
    }

    /// What is read with is here.
    pub(super) fn can_read(&self) -> bool {
        self.read.is_some() || self.pen.is_some()
    }

    /// The pen is here.
    pub(super) fn can_write(&self) -> bool {
        self.pen.is_some()
    }

    fn pen(self: Pin<&mut Self>) -> io::Result<Pin<&mut Pen>> {
        self.get_mut().pen.as_mut().map(Pin::new).ok_or_else(lent)
    }
}

fn lent() -> io::Error {
    io::Error::other("the socket is lent to a sender")
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self { read: Some(read), .. } => Pin::new(read).poll_read(cx, buf),
            Self { pen: Some(Pen::Tls(tls)), .. } => Pin::new(tls).poll_read(cx, buf),
            _ => Poll::Ready(Err(lent())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pen()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pen()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pen()?.poll_shutdown(cx)
    }
}

impl AsyncWrite for Pen {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(write) => Pin::new(write).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(write) => Pin::new(write).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(write) => Pin::new(write).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
